package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

const confDir = "../../testdata/conf"

// environment is that of libconfuse.tsv.
func environment(name string) (string, bool) {
	value, ok := map[string]string{"FOO": "foo", "EMPTY": ""}[name]
	return value, ok
}

// threeKeys reads what libconfuse.tsv has read, into its notation.
func threeKeys(text string) (string, error) {
	values := map[string][]string{"separator": {"="}, "srs-domain": {"NULL"}, "domains": nil}
	r := confReader{rest: text, line: 1, getenv: environment, unset: func(int, string) {}, knows: func(key string) error {
		if _, ok := values[key]; !ok {
			return fmt.Errorf("no key %s", key)
		}
		return nil
	}}
	for {
		st, err := r.next()
		switch {
		case err != nil:
			return "", err
		case st.key == "":
			return fmt.Sprintf("%q", [][]string{values["srs-domain"], values["separator"], values["domains"]}), nil
		case st.key != "domains" && (st.list || st.add):
			return "", fmt.Errorf("%s is no list", st.key)
		case !st.add:
			values[st.key] = nil
		}
		for _, v := range st.values {
			values[st.key] = append(values[st.key], v.text)
		}
	}
}

// TestLibconfuse holds the reader against what was observed on libConfuse.
func TestLibconfuse(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(confDir, "libconfuse.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		quoted, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		text, err := strconv.Unquote(quoted)
		if !ok || err != nil {
			t.Fatalf("bad row %s", line)
		}
		rows++
		got, err := threeKeys(text)
		if err != nil {
			got = "refused"
		}
		if got != want {
			t.Errorf("%s:\n got %s (%v)\nwant %s", quoted, got, err, want)
		}
	}
	if rows < 250 {
		t.Errorf("only %d rows", rows)
	}
}

// TestComments has comments where libConfuse 3.3 stumbles over them.
func TestComments(t *testing.T) {
	const want = `[["a"] ["-"] ["b" "c"]]`
	for _, text := range []string{
		"srs-domain = # x\na separator = /* = */ - domains = { b, // ,\n c }",
		"srs-domain /* x\n*/ = a separator # -\n=\n-\ndomains = { # {\n b # }\n, c\n// }\n}",
		"/***/srs-domain = a /**/separator = - /***/domains = {b,c}#",
	} {
		if got, err := threeKeys(text); got != want || err != nil {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

// TestBadConf loads files that are wrong. The first line of each is a comment
// that has the error.
func TestBadConf(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(confDir, "bad", "*.conf"))
	if len(files) < 60 {
		t.Fatalf("only %d files", len(files))
	}
	lines := 0
	defer func() {
		if lines < 60 {
			t.Errorf("only %d errors name a line", lines)
		}
	}()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := bytes.Cut(data, []byte("\n"))
		want := strings.TrimPrefix(string(first), "# ")
		p := newPlace(t)
		_, err = p.load([]string{"-C", file}, nil)
		if err == nil {
			t.Errorf("%s: accepted", file)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), file, filepath.Base(file)); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		if strings.HasPrefix(want, filepath.Base(file)+":") && strings.Contains("0123456789", want[len(filepath.Base(file))+1:][:1]) {
			lines++
		}
	}
}

// TestConf goes through what a postsrsd.conf can say.
func TestConf(t *testing.T) {
	const builtIn = "d=example.com a== n=4 N=4 A=false X=[] l= 0 f= r= t=30s c= u= p= D=false log=stderr"
	secret := "\nsecrets-file = \"$T/secret\"\n"
	change := func(oldnew ...string) string { return strings.NewReplacer(oldnew...).Replace(builtIn) }
	tests := []struct {
		name string
		conf string
		args []string
		want string
		more func(c *Config) (got, want any)
	}{
		{name: "built in", want: builtIn, more: func(c *Config) (any, any) {
			return fmt.Sprintf("%v %d %d %s %v %o", c.Socketmap, c.ConnectionLimit, c.RequestLimit, c.Alphabet, c.DomainsFileWatch, c.SocketMode),
				"unix:/var/spool/postfix/srs 200 512 -_ false 666"
		}},
		{name: "everything", conf: "separator = '-'\nhash-length = 8 hash-minimum = 0x6\nalways-rewrite = yes\nkeep-alive = 60 pid-file = /p\n" +
			"unprivileged-user = u\nchroot-dir = /c\nsyslog = TRUE\ndaemonize=on\nconnection-limit = 1000\ndebug = on\nseccomp = off\nmilter = \"\"\n" +
			"milter-rewrite-local = off\nmilter-recipient-limit = 1000\noriginal-envelope = embedded\nenvelope-database = \"\"\nsocketmap = inet:10003\n" +
			"domains-file-watch = on\ndomains-file = $T/domains\nalphabet = '+/'\nsocket-mode = 0660\nsocket-owner = root:postfix\ndomains = {}",
			want: "d=example.com a=- n=8 N=6 A=true X=[] l= 0 f= r= t=1m0s c=/c u=u p=/p D=true log=syslog",
			more: func(c *Config) (any, any) {
				return fmt.Sprintf("%v %d %d %s %v %o %s %s", c.Socketmap, c.ConnectionLimit, c.RequestLimit, c.Alphabet, c.DomainsFileWatch, c.SocketMode, c.SocketOwner, c.Domains),
					"inet:*:10003 1000 512 +/ true 660 root:postfix [example.net .example.net]"
			}},
		{name: "switched off", conf: "socketmap = \"\" pid-file = \"\" unprivileged-user = '' chroot-dir = '' domains-file = ''", want: builtIn,
			more: func(c *Config) (any, any) { return c.Socketmap, Endpoint{} }},
		{name: "the last wins", conf: "srs-domain = a srs-domain = example.com domains = { a } domains = { b } domains += { c, .d }", want: builtIn,
			more: func(c *Config) (any, any) { return fmt.Sprint(c.Domains), "[b c .d]" }},
		{name: "the first domain is the SRS domain", conf: "srs-domain = '' domains = { .a, example.com, b }", want: builtIn,
			more: func(c *Config) (any, any) { return c.Sources["Domain"], c.Sources["Domains"] }},
		{name: "the first domain of the file", conf: "srs-domain = '' domains-file = $T/domains", want: change("example.com", "example.net")},
		{name: "variables", conf: "srs-domain = \"example.${TLD}\" separator = \"${SEP:-+}\" unprivileged-user = ${WHO}", want: change("a==", "a=+", "u=", "u=me")},
		{name: "flags of both", args: []string{"-u", "u", "-c/c", "-p", "/p", "-D", "--log=stderr"}, conf: "unprivileged-user = a chroot-dir = b pid-file = c", want: change("c=", "c=/c", "u=", "u=u", "p=", "p=/p", "D=false", "D=true")},
		{name: "in the background", conf: "daemonize = on", want: change("D=false log=stderr", "D=true log=syslog")},
		{name: "empty flags", args: []string{"-u", "", "-c", ""}, conf: "unprivileged-user = a chroot-dir = b", want: builtIn},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlace(t)
			p.write(t, "domains", "# ours\nexample.net\n\n .example.net # and below\r\n")
			p.write(t, "conf", strings.ReplaceAll("srs-domain = example.com"+secret+test.conf, "$T", p.dir))
			args := append([]string{"-C", "$T/conf"}, test.args...)
			if !strings.Contains(test.conf+strings.Join(args, " "), "-u") && !strings.Contains(test.conf, "unprivileged-user") {
				args = append(args, "-u", "") // root has a user built in
			}
			c := p.mustLoad(t, args, []string{"TLD=com", "WHO=me"})
			if got := c.values(); got != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
			}
			if test.more != nil {
				if got, want := test.more(c); got != want {
					t.Errorf("\n got %v\nwant %v", got, want)
				}
			}
		})
	}
}

// TestWhichFile holds which calls read a postsrsd.conf.
func TestWhichFile(t *testing.T) {
	const (
		conf     = "-- postsrsd.conf --\nsrs-domain = two.example\nsecrets-file = \"$T/secret\"\n"
		other    = "-- other.conf --\nsrs-domain = other.example\nsecrets-file = \"$T/secret\"\n"
		settings = "-- default --\nSRS_DOMAIN=one.example\nSRS_SECRET=$T/secret\n"
	)
	tests := []struct {
		name  string
		args  []string
		files string
		want  string // domain and configuration, or the error
	}{
		{"bare with both", nil, conf + settings, "two.example $T/postsrsd.conf"},
		{"bare without", nil, settings, "one.example "},
		{"how to run", []string{"-D", "-p/p", "-uroot", "-c/", "--log=stderr"}, conf + settings, "two.example $T/postsrsd.conf"},
		{"named", []string{"-C", "$T/other.conf"}, conf + other + settings, "other.example $T/other.conf"},
		{"named, attached", []string{"-C$T/other.conf", "-D"}, conf + other, "other.example $T/other.conf"},
		{"named and missing", []string{"-C$T/other.conf"}, conf, "cannot read the configuration $T/other.conf: no such file or directory"},
		{"named a directory", []string{"-C$T"}, conf, "cannot read the configuration $T: is a directory"},
		{"endless", []string{"-C/dev/zero"}, conf, "cannot read the configuration /dev/zero: larger than 1048576 bytes"},
		{"a flag of 1.x", []string{"-A", "-done.example", "-s$T/secret"}, conf, "one.example "},
		{"the environment of 1.x", []string{"-e", "-s$T/secret", "-done.example"}, conf, "one.example "},
		{"the settings file of 1.x", []string{"--env-file=$T/default"}, conf + settings, "one.example "},
		{"both named", []string{"-C$T/other.conf", "--env-file=$T/default"}, conf + other + settings,
			"-C $T/other.conf and --env-file exclude each other: a postsrsd.conf is read instead of settings files, flags and variables of 1.x"},
		{"a flag of 1.x and named", []string{"-t5", "-C$T/other.conf"}, conf + other,
			"-C $T/other.conf and -t exclude each other: a postsrsd.conf is read instead of settings files, flags and variables of 1.x"},
		{"none named", []string{"-C", ""}, conf, "-C: give the name of a file"},
		{"two named", []string{"-Ca", "-Cb"}, conf, "-C a and -C b exclude each other"},
		{"named among the extra options", []string{"--env-file=$T/default"}, settings + "SRS_EXTRA_OPTIONS=-Cx\n", "$T/default:3: SRS_EXTRA_OPTIONS: -C cannot stand here"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlace(t)
			for _, f := range txtar.Parse([]byte(test.files)).Files {
				p.write(t, f.Name, strings.ReplaceAll(string(f.Data), "$T", p.dir))
			}
			c, err := p.load(test.args, nil)
			got := fmt.Sprint(err)
			if err == nil {
				got = c.Domain + " " + c.Conf
			}
			if got = strings.ReplaceAll(got, p.dir, "$T"); got != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
			}
		})
	}

	p := newPlace(t)
	os.Symlink(p.path("gone"), p.path("postsrsd.conf"))
	if _, err := p.load(nil, nil); err == nil || !strings.Contains(err.Error(), "cannot read the configuration "+p.path("postsrsd.conf")) {
		t.Errorf("a link that leads nowhere: %v", err)
	}
}

// TestConfPrivileges holds what a postsrsd.conf without user and jail means.
func TestConfPrivileges(t *testing.T) {
	p := newPlace(t)
	p.write(t, "conf", "srs-domain = a secrets-file = "+p.path("secret"))
	user, jail := "", ""
	if os.Geteuid() == 0 {
		user, jail = "postsrsd", p.path("jail")
	}
	if c := p.mustLoad(t, []string{"-C$T/conf"}, nil); c.User != user || c.Chroot != "" {
		t.Errorf("%q in %q", c.User, c.Chroot)
	}
	os.Mkdir(p.path("jail"), 0o755)
	p.loader.UserExists = func(string) bool { return false }
	if user != "" {
		user = "nobody"
	}
	if c := p.mustLoad(t, []string{"-C$T/conf"}, nil); c.User != user || c.Chroot != jail {
		t.Errorf("%q in %q", c.User, c.Chroot)
	}
}

func TestConfWarnings(t *testing.T) {
	tests := []struct {
		conf string
		want []string
	}{
		{"", nil},
		{"pid-file = \"${RUN}/p\"", []string{"$T/conf:3: ${RUN} is not set in the environment and counts as empty"}},
		{"syslog = on\nsyslog = off", []string{"$T/conf:3: syslog has no effect: it is given again at line 4"}},
		{"domains = { a }\ndomains += { b }", nil},
		{"domains = { a,\n\"*.b\" }", []string{"$T/conf:4: domains = *.b: *.b is no domain and stands for none"}},
		{"domains-file = $T/domains", []string{"$T/domains:2: \"b c\" is no domain and stands for none (2 such in all)"}},
		{"domains-file-watch = on", []string{"$T/conf:3: domains-file-watch = on: there is no file of domains to watch"}},
		{"socketmap = inet:10003", []string{"$T/conf:3: socketmap = inet:10003: every address of this host is served, and whoever can connect can have senders signed: " +
			"write inet:*:10003 if that is meant, inet:localhost:10003 if not"}},
		{"socketmap = inet:localhost:10003", nil},
		{"socketmap = \"inet:*:10003\"", nil},
		{"hash-minimum = 8", []string{"$T/conf:3: hash-minimum = 8: lowered to the hash length, 4, as longer hashes are never written"}},
		{"envelope-database = \"sqlite:/x\"", []string{"$T/conf:3: envelope-database = sqlite:/x: has no effect where original-envelope is embedded; with auto what is in there is still found"}},
		{"seccomp = on", []string{"$T/conf:3: seccomp has no effect: system calls are filtered by the service manager or not at all"}},
		{"secrets-file = $T/short", []string{"$T/conf:2: secrets-file has no effect: it is given again at line 3", "$T/short: secret 1 of 1 has 5 characters, fewer than 16"}},
		{"daemonize = on syslog = off", []string{"$T/conf:3: syslog = off: the log goes to syslog all the same, as there is no standard error in the background"}},
	}
	for _, test := range tests {
		p := newPlace(t)
		p.write(t, "domains", "a.example\nb c\n*\n")
		p.write(t, "short", "12345")
		os.Chmod(p.path("short"), 0o600)
		p.write(t, "conf", strings.ReplaceAll("srs-domain = a\nsecrets-file = $T/secret\n"+test.conf, "$T", p.dir))
		got := slices.Clone(p.mustLoad(t, []string{"-C$T/conf"}, nil).Warnings)
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], p.dir, "$T")
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%q:\n got %q\nwant %q", test.conf, got, test.want)
		}
	}

	// The settings file of 1.x beside it, and one that anyone may write.
	p := newPlace(t)
	p.write(t, "default", "SRS_DOMAIN=a\n")
	os.Chmod(p.write(t, "postsrsd.conf", "srs-domain = a secrets-file = "+p.path("secret")), 0o666)
	got := strings.ReplaceAll(strings.Join(p.mustLoad(t, nil, nil).Warnings, "\n"), p.dir, "$T")
	want := "$T/default is not read, because $T/postsrsd.conf is there: take one of them away\n$T/postsrsd.conf: anyone may change it (mode 0666): chmod go-w it"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// TestKeysIn1x points out what belongs in a postsrsd.conf, and reads the
// settings that 1.x did not have.
func TestKeysIn1x(t *testing.T) {
	p := newPlace(t)
	p.write(t, "domains", "example.net\n")
	p.write(t, "default", strings.ReplaceAll("SRS_DOMAIN=a\nSRS_SECRET=$T/secret\nsrs-domain = \"b\"\ndomains = { \"c\" }\nalways-rewrite=on\ndebug=x\n"+
		"SRS_SOCKETMAP=unix:/run/srs\nSRS_DOMAINS='b, .c'\nSRS_DOMAINS_FILE=$T/domains\nSRS_DOMAINS_FILE_WATCH=on\nSRS_SOCKET_MODE=0600\n", "$T", p.dir))
	c := p.mustLoad(t, nil, nil)
	if got, want := fmt.Sprintf("%s %v %s %v %o %s", c.Domain, c.Socketmap, c.Domains, c.DomainsFileWatch, c.SocketMode, c.ForwardPort), "a unix:/run/srs [b .c example.net] true 600 10001"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	var got []string
	for _, w := range c.Warnings {
		if strings.Contains(w, "belongs") {
			got = append(got, strings.ReplaceAll(w, p.dir, "$T"))
		}
	}
	want := []string{
		"$T/default:3: srs-domain belongs in a postsrsd.conf and has no effect here: set SRS_DOMAIN",
		"$T/default:4: domains belongs in a postsrsd.conf and has no effect here: set SRS_DOMAINS",
		"$T/default:5: always-rewrite belongs in a postsrsd.conf and has no effect here",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// FuzzConf holds that whatever a postsrsd.conf is, it is read or refused with
// one line that names the file.
func FuzzConf(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join(confDir, "bad", "*.conf"))
	if len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		data, _ := os.ReadFile(file)
		f.Add(data)
	}
	f.Add([]byte("srs-domain = \"${FOO:-a}\" domains = { 'b\\'', \"\\x41\\101\" } /* c */ // d"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newLoading(Loader{UserExists: func(string) bool { return true }}, []string{"FOO=foo"})
		p.conf = "FILE"
		err := p.parseConf(p.conf, string(data))
		if err == nil {
			delete(p.given, "DomainsFile") // no other files here
			p.given["SecretFile"] = []given{{value: "/nonexistent"}}
			if _, wrong := p.check(false); len(wrong) > 0 {
				err = wrong[0]
			}
		}
		switch {
		case err == nil:
			t.Error("there is no secret")
		case strings.ContainsAny(err.Error(), "\r\n") || !strings.Contains(err.Error(), "FILE") && !strings.Contains(err.Error(), "/nonexistent"):
			t.Errorf("%q", err)
		}
	})
}

// TestLongConf has the reader look at each octet a bounded number of times.
func TestLongConf(t *testing.T) {
	for _, piece := range []string{"${", "\"${", "a", "\\", "/*", "#\n", "{", "'", "domains=a\n", "domains+={", "${a}", "\n", "$"} {
		text := "domains = \"" + strings.Repeat(piece, 4<<20/len(piece))
		begun := time.Now()
		newLoading(Loader{}, nil).parseConf("FILE", text)
		newLoading(Loader{}, nil).parseConf("FILE", text[len("domains = \""):])
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%q: %v", piece, took)
		}
	}
}

// TestSecretPlaceOfConf finds where postsrsd secret writes.
func TestSecretPlaceOfConf(t *testing.T) {
	p := newPlace(t)
	conf := p.write(t, "conf", "secrets-file = /a/secret")
	if path, length, err := p.loader.SecretPlace([]string{"-C", conf}, nil); path != "/a/secret" || length != 16 || err != nil {
		t.Error(path, length, err)
	}
	p.write(t, "conf", "")
	if path, _, err := p.loader.SecretPlace([]string{"-C", conf}, nil); path != "/etc/postsrsd.secret" || err != nil {
		t.Error(path, err)
	}
}
