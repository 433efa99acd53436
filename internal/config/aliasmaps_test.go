package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseAliases(t *testing.T) {
	const text = "# a table\n\nuser@example.com  a@x.test\n@example.com\tb@x.test, c\r\n  d\n\t# no end\n e\nUPPER@Example.COM A@x.test\n" +
		"root: admin\nwith-space : |\"exec /bin/x\"\n\"quoted name\": u\n\"a b\"@example.com u\ntwice: a\ntwice: b\nno-value\nalone:\n: nobody\n  goes nowhere\n\"open quote x\nlast x"
	entries, wrong := parseAliases(text)
	want := map[string]string{
		"user@example.com": "a@x.test", "@example.com": "b@x.test, c  d e", "upper@example.com": "A@x.test", "root": "admin",
		"with-space": `|"exec /bin/x"`, "quoted name": "u", `"a b"@example.com`: "u", "twice": "a, b", "last": "x",
	}
	if !maps.Equal(entries, want) {
		t.Errorf("\n got %q\nwant %q", entries, want)
	}
	if !slices.Equal(wrong, []int{15, 16, 17, 19}) {
		t.Errorf("wrong lines %v", wrong)
	}
}

func FuzzParseAliases(f *testing.F) {
	f.Add("a: b\nc d\n e\n\"x\\")
	f.Fuzz(func(t *testing.T, text string) {
		entries, wrong := parseAliases(text)
		for key, value := range entries {
			if key == "" || value == "" || strings.Contains(value, "\n") {
				t.Errorf("%q: %q", key, value)
			}
		}
		if lines := strings.Count(text, "\n") + 1; len(wrong) > 0 && wrong[len(wrong)-1] > lines {
			t.Errorf("line %v of %d", wrong, lines)
		}
	})
}

// TestAliasMaps holds the notation of a table and its refusals.
func TestAliasMaps(t *testing.T) {
	for name, want := range map[string]string{
		"texthash:/a/b":                    " {  } ",
		"tcp:127.0.0.1:25":                 "tcp { 127.0.0.1 25} ",
		"tcp:localhost:25":                 "tcp { localhost 25} ",
		"tcp:[::1]:25":                     "tcp { ::1 25} ",
		"socketmap:inet:127.0.0.1:25:name": "socketmap { 127.0.0.1 25} name",
		"socketmap:inet:[::1]:25:a":        "socketmap { ::1 25} a",
		"socketmap:unix:/run/x:y:name":     "socketmap {/run/x:y  } name",
		"hash:/etc/aliases":                "give texthash:PATH, tcp:HOST:PORT, socketmap:inet:HOST:PORT:NAME or socketmap:unix:PATH:NAME",
		"/etc/aliases":                     "give texthash:PATH, tcp:HOST:PORT, socketmap:inet:HOST:PORT:NAME or socketmap:unix:PATH:NAME",
		"texthash:aliases":                 "give the whole path of the file: texthash:/etc/postfix/virtual",
		"tcp:mail.example.com:25":          "give the host as an address or localhost, as names cannot be looked up from a jail",
		"tcp:25":                           "give the host as an address or localhost, as names cannot be looked up from a jail",
		"tcp:*:25":                         "give the host as an address or localhost, as names cannot be looked up from a jail",
		"tcp:127.0.0.1:none":               "none is no port: give a number from 1 to 65535 or a name that /etc/services has",
		"socketmap:inet:127.0.0.1:25":      "127.0.0.1 is no port: give a number from 1 to 65535 or a name that /etc/services has",
		"socketmap:x":                      "give socketmap:inet:HOST:PORT:NAME or socketmap:unix:PATH:NAME",
		"socketmap:unix:/run/x:":           "give socketmap:inet:HOST:PORT:NAME or socketmap:unix:PATH:NAME",
		"socketmap:unix:x:name":            "give the whole path of the socket: unix:/var/spool/postfix/srs",
	} {
		m, err := parseAliasMap(name)
		got := fmt.Sprint(m.Protocol, " {", m.Endpoint.Path, " ", m.Endpoint.Host, " ", m.Endpoint.Port, "} ", m.Map)
		if err != nil {
			got = err.Error()
		}
		if got != want || err == nil && m.Name != name {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestMilterSettings says everything of the milter in both generations.
func TestMilterSettings(t *testing.T) {
	p := newPlace(t)
	virtual := p.write(t, "virtual", "a@example.com b@x.test\nwrong\n")
	aliases := p.write(t, "aliases", "root: c@x.test\n")
	p.write(t, "conf", "srs-domain = example.com\nsecrets-file = \""+p.path("secret")+"\"\nmilter = inet:10003\nmilter-rewrite-local = yes\n"+
		"milter-recipient-limit = 0x10\nmilter-alias-maps = { \"texthash:"+virtual+"\" }\nmilter-alias-maps += { \"texthash:"+aliases+"\", tcp:localhost:7 }\n")
	p.write(t, "default", "SRS_SECRET="+p.path("secret")+"\nSRS_DOMAIN=example.com\nSRS_MILTER=inet:10003\nSRS_MILTER_REWRITE_LOCAL=on\n"+
		"SRS_MILTER_RECIPIENT_LIMIT=16\nSRS_MILTER_ALIAS_MAPS='texthash:"+virtual+" texthash:"+aliases+", tcp:localhost:7'\n")
	for _, args := range [][]string{{"-C", "$T/conf"}, nil} {
		c := p.mustLoad(t, args, nil)
		var maps []string
		for _, m := range c.AliasMaps {
			maps = append(maps, fmt.Sprint(m.Protocol, m.Entries))
		}
		got := fmt.Sprint(c.Milter, c.MilterRewriteLocal, c.MilterRecipientLimit, maps)
		if want := "inet:*:10003 true 16 [map[a@example.com:b@x.test] map[root:c@x.test] tcpmap[]]"; got != want {
			t.Errorf("%q\n got %s\nwant %s", args, got, want)
		}
		if text := strings.Join(c.Warnings, "\n"); !strings.Contains(text, virtual+":2: neither an entry as in virtual(5) nor one as in aliases(5) (1 such in all)") {
			t.Errorf("%q: %s", args, text)
		}
	}
	roundTrip(t, p, nil, nil)

	for change, want := range map[string]string{
		"SRS_MILTER=10003":                          "SRS_MILTER=10003: give unix:PATH, inet:HOST:PORT or inet:PORT",
		"SRS_MILTER_REWRITE_LOCAL=1":                "SRS_MILTER_REWRITE_LOCAL=1: give on or off",
		"SRS_MILTER_RECIPIENT_LIMIT=-1":             "SRS_MILTER_RECIPIENT_LIMIT=-1: give a number from 0 to 1000000",
		"SRS_MILTER_ALIAS_MAPS=texthash:/none":      "SRS_MILTER_ALIAS_MAPS=texthash:/none: cannot read the file: no such file or directory",
		"SRS_MILTER_ALIAS_MAPS=hash:/x":             "hash:/x: give texthash:PATH, tcp:HOST:PORT",
		"SRS_MILTER=inet:9\nSRS_SOCKETMAP=inet:*:9": "are both inet:*:9: give two",
	} {
		p.write(t, "default", "SRS_SECRET="+p.path("secret")+"\nSRS_DOMAIN=example.com\n"+change+"\n")
		if _, err := p.load(nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", change, err, want)
		}
	}
	p.write(t, "default", "SRS_SECRET="+p.path("secret")+"\nSRS_DOMAIN=example.com\nSRS_MILTER_ALIAS_MAPS=tcp:localhost:7\n")
	if c := p.mustLoad(t, nil, nil); !strings.Contains(strings.Join(c.Warnings, "\n"), "SRS_MILTER_ALIAS_MAPS=tcp:localhost:7: there is no milter that would ask") {
		t.Errorf("%q", c.Warnings)
	}
}
