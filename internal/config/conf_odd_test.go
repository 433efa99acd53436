package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestOddConf has what nobody writes and the notation allows: each file says
// the same.
func TestOddConf(t *testing.T) {
	const (
		plain = `srs-domain = "example.com"
domains = { "example.net", ".example.net" }
separator = "+"
hash-length = 8
hash-minimum = 8
always-rewrite = on
keep-alive = 16
socketmap = "inet:127.0.0.1:10003"
unprivileged-user = ""
`
		want = "d=example.com a=+ n=8 N=8 A=true X=[] l= 0 f= r= t=16s c= u= p= D=false log=stderr [example.net .example.net] inet:127.0.0.1:10003"
	)
	replaced := func(oldnew ...string) string {
		text := plain
		for i := 0; i < len(oldnew); i += 2 {
			if !strings.Contains(text, oldnew[i]) {
				t.Fatalf("%q is not there", oldnew[i])
			}
			text = strings.Replace(text, oldnew[i], oldnew[i+1], 1)
		}
		return text
	}
	for _, text := range []string{
		plain,
		strings.TrimSuffix(plain, "\n"),
		strings.ReplaceAll(plain, "\n", "\r\n"),
		strings.ReplaceAll(plain, "\n", " "),
		strings.ReplaceAll(plain, " = ", "="),
		strings.ReplaceAll(plain, " = ", "\n\t=\n\n"),
		strings.ReplaceAll(plain, `"`, "'"),
		strings.ReplaceAll(plain, "\n", " # \"comment\" = { \n"),
		strings.ReplaceAll(plain, "\n", " // 'comment\n"),
		strings.ReplaceAll(plain, "\n", " /* comment\n * of # lines //\n **/"),
		strings.ReplaceAll(plain, "=", "/**/=/* = */"),
		plain + plain,
		"srs-domain = first.example srs-domain = second.example separator = '-' hash-length = 20 always-rewrite = no keep-alive = 0\n" + plain,

		// Bare strings.
		replaced(`"example.com"`, "example.com", `"inet:127.0.0.1:10003"`, "inet:127.0.0.1:10003"),
		replaced(`"example.net", ".example.net"`, "example.net,.example.net"),

		// Lists.
		replaced(`{ "example.net", ".example.net" }`, "{\n\t\"example.net\", # ours\n\t\".example.net\", // and below\n}"),
		replaced(`{ "example.net", ".example.net" }`, `{"example.net"} domains += {".example.net"}`),
		replaced(`{ "example.net", ".example.net" }`, `{"example.net"} domains += ".example.net"`),
		replaced(`{ "example.net", ".example.net" }`, `"example.net" domains += {} domains += {.example.net}`),
		replaced(`domains =`, `domains = { "gone.example" } domains =`),

		// Numbers and switches.
		replaced("hash-length = 8", "hash-length = 010", "hash-minimum = 8", "hash-minimum = \"0x8\"", "keep-alive = 16", "keep-alive = 0x10"),
		replaced("always-rewrite = on", "always-rewrite = TRUE"),
		replaced("always-rewrite = on", `always-rewrite = "Yes"`),

		// The environment.
		replaced(`"example.com"`, `"${HOST}.${TLD}"`),
		replaced(`"example.com"`, `"example.${NONE:-com}"`),
		replaced(`"example.com"`, `"${HOST:-${TLD}.com"`), // up to the first brace
		replaced(`"example.com"`, `${WHOLE}`),
		replaced(`"+"`, `"${EMPTY:-=}+"`), // what is empty is set
		replaced("inet:127.0.0.1:10003", "inet:${NONE:-127.0.0.1}:${NONE:-10003}"),
		replaced(`{ "example.net", ".example.net" }`, `{ "${HOST}.net", ".${HOST}.net" }`),
		replaced(`"example.com"`, `"${NONE:-${HOST}" srs-domain = "example.com"`),

		// Escapes.
		replaced(`"example.com"`, `"\x65xample\.\143om"`),
		replaced(`"example.com"`, "\"exam\\\nple.com\""),
		replaced(`"example.com"`, "'exam\\\nple.com'"),
	} {
		p := newPlace(t)
		p.write(t, "conf", text+"\nsecrets-file = "+p.path("secret"))
		c, err := p.load([]string{"-C", p.path("conf")}, []string{"HOST=example", "TLD=com", "WHOLE=example.com", "EMPTY="})
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		if got := fmt.Sprint(c.values(), " ", c.Domains, " ", c.Socketmap); got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}
