package config

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

// values is what a Config says, without the rest.
func (c *Config) values() string {
	return fmt.Sprintf("d=%s a=%c n=%d N=%d A=%v X=%q l=%s %d f=%s r=%s t=%v c=%s u=%s p=%s D=%v log=%s",
		c.Domain, c.Separator, c.HashLength, c.HashMin, c.AlwaysRewrite, c.Excluded, c.ListenAddr, c.Family, c.ForwardPort, c.ReversePort,
		c.IdleTimeout, c.Chroot, c.User, c.PIDFile, c.Daemonize, c.Log)
}

// TestLoad goes through the ways to say things and their order.
func TestLoad(t *testing.T) {
	const (
		flags    = "d=x a== n=4 N=4 A=false X=[] l= 0 f=10001 r=10002 t=30m0s c= u= p= D=false log="
		launched = "d=x a== n=4 N=4 A=false X=[] l=127.0.0.1 0 f=10001 r=10002 t=30m0s c=/var/lib/postsrsd u=postsrsd p= D=false log="
	)
	change := func(s string, oldnew ...string) string {
		for i := 0; i < len(oldnew); i += 2 {
			if !strings.Contains(s, oldnew[i]) {
				t.Fatalf("%s has no %s", s, oldnew[i])
			}
			s = strings.Replace(s, oldnew[i], oldnew[i+1], 1)
		}
		return s
	}
	secret := "SRS_SECRET=$T/secret\n"
	tests := []struct {
		name      string
		args, env []string
		files     string // a txtar of files
		want      string
	}{
		{"flags alone", []string{"-dx", "-s$T/secret"}, nil, "-- default --\nRUN_AS=nobody\n", flags},
		{"every flag", strings.Fields("-d a@x -s$T/secret -a+ -n 8 -N6 -l ::1 -f 1 -r2 -p /p -c/c -u u -t5 -Xa,b -A -D -6 --log=syslog"), nil, "",
			"d=x a=+ n=8 N=6 A=true X=[\"a\" \"b\"] l=::1 6 f=1 r=2 t=5s c=/c u=u p=/p D=true log=syslog"},
		{"the last flag wins", strings.Fields("-dy -dx -s/none -s$T/secret -46 -4 -t1 -t2"), nil, "", change(flags, " 0 ", " 4 ", "30m0s", "2s")},
		{"service names", strings.Fields("-dx -s$T/secret -f smtp -r http"), nil, "", change(flags, "10001", "smtp", "10002", "http")},
		{"empty is as good as none", []string{"-dx", "-s$T/secret", "-a", "", "-n", "", "-N", "0", "-f", "", "-r", "", "-t", "", "-l", "", "-c", "", "-u", "", "-p", "", "-X"}, nil, "", flags},
		{"only the separator's first character", []string{"-dx", "-s$T/secret", "-a-x"}, nil, "", change(flags, "a==", "a=-")},
		{"timeout 0", []string{"-dx", "-s$T/secret", "-t0"}, nil, "", change(flags, "30m0s", "0s")},
		{"minimum over length", []string{"-dx", "-s$T/secret", "-n5", "-N9"}, nil, "", change(flags, "n=4 N=4", "n=5 N=5")},
		{"short hash", []string{"-dx", "-s$T/secret", "-n2"}, nil, "", change(flags, "n=4 N=4", "n=2 N=2")},
		{"excluded domains add up", []string{"-dx", "-s$T/secret", "-Xa,b;c d\te\rf\ng,,", "-X", "-XA", "-X .a"}, nil, "", change(flags, "[]", `["a" "b" "c" "d" "e" "f" "g" ".a"]`)},

		{"environment", []string{"-e"}, []string{"SRS_DOMAIN=u@x", "SRS_SECRET=$T/secret", "SRS_SEPARATOR=-", "SRS_HASHLENGTH=6", "SRS_HASHMIN=5", "SRS_FORWARD_PORT=3",
			"SRS_REVERSE_PORT=4", "SRS_TIMEOUT=7", "SRS_PID_FILE=/p", "RUN_AS=r", "CHROOT=/c", "SRS_EXCLUDE_DOMAINS=a b"}, "",
			"d=x a=- n=6 N=5 A=false X=[\"a\" \"b\"] l= 0 f=3 r=4 t=7s c=/c u=r p=/p D=false log="},
		{"environment has no listen address and no options", []string{"-e"}, []string{"SRS_DOMAIN=x", "SRS_SECRET=$T/secret", "SRS_LISTEN_ADDR=::1", "SRS_EXTRA_OPTIONS=-A"}, "", flags},
		{"a container", []string{"-l0.0.0.0", "-e"}, []string{"SRS_DOMAIN=x", "SRS_SECRET=$T/secret"}, "", change(flags, "l=", "l=0.0.0.0")},
		{"environment first", []string{"-e", "-dx", "-Xb"}, []string{"SRS_DOMAIN=y", "SRS_SECRET=$T/secret", "SRS_EXCLUDE_DOMAINS=a"}, "", change(flags, "[]", `["a" "b"]`)},
		{"environment last", []string{"-dy", "-Xb", "-e"}, []string{"SRS_DOMAIN=x", "SRS_SECRET=$T/secret", "SRS_EXCLUDE_DOMAINS=a"}, "", change(flags, "[]", `["b" "a"]`)},
		{"an empty domain counts as unset", []string{"-dx", "-e"}, []string{"SRS_DOMAIN=", "SRS_SECRET=$T/secret"}, "", flags},
		{"the first of two", []string{"-e"}, []string{"SRS_DOMAIN=x", "SRS_DOMAIN=y", "SRS_SECRET=$T/secret"}, "", flags},
		{"unasked environment", []string{"-dx", "-s$T/secret"}, []string{"SRS_DOMAIN=y", "RUN_AS=z"}, "", flags},

		{"bare", nil, nil, "-- default --\n" + secret, change(launched, "d=x", "d=postfix.example")},
		{"bare with how to run", []string{"-D", "-p/p", "--log=stderr"}, nil, "-- default --\nSRS_DOMAIN=x\n" + secret, change(launched, "p=", "p=/p", "D=false log=", "D=true log=stderr")},
		{"bare with jail and user", []string{"-c", "", "-unobody"}, nil, "-- default --\nSRS_DOMAIN=x\n" + secret, change(launched, "c=/var/lib/postsrsd u=postsrsd", "c= u=nobody")},
		{"two files", nil, nil, "-- default --\nSRS_DOMAIN=y\nRUN_AS=a\n" + secret + "-- sysconfig --\nSRS_DOMAIN=x\n", change(launched, "u=postsrsd", "u=a")},
		{"the second file is shell", nil, nil, "-- default --\nSRS_EXCLUDE_DOMAINS=a\nSRS_DOMAIN=x\n" + secret + "-- sysconfig --\nSRS_EXCLUDE_DOMAINS=\"$SRS_EXCLUDE_DOMAINS b\"\n",
			change(launched, "[]", `["a" "b"]`)},
		{"the second file empties", nil, nil, "-- default --\nSRS_DOMAIN=y\nCHROOT=/a\n" + secret + "-- sysconfig --\nSRS_DOMAIN=\nunset CHROOT\n",
			change(launched, "d=x", "d=postfix.example", "/var/lib/postsrsd", "")},
		{"only the second file", nil, nil, "-- sysconfig --\nSRS_DOMAIN=x\n" + secret, launched},
		{"named files", []string{"--env-file=$T/a", "--env-file", "$T/none", "--env-file", "$T/b"}, nil,
			"-- default --\nCHROOT=/wrong\n-- a --\nSRS_DOMAIN=x\nSRS_TIMEOUT=1\n-- b --\nSRS_TIMEOUT=2\n" + secret, change(launched, "30m0s", "2s")},
		{"flags over a named file", []string{"-t3", "--env-file=$T/a", "-Xb"}, nil, "-- a --\nSRS_DOMAIN=x\nSRS_TIMEOUT=1\nSRS_EXCLUDE_DOMAINS=a\n" + secret,
			change(launched, "30m0s", "3s", "[]", `["a" "b"]`)},
		{"environment over a named file", []string{"-e", "--env-file=$T/a"}, []string{"SRS_TIMEOUT=4", "RUN_AS="}, "-- a --\nSRS_DOMAIN=x\nSRS_TIMEOUT=1\n" + secret,
			change(launched, "30m0s", "4s", "u=postsrsd", "u=")},
		{"empty values of a file", nil, nil, "-- default --\nSRS_DOMAIN=x\nSRS_HASHLENGTH=\nSRS_HASHMIN=0\nRUN_AS=\nCHROOT=\nSRS_TIMEOUT=\nSRS_FORWARD_PORT=\nSRS_LISTEN_ADDR=\n" + secret,
			change(launched, "l=127.0.0.1", "l=", "c=/var/lib/postsrsd", "c=", "u=postsrsd", "u=")},

		{"extra options", nil, nil, "-- default --\nSRS_DOMAIN=x\nSRS_EXTRA_OPTIONS=' -A  -Xb -t9 -p /p '\nSRS_EXCLUDE_DOMAINS=a\n" + secret,
			change(launched, "false", "true", "[]", `["b" "a"]`, "30m0s", "9s", "p=", "p=/p")},
		{"extra options lose", nil, nil, "-- default --\nSRS_DOMAIN=x\nSRS_EXTRA_OPTIONS='-l0.0.0.0 -dy -t9'\nSRS_TIMEOUT=8\n" + secret, change(launched, "30m0s", "8s")},
		{"extra options read the environment", nil, []string{"SRS_TIMEOUT=6", "RUN_AS=z"}, "-- default --\nSRS_DOMAIN=x\nSRS_EXTRA_OPTIONS=-e\n" + secret, change(launched, "30m0s", "6s")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlace(t)
			for _, f := range txtar.Parse([]byte(test.files)).Files {
				p.write(t, f.Name, strings.ReplaceAll(string(f.Data), "$T", p.dir))
			}
			if got := p.mustLoad(t, test.args, test.env).values(); got != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	p := newPlace(t)
	for arg, want := range map[string]error{"-h": ErrHelp, "--help": ErrHelp, "-v": ErrVersion, "--version": ErrVersion} {
		if _, err := p.load([]string{"-A", arg}, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestUserOfTheLauncher(t *testing.T) {
	p := newPlace(t)
	p.loader.UserExists = func(string) bool { return false }
	p.write(t, "default", "SRS_SECRET="+p.path("secret")+"\n")
	if c := p.mustLoad(t, nil, nil); c.User != "nobody" {
		t.Errorf("user %q", c.User)
	}
}

func TestSources(t *testing.T) {
	p := newPlace(t)
	p.write(t, "default", "# a\nSRS_HASHLENGTH=5\nSRS_SECRET="+p.path("secret")+"\nSRS_EXTRA_OPTIONS='-A -p/p'\n")
	p.write(t, "sysconfig", "\nCHROOT=$(echo /c)\n")
	c := p.mustLoad(t, []string{"--env-file", "$T/default", "--env-file", "$T/sysconfig", "-e", "-t5", "-6", "-l", "::1"}, []string{"RUN_AS=x", "POSTSRSD_FAKETIME=1577836860"})
	want := map[string]string{
		"Domain": "postconf -h mydomain", "SecretFile": "$T/default:3", "SecretLength": "built-in", "Separator": "default with a settings file",
		"HashLength": "$T/default:2", "HashMin": "default with a settings file", "Alphabet": "built-in", "AlwaysRewrite": "$T/default:4: SRS_EXTRA_OPTIONS",
		"Excluded": "built-in", "ListenAddr": "command line", "ForwardPort": "default with a settings file", "ReversePort": "default with a settings file",
		"Family": "command line", "IdleTimeout": "command line", "ConnectionLimit": "built-in", "RequestLimit": "built-in", "Chroot": "$T/sysconfig",
		"User": "environment", "PIDFile": "$T/default:4: SRS_EXTRA_OPTIONS", "Daemonize": "built-in", "Log": "built-in", "FakeTime": "environment",
		"Domains": "built-in", "DomainsFile": "built-in", "DomainsFileWatch": "built-in",
		"Socketmap": "built-in", "SocketMode": "built-in", "SocketOwner": "built-in", "Metrics": "built-in",
		"OriginalEnvelope": "built-in", "Database": "built-in",
		"Milter": "built-in", "MilterRewriteLocal": "built-in", "MilterRecipientLimit": "built-in", "AliasMaps": "built-in",
	}
	got := map[string]string{}
	for name, s := range c.Sources {
		got[name] = strings.ReplaceAll(s.String(), p.dir, "$T")
	}
	if !maps.Equal(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
	if c.Sources["Family"].Name != "-6" || c.Sources["User"].Name != "RUN_AS" || c.Sources["PIDFile"].Name != "-p" {
		t.Errorf("%+v", c.Sources)
	}
	for name := range c.Sources {
		if _, ok := reflect.TypeFor[Config]().FieldByName(name); !ok {
			t.Errorf("Config has no field %s", name)
		}
	}
	if want := time.Unix(1577836860, 0); !c.FakeTime.Equal(want) {
		t.Errorf("clock %v", c.FakeTime)
	}
}

// TestWarnings looks at what an administrator is told although the daemon starts.
func TestWarnings(t *testing.T) {
	const short = "$T/short: secret 2 of 2 has 5 characters, fewer than SRS_SECRET_LENGTH (24)"
	tests := []struct {
		file string
		args []string
		env  []string
		want []string
	}{
		{file: "SRS_DOMAIN=x\n"},
		{file: "SRS_SECRET=$T/short\nSRS_SECRET_LENGTH=24\n", want: []string{short}},
		{file: "SRS_HASHLENGTH=4\nSRS_HASHMIN=6\n", want: []string{"$T/default:2: SRS_HASHMIN=6: lowered to the hash length, 4, as longer hashes are never written"}},
		{file: "SRS_HASHLENGTH=2\n"},
		{file: "SRS_EXTRA_OPTIONS=-l0.0.0.0\n",
			want: []string{"$T/default:1: SRS_EXTRA_OPTIONS: -l 0.0.0.0 has no effect: SRS_LISTEN_ADDR=127.0.0.1 comes after it (set SRS_LISTEN_ADDR instead)"}},
		{file: "SRS_EXCLUDE_DOMAINS='a,*.b,@c .d .'\n", want: []string{"$T/default:1: *.b among the excluded domains is no domain and excludes nothing (3 such in all)"}},
		{file: "SRS_EXCLUDE_DOMAINS=\"$(cat /none)\"\n", want: []string{"$T/default: cat: /none: No such file or directory"}},
		{file: "SRS_DOMAIN=x\nstray words\n", want: []string{"$T/default:2: stray: not found"}},
		{file: "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do echo $i >&2; done\n",
			want: slices.Concat(lines("$T/default: ", 20), []string{"$T/default: 2 more complaints of /bin/sh"})},
		{file: "printf 'a\\tb\\033[31m\\n\\n' >&2\n", want: []string{`$T/default: "a\tb\x1b[31m"`}},
		{file: "SRS_PID_FILE=/p\nPOSTSRSD_FAKETIME=1\n", want: []string{"$T/default:1: SRS_PID_FILE has no effect in a settings file", "$T/default:2: POSTSRSD_FAKETIME has no effect in a settings file"}},
		{file: "# a\n# b\r\n", want: []string{"$T/default:2: a carriage return stands before the line's end and counts as part of the line"}},
		{args: []string{"--env-file=$T/a", "--env-file=$T/b", "-s$T/secret"}, want: []string{"no settings file is there ($T/a, $T/b): defaults hold"}},
		{args: []string{"-dx", "-s$T/secret"}, env: []string{"POSTSRSD_FAKETIME=1577836860"}, want: []string{"POSTSRSD_FAKETIME: the clock stands at 2020-01-01T00:01:00Z"}},
	}
	for _, test := range tests {
		p := newPlace(t)
		p.write(t, "short", "0123456789abcdef01234567\n56789\n")
		if test.file != "" {
			if !strings.Contains(test.file, "SRS_SECRET=") {
				test.file += "SRS_SECRET=$T/secret\n"
			}
			p.write(t, "default", strings.ReplaceAll(test.file, "$T", p.dir))
		}
		c, err := p.load(test.args, test.env)
		if err != nil {
			t.Errorf("%q: %v", test.file, err)
			continue
		}
		got := strings.ReplaceAll(strings.Join(c.Warnings, "\n"), p.dir, "$T")
		if want := strings.Join(test.want, "\n"); got != want {
			t.Errorf("%q:\n got %s\nwant %s", test.file, got, want)
		}
	}
}

func lines(prefix string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(prefix, i+1))
	}
	return all
}

func TestUnknownVariables(t *testing.T) {
	p := newPlace(t)
	p.write(t, "default", "SRS_SECRET="+p.path("secret")+"\nSRS_DOMIAN=x\n\nexport SRS_EXCLUDED=a\nRUNAS=$(echo b)\n")
	got := p.mustLoad(t, nil, nil).Unknown
	file := p.path("default")
	if want := []Unknown{{"SRS_DOMIAN", file, 2}, {"SRS_EXCLUDED", file, 4}, {"RUNAS", file, 5}}; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
}

// TestReload loads again after files have changed.
func TestReload(t *testing.T) {
	p := newPlace(t)
	file := p.write(t, "default", "SRS_DOMAIN=a\nSRS_SECRET="+p.path("secret")+"\n")
	before := p.mustLoad(t, nil, nil)
	p.write(t, "default", "SRS_DOMAIN=b\nSRS_SECRET="+p.path("secret")+"\n")
	p.write(t, "secret", "a new secret of length\n0123456789abcdef\n")
	after := p.mustLoad(t, nil, nil)
	if before.Domain != "a" || len(before.Secrets) != 1 || after.Domain != "b" || len(after.Secrets) != 2 {
		t.Errorf("%s: %+v %+v", file, before, after)
	}
}

func TestTravelsByGob(t *testing.T) {
	p := newPlace(t)
	c := p.mustLoad(t, []string{"-dx", "-s$T/secret", "-Xa"}, []string{"POSTSRSD_FAKETIME=1577836860"})
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(c); err != nil {
		t.Fatal(err)
	}
	var back Config
	if err := gob.NewDecoder(&b).Decode(&back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*c, back) || string(back.Secrets[0]) != "0123456789abcdef" {
		t.Errorf("\n got %+v\nwant %+v", back, *c)
	}
}

// TestSecretsStaySecret prints a configuration in every way there is.
func TestSecretsStaySecret(t *testing.T) {
	p := newPlace(t)
	c := p.mustLoad(t, []string{"-dx", "-s$T/secret"}, nil)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%c", "%T"} { // go vet allows %p for the pointer alone
		fmt.Fprintf(&out, verb+"\n"+verb+"\n"+verb+"\n", c, *c, c.Secrets)
	}
	fmt.Fprintf(&out, "%p\n", c)
	fmt.Fprintln(&out, c, c.Secrets, &c.Secrets)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "config", c, "copy", *c, "secrets", c.Secrets, "pointer", &c.Secrets)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	secret := "0123456789abcdef"
	for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("% x", secret), "MDEyMzQ1Njc4OWFiY2RlZg", "48 49 50", "0x30, 0x31"} {
		if i := strings.Index(out.String(), form); i >= 0 {
			t.Errorf("%q is in …%.80s…", form, out.String()[max(0, i-40):])
		}
	}
	if !strings.Contains(out.String(), "[1 secrets, bytes: 16]") {
		t.Error("secrets are not shown by number and lengths")
	}
}

func TestParseSecrets(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	y := func(n int) string { return strings.Repeat("y", n) }
	tests := []struct {
		data string
		want []string
	}{
		{"", nil}, {"\n\r\n\n", nil}, {"\x00", nil}, {"\x00abc\n", nil},
		{"a", []string{"a"}}, {"a\n", []string{"a"}}, {"a\r\n", []string{"a"}}, {"a\r\r\n", []string{"a"}},
		{"a\nb\n\nc", []string{"a", "b", "c"}},
		{"abc\rdef\nzz\n", []string{"abc", "zz"}},
		{"\rcd\nef", []string{"cd", "ef"}},
		{" a \n\t\n", []string{" a ", "\t"}},
		{"#a\nb", []string{"#a", "b"}},
		{"ab\x00cd\nef", []string{"ab", "ef"}},
		{"\x00cd\nef", []string{"ef"}},
		{"\r\x00x\nef", []string{"ef"}},
		{"\xff\xfe\x01", []string{"\xff\xfe\x01"}},
		{x(1500) + "\nq", []string{x(1023), x(477), "q"}},
		{x(1023) + "\nq", []string{x(1023), "q"}},
		{x(1024) + "\nq", []string{x(1023), "x", "q"}},
		{x(3000), []string{x(1023), x(1023), x(954)}},
		{"x\x00" + y(1500) + "\nq", []string{"x", y(479), "q"}},
		{"x\r" + y(1500) + "\nq", []string{"x", y(479), "q"}},
	}
	for _, test := range tests {
		var got []string
		for _, s := range parseSecrets([]byte(test.data)) {
			got = append(got, string(s))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%.40q:\n got %.80q\nwant %.80q", test.data, got, test.want)
		}
	}
}

// TestSettings holds the table together: names, letters and variables are there
// once, and every line of help is one.
func TestSettings(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Settings {
		for _, key := range []string{"-" + s.Short, "--" + s.Long, "$" + s.Variable} {
			if len(key) > 2 && seen[key] || key[0] == '-' && len(key) == 2 && key != "--" && seen[key] {
				t.Errorf("%s is there twice", key)
			}
			seen[key] = true
		}
		if s.Help == "" || strings.ContainsAny(s.Help, "\n") || (s.Name == "") != (s.set == nil) || len(s.Short) > 1 {
			t.Errorf("%+v", s)
		}
	}
	if _, err := os.Stat(filepath.Join(settingsDir, "good", "guide")); err != nil {
		t.Error(err)
	}
}
