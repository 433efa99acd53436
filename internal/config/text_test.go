package config

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// said is a Config without where its values come from and what was said of
// them.
func said(c *Config) Config {
	only := *c
	only.Sources, only.Unknown, only.Warnings, only.Conf, only.DomainsFileState = nil, nil, nil, "", FileState{}
	return only
}

// roundTrip loads args, and holds that both forms are read back as the same
// Config, a settings file by the shell too, and that a setting is another then,
// and only then, if that is told.
func roundTrip(t testing.TB, p *place, args, environ []string) {
	t.Helper()
	c, err := p.load(args, environ)
	if err != nil {
		return
	}
	text, lost := c.SettingsFile()
	file := p.write(t, "written", text)
	sameBut(t, p, args, c, "--env-file="+file, text, lost)
	if c.Conf == "" && len(lost) > 0 && !strings.ContainsAny(c.PIDFile, " \t") {
		t.Errorf("%q: a settings file can say this: %q", args, lost)
	}
	set, ok := shellSets(t, "/bin/sh", file)
	if !ok {
		t.Fatalf("the shell ends in\n%s", text)
	}
	for _, s := range Settings {
		if s.Name == "" || s.Variable == "" || s.Scope == EnvironmentOnly || s.Scope == Always || told(lost, c.name(&s)) {
			continue
		}
		if want := c.Text(s.Name); set[s.Variable] != want {
			t.Fatalf("the shell reads %s as %q, not %q:\n%s", s.Variable, set[s.Variable], want, text)
		}
	}

	text, lost = c.ConfFile()
	sameBut(t, p, args, c, "-C"+p.write(t, "written.conf", text), text, lost)
	if c.Conf != "" && len(lost) > 0 {
		t.Errorf("%q: a postsrsd.conf can say this: %q", args, lost)
	}
}

func told(lost []string, name string) bool {
	return slices.ContainsFunc(lost, func(line string) bool { return strings.HasPrefix(line, name+": ") })
}

// sameBut holds that what was written is read back as c but for what is lost.
func sameBut(t testing.TB, p *place, args []string, c *Config, from, text string, lost []string) {
	t.Helper()
	back, err := p.load([]string{from}, nil)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, text)
	}
	if want, got := said(c), said(back); len(lost) == 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q:\nwant %#v\ngot  %#v\n%s", args, want, got, text)
	}
	for s := range sayable() {
		if s.Name == "Domains" && told(lost, c.name(byVariable("SRS_EXCLUDE_DOMAINS"))) {
			continue
		}
		want, got := c.Text(s.Name), back.Text(s.Name)
		if (want == got) == told(lost, c.name(s)) {
			t.Fatalf("%q: %s was %q and is %q; %q is told\n%s", args, s.Name, want, got, lost, text)
		}
	}
	for _, line := range lost {
		if !strings.Contains("\n"+text, "\n# "+line+"\n") {
			t.Fatalf("%q: no comment says %s:\n%s", args, line, text)
		}
	}
}

// TestSettingsFile has values that a shell takes for something else.
func TestSettingsFile(t *testing.T) {
	p := newPlace(t)
	p.write(t, "it's $(a) \"secret\"", "0123456789abcdef")
	for _, args := range [][]string{
		{"-d", "example.com", "-s", "$T/secret"},
		{"-d", "example.com", "-s", "$T/it's $(a) \"secret\""},
		{"-d", "a@b", "-s", "$T/secret", "-a", "+", "-n", "8", "-N", "6", "-A", "-4", "-D", "--log=stderr", "-p", "/run/a b"},
		{"-d", "a@b", "-s", "$T/secret", "-6", "-l", "::1", "-f", "smtp", "-r", "25252", "-t", "0", "-p", "/run/$HOME'`x`"},
		{"-d", "a", "-s", "$T/secret", "-Xa,b.example;.c '\\''d' \"e $f `g` A B.Example # !x * ~", "-X", "-u", "", "-c", ""},
		{"-d", "a", "-s", "$T/secret", "-c", "/a\nb\t'c'\\", "-u", "-x"},
		{"-d", "a", "-s", "$T/secret", "-c", "\xff\xfe\x01\x7f日本"},
	} {
		roundTrip(t, p, args, nil)
	}
	roundTrip(t, p, []string{"-e"}, []string{"SRS_DOMAIN=a", "SRS_SECRET=$T/secret", "SRS_ALPHABET=-_", "SRS_PID_FILE=/x", "SRS_CONNECTION_LIMIT=7"})
	roundTrip(t, p, []string{"-e"}, []string{"SRS_DOMAIN=a", "SRS_SECRET=$T/secret", "SRS_DOMAINS=b .c", "SRS_SOCKETMAP=inet:*:7", "SRS_METRICS=unix:/run/x y",
		"SRS_SOCKET_MODE=0600", "SRS_SOCKET_OWNER=:mail", "SRS_REQUEST_LIMIT=2048", "SRS_SECRET_LENGTH=24", "SRS_DOMAINS_FILE=$T/domains", "SRS_DOMAINS_FILE_WATCH=on"})
	roundTrip(t, p, []string{"-e"}, []string{"SRS_DOMAIN=a", "SRS_SECRET=$T/secret", "SRS_ORIGINAL_ENVELOPE=auto", "SRS_ENVELOPE_DATABASE=redis:127.0.0.1:6379"})
	roundTrip(t, p, nil, nil)
}

// TestConfFile has what a postsrsd.conf says, and what quotes it.
func TestConfFile(t *testing.T) {
	p := newPlace(t)
	p.write(t, "domains", "file.example\n.file.example\n")
	p.write(t, `a "secret" of ${HOME} \`, "0123456789abcdef")
	for _, text := range []string{
		"",
		"domains = { b.example, .c.example, 'no domain', 'a\"' } domains-file = '$T/domains' domains-file-watch = on",
		"domains-file = '$T/domains'",
		`secrets-file = '$T/a "secret" of ${HOME} \\'`,
		"separator = '-' hash-length = 20 hash-minimum = 0x8 alphabet = '+/' always-rewrite = yes",
		"socketmap = 'inet:localhost:7' socket-mode = 0600 socket-owner = ':mail' metrics = 'inet:[::1]:9' milter = inet:10 milter-rewrite-local = on milter-recipient-limit = 5 milter-alias-maps = { 'tcp:localhost:7', 'socketmap:unix:/x:y' } keep-alive = 0 connection-limit = 9",
		"socketmap = ''",
		"original-envelope = database envelope-database = 'sqlite:$T/a \"b$c\\\\'",
		"original-envelope = auto envelope-database = 'redis:[::1]:6379'",
		"unprivileged-user = '' chroot-dir = '' pid-file = \"/a\\n\\x7f\\e${UNSET:-x}\\${B}\" daemonize = on",
		"syslog = on daemonize = true pid-file = '/a b'",
		"syslog = off unprivileged-user = 'me'",
	} {
		roundTrip(t, p, []string{"-C" + p.write(t, "tried.conf", "srs-domain = example.com secrets-file = '"+p.path("secret")+"'\n"+strings.ReplaceAll(text, "$T", p.dir))}, nil)
		if t.Failed() {
			t.Fatal(text)
		}
	}
}

// TestWrittenConf looks at a file that was 1.x's settings: what is quoted, what
// is told, and of which keys.
func TestWrittenConf(t *testing.T) {
	p := newPlace(t)
	c := p.mustLoad(t, []string{"-e", "-u", ""}, []string{"SRS_DOMAIN=a.example", "SRS_SECRET=$T/secret", "SRS_EXCLUDE_DOMAINS=b.example;.c.example", "SRS_HASHLENGTH=24", "SRS_METRICS=inet:9100"})
	text, lost := c.ConfFile()
	const want = `# SRS_HASHLENGTH: 24 cannot be said in a postsrsd.conf, where it is 20
# SRS_EXCLUDE_DOMAINS: 2 excluded domains are among domains in a postsrsd.conf, and their senders are not logged there
# SRS_FORWARD_PORT: 10001 cannot be said in a postsrsd.conf, where it is none
# SRS_REVERSE_PORT: 10002 cannot be said in a postsrsd.conf, where it is none
# SRS_REQUEST_LIMIT: 32768 cannot be said in a postsrsd.conf, where it is 512
# SRS_SOCKETMAP: none cannot be said in a postsrsd.conf, where it is unix:/var/spool/postfix/srs
# --log: none cannot be said in a postsrsd.conf, where it is stderr
srs-domain = "a.example"
secrets-file = "$T/secret"
separator = "="
hash-length = 20
hash-minimum = 4
always-rewrite = off
domains = { "b.example", ".c.example" }
domains-file = ""
domains-file-watch = off
original-envelope = embedded
envelope-database = ""
keep-alive = 1800
connection-limit = 4096
socketmap = "unix:/var/spool/postfix/srs"
milter = ""
milter-rewrite-local = off
milter-recipient-limit = 1000
chroot-dir = ""
unprivileged-user = ""
pid-file = ""
daemonize = off
syslog = off

# PostSRSd 2.x does not have these, and refuses a file that does.
alphabet = "+/"
metrics = "inet:*:9100"
`
	if got := strings.ReplaceAll(text, p.dir, "$T"); got != want || len(lost) != strings.Count(want, "cannot be said")+1 {
		t.Errorf("%q\n%s\nwant\n%s", lost, got, want)
	}
}

// TestSettingsFileProperty holds the same for settings nobody thought of.
func TestSettingsFileProperty(t *testing.T) {
	p := newPlace(t)
	tried := 0
	for seed := range uint64(150) {
		args := randomArgs(rand.New(rand.NewPCG(seed, 1)))
		if _, err := p.load(args, nil); err == nil {
			tried++
		}
		roundTrip(t, p, args, nil)
	}
	for seed := range uint64(150) {
		args := []string{"-C" + p.write(t, "tried.conf", randomConf(rand.New(rand.NewPCG(seed, 2)), p))}
		if _, err := p.load(args, nil); err == nil {
			tried++
		}
		roundTrip(t, p, args, nil)
	}
	if tried < 150 {
		t.Errorf("only %d of the settings are right", tried)
	}
}

func FuzzSettingsFile(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	p := newPlace(f)
	f.Fuzz(func(t *testing.T, a, b uint64) {
		roundTrip(t, p, randomArgs(rand.New(rand.NewPCG(a, b))), nil)
		roundTrip(t, p, []string{"-C" + p.write(t, "tried.conf", randomConf(rand.New(rand.NewPCG(a, b)), p))}, nil)
	})
}

// strange is text of up to so many bytes that means something to shells and
// to libConfuse.
func strange(r *rand.Rand, most int) string {
	const all = "ab.-_'\"\\$`#!*?~;&|<>(){}[]=:,@%^ \t\n\x01\x7f\xff\u00a0日"
	var b strings.Builder
	for range r.IntN(most + 1) {
		b.WriteByte(all[r.IntN(len(all))])
	}
	return b.String()
}

// randomConf is a postsrsd.conf with most keys in it, many of them strange,
// written without the help of what is tested.
func randomConf(r *rand.Rand, p *place) string {
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	quoted := func(text string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
	}
	text := fmt.Sprintf("srs-domain = %s secrets-file = %s\n", quoted(pick("a", "example.com", "日本.example")), quoted(p.path("secret")))
	for _, line := range []string{
		"separator = " + quoted(pick("=", "+", "-")), fmt.Sprint("hash-length = ", 1+r.IntN(20)), fmt.Sprint("hash-minimum = ", 1+r.IntN(20)),
		"alphabet = " + quoted(pick("+/", "-_")), "always-rewrite = " + pick("on", "off"), "domains = { " + quoted(strange(r, 20)) + ", b.example }",
		"socketmap = " + quoted(pick("", "unix:/"+strings.Trim(strange(r, 10), "/")+"x", "inet:7", "inet:localhost:8")), "socket-mode = " + pick("0600", "0777"),
		"socket-owner = " + quoted(strange(r, 8)), "metrics = " + quoted(pick("", "inet:9", "unix:/m")), fmt.Sprint("keep-alive = ", r.IntN(9999)),
		fmt.Sprint("connection-limit = ", 1+r.IntN(9999)), "unprivileged-user = " + quoted(strange(r, 8)), "chroot-dir = " + quoted(strange(r, 20)),
		"pid-file = " + quoted(strange(r, 20)), "daemonize = " + pick("on", "off"), "syslog = " + pick("on", "off"),
	} {
		if r.IntN(2) == 0 {
			text += line + "\n"
		}
	}
	return text
}

// randomArgs is a command line with most settings in it, many of them strange.
func randomArgs(r *rand.Rand) []string {
	text := func(most int) string { return strange(r, most) }
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	args := []string{"-d", pick("a", "example.com", "x@b.example", "日本.example"), "-s", "$T/secret"}
	for _, flag := range [][]string{
		{"-a", pick("=", "+", "-x")}, {"-n", fmt.Sprint(r.IntN(28))}, {"-N", fmt.Sprint(r.IntN(28))}, {"-A"}, {"-D"}, {"-" + pick("4", "6")},
		{"-X" + text(40)}, {"-X" + text(40)}, {"-l", pick("", "localhost", text(3))}, {"-f", fmt.Sprint(1 + r.IntN(65535))}, {"-r", pick("smtp", "7")},
		{"-t", fmt.Sprint(r.IntN(10000))}, {"-c", text(20)}, {"-u", text(20)}, {"-p", strings.ReplaceAll(text(20), "\n", "")},
		{"--log=" + pick("", "stderr", "syslog")},
	} {
		if r.IntN(2) == 0 {
			args = append(args, flag...)
		}
	}
	return args
}
