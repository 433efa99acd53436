package config

import (
	"strings"
	"testing"
)

// TestRefusals holds every bad combination against the line that the
// administrator reads. $T is the directory of the test; -s is added unless the
// row speaks of secrets.
func TestRefusals(t *testing.T) {
	good := []string{"-d", "example.com", "-s", "$T/secret"}
	with := func(args ...string) []string { return append(append([]string{}, good...), args...) }
	tests := []struct {
		name string
		args []string
		env  []string
		file string // $T/settings, named with --env-file unless empty
		want string
	}{
		// What 1.x refuses, in its words.
		{name: "no domain", args: []string{"-A"}, want: "You must set a home domain (-d)"},
		{name: "empty domain", args: []string{"-d", "", "-s", "$T/secret"}, want: "You must set a home domain (-d)"},
		{name: "only a user", args: []string{"-d", "user@", "-s", "$T/secret"}, want: "You must set a home domain (-d)"},
		{name: "environment without domain", args: []string{"-e"}, env: []string{"SRS_DOMAIN=", "SRS_SECRET=$T/secret"}, want: "You must set a home domain (-d)"},
		{name: "environment not asked for", args: []string{"-s", "$T/secret"}, env: []string{"SRS_DOMAIN=example.com"}, want: "You must set a home domain (-d)"},
		{name: "no secret", args: []string{"-d", "example.com"}, want: "You must set a secret (-s)"},
		{name: "empty name of secret", args: []string{"-d", "example.com", "-s", ""}, want: "You must set a secret (-s)"},
		{name: "environment without secret", args: []string{"-e"}, env: []string{"SRS_DOMAIN=example.com"}, want: "You must set a secret (-s)"},
		{name: "empty SRS_SECRET", file: "SRS_DOMAIN=a\nSRS_SECRET=\n", want: "You must set a secret (-s)"},
		{name: "missing secret", args: []string{"-d", "a", "-s", "$T/none"}, want: "Cannot open file with secret: $T/none: no such file or directory"},
		{name: "secret is a directory", args: []string{"-d", "a", "-s", "$T"}, want: "Cannot open file with secret: $T: is a directory"},
		{name: "secret below a file", args: []string{"-d", "a", "-s", "$T/secret/x"}, want: "Cannot open file with secret: $T/secret/x: not a directory"},
		{name: "empty secret", args: []string{"-d", "a", "-s", "/dev/null"},
			want: "You must set a secret (-s): /dev/null holds none, write one line of random characters into it"},
		{name: "endless secret", args: []string{"-d", "a", "-s", "/dev/zero"}, want: "Cannot open file with secret: /dev/zero: larger than 1048576 bytes"},
		{name: "secret's name of two lines", args: []string{"-d", "a", "-s", "x\ny"}, want: `Cannot open file with secret: "x\ny": no such file or directory`},
		{name: "extra argument", args: with("extra"), want: "extra argument on command line: extra"},
		{name: "separator", args: with("-a", "x"), want: "SRS separator character must be one of '=+-' (-a x)"},
		{name: "separator before domain", args: []string{"-a", "x"}, want: "SRS separator character must be one of '=+-' (-a x)"},
		{name: "separator in environment", args: with("-e"), env: []string{"SRS_SEPARATOR=#"},
			want: "SRS separator character must be one of '=+-' (environment: SRS_SEPARATOR=#)"},
		{name: "separator in file", file: "# a\nSRS_SEPARATOR=:\n", want: "SRS separator character must be one of '=+-' ($T/settings:2: SRS_SEPARATOR=:)"},

		// Flags that getopt refuses.
		{name: "no argument", args: []string{"-d"}, want: "option requires an argument -- 'd'"},
		{name: "unknown flag", args: with("-z"), want: "invalid option -- 'z' (--help lists all)"},
		{name: "unknown long option", args: with("--syslog"), want: "unrecognized option '--syslog' (--help lists all)"},
		{name: "log to a file", args: with("--log=/var/log/x"), want: "--log /var/log/x: give stderr or syslog"},

		// Domains.
		{name: "dollar in domain", args: []string{"-d", "$MYDOMAIN"}, want: "-d $MYDOMAIN: the SRS domain must not hold '$'"},
		{name: "space in domain", args: []string{"-d", "a b"}, want: `-d "a b": the SRS domain must not hold ' '`},
		{name: "unexpanded domain", file: "SRS_DOMAIN='${MYDOMAIN}'\n", want: "$T/settings:1: SRS_DOMAIN=${MYDOMAIN}: the SRS domain must not hold '$'"},
		{name: "domain of several lines", file: "SRS_DOMAIN=\"a\nb\"\n", want: `$T/settings: SRS_DOMAIN="a\nb": the SRS domain must not hold '\n'`},
		{name: "domain of a file with carriage returns", file: "SRS_DOMAIN=a\r\n", want: `$T/settings: SRS_DOMAIN="a\r": the SRS domain must not hold '\r'`},
		{name: "comma in domain", args: []string{"-e"}, env: []string{"SRS_DOMAIN=a,b"}, want: "environment: SRS_DOMAIN=a,b: the SRS domain must not hold ','"},
		{name: "quotes in domain", args: []string{"-e"}, env: []string{`SRS_DOMAIN="a"`}, want: `environment: SRS_DOMAIN="\"a\"": the SRS domain must not hold '"'`},
		{name: "domain is no UTF-8", args: []string{"-d", "b\xfccher.example"}, want: `-d "b\xfccher.example": the SRS domain must not hold '�'`},
		{name: "domain begins with a dot", args: []string{"-d", ".a"}, want: "-d .a: the SRS domain must not begin or end with a dot or have two in a row"},
		{name: "domain ends with a dot", args: []string{"-d", "a."}, want: "-d a.: the SRS domain must not begin or end with a dot or have two in a row"},
		{name: "empty label", args: []string{"-d", "a..b"}, want: "-d a..b: the SRS domain must not begin or end with a dot or have two in a row"},
		{name: "long domain", args: []string{"-d", strings.Repeat("a", 256)},
			want: `-d "` + strings.Repeat("a", 100) + `"…: the SRS domain must not have more than 255 bytes`},

		// Numbers.
		{name: "hash of 28", args: with("-n", "28"), want: "-n 28: give a number from 1 to 27"},
		{name: "hash of x", args: with("-nx"), want: "-n x: give a number from 1 to 27"},
		{name: "hash below nothing", args: with("-n-1"), want: "-n -1: give a number from 1 to 27"},
		{name: "hash in file", file: "SRS_DOMAIN=a\nexport SRS_HASHLENGTH='4 characters'\n", want: `$T/settings:2: SRS_HASHLENGTH="4 characters": give a number from 1 to 27`},
		{name: "minimum of x", args: with("-N", "x"), want: "-N x: give a number from 1 to 27"},
		{name: "minimum in environment", args: with("-e"), env: []string{"SRS_HASHMIN=99999999999999999999"}, want: "environment: SRS_HASHMIN=99999999999999999999: give a number from 1 to 27"},
		{name: "timeout of x", args: with("-t", "x"), want: "-t x: give a number of seconds, 0 for no limit"},
		{name: "timeout below nothing", args: with("-t-1"), want: "-t -1: give a number of seconds, 0 for no limit"},
		{name: "timeout too long", args: with("-t", "4294967296"), want: "-t 4294967296: give a number of seconds, 0 for no limit"},
		{name: "timeout with unit", file: "SRS_TIMEOUT=30m\n", want: "$T/settings:1: SRS_TIMEOUT=30m: give a number of seconds, 0 for no limit"},
		{name: "secret length", file: "SRS_SECRET_LENGTH=0\n", want: "$T/settings:1: SRS_SECRET_LENGTH=0: give a number from 1 to 1023"},
		{name: "no connections", file: "SRS_CONNECTION_LIMIT=0\n", want: "$T/settings:1: SRS_CONNECTION_LIMIT=0: give a number from 1 to 1000000"},
		{name: "small requests", args: with("-e"), env: []string{"SRS_REQUEST_LIMIT=10"}, want: "environment: SRS_REQUEST_LIMIT=10: give a number from 1024 to 1048576"},
		{name: "alphabet", file: "SRS_ALPHABET=ab\n", want: "$T/settings:1: SRS_ALPHABET=ab: give +/ or -_"},
		{name: "clock", args: good, env: []string{"POSTSRSD_FAKETIME=yesterday"}, want: "environment: POSTSRSD_FAKETIME=yesterday: give a Unix time in seconds"},

		// Ports and addresses.
		{name: "unknown service", args: with("-f", "nosuch"), want: "-f nosuch: no such service: give a port number from 1 to 65535 or a name that /etc/services has"},
		{name: "port 0", args: with("-r0"), want: "-r 0: no such service: give a port number from 1 to 65535 or a name that /etc/services has"},
		{name: "port 65536", file: "SRS_FORWARD_PORT=65536\n", want: "$T/settings:1: SRS_FORWARD_PORT=65536: no such service: give a port number from 1 to 65535 or a name that /etc/services has"},
		{name: "one port for both", args: with("-f", "10002"), want: "forward port (command line) and reverse port (built-in) are both 10002: give two"},
		{name: "two addresses", args: with("-l", "127.0.0.1 ::1"), want: `-l "127.0.0.1 ::1": give one address or host name`},
		{name: "families", args: with("-6", "-l127.0.0.1"), want: "-6 and the listen address 127.0.0.1 (command line) exclude each other"},
		{name: "the launcher's address and IPv6", file: "SRS_DOMAIN=a\nSRS_EXTRA_OPTIONS=-6\n", want: "-6 and the listen address 127.0.0.1 (default with a settings file) exclude each other"},

		// SRS_EXTRA_OPTIONS.
		{name: "extra option unknown", file: "\nSRS_EXTRA_OPTIONS=-z\n", want: "$T/settings:2: SRS_EXTRA_OPTIONS: invalid option -- 'z' (--help lists all)"},
		{name: "extra argument", file: "SRS_EXTRA_OPTIONS='-4 \"a b\"'\n", want: `$T/settings:1: SRS_EXTRA_OPTIONS: extra argument on command line: "a`},
		{name: "extra help", file: "SRS_EXTRA_OPTIONS=-h\n", want: "$T/settings:1: SRS_EXTRA_OPTIONS: --help and --version cannot stand here"},
		{name: "extra file", file: "SRS_EXTRA_OPTIONS=--env-file=x\n", want: "$T/settings:1: SRS_EXTRA_OPTIONS: --env-file cannot stand here"},
		{name: "extra timeout", file: "SRS_DOMAIN=a\nSRS_EXTRA_OPTIONS='-A -t x'\n", want: "$T/settings:2: SRS_EXTRA_OPTIONS: -t x: give a number of seconds, 0 for no limit"},

		// Settings files.
		{name: "missing file named alone", args: []string{"--env-file", "$T/none"}, want: "cannot read the settings file $T/none: no such file or directory"},
		{name: "directory", args: []string{"--env-file", "$T"}, want: "cannot read the settings file $T: is a directory"},
		{name: "endless file", args: []string{"--env-file", "/dev/zero"}, want: "cannot read the settings file /dev/zero: larger than 1048576 bytes"},
		{name: "syntax error", file: "SRS_DOMAIN=a\nif true; then\nfi\n", want: `$T/settings:3: Syntax error: "fi" unexpected`},
		{name: "open quote", file: "SRS_DOMAIN=a\nRUN_AS=\"b\n", want: "$T/settings:3: Syntax error: Unterminated quoted string"},
		{name: "stray bracket", file: "SRS_DOMAIN=(a)\n", want: `$T/settings:1: Syntax error: "(" unexpected`},
		{name: "bad substitution", file: "SRS_DOMAIN=${a!b}\n", want: "$T/settings:1: Bad substitution"},
		{name: "exit", file: "SRS_DOMAIN=a\nexit 0\n", want: "$T/settings: it ends the shell before its last line (exit status 0): take exit, exec, set -e and the like out"},
		{name: "exec", file: "exec true\n", want: "$T/settings: it ends the shell before its last line (exit status 0): take exit, exec, set -e and the like out"},
		{name: "set -e", file: "set -e\ncat /none\n",
			want: "$T/settings: it ends the shell before its last line (exit status 1): take exit, exec, set -e and the like out; its last complaint: $T/settings: cat: /none: No such file or directory"},
		{name: "killed", file: "kill -9 $$\n", want: "$T/settings: it ends the shell before its last line (signal: killed): take exit, exec, set -e and the like out"},
		{name: "unset under set -u", file: "set -u\nSRS_DOMAIN=$nosuch\n",
			want: "$T/settings: it ends the shell before its last line (exit status 2): take exit, exec, set -e and the like out; its last complaint: $T/settings:2: nosuch: parameter not set"},
	}
	if len(tests) < 60 {
		t.Fatalf("%d rows", len(tests))
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlace(t)
			args := test.args
			if test.file != "" {
				p.write(t, "settings", test.file)
				args = append([]string{"--env-file", "$T/settings"}, args...)
			}
			c, err := p.load(args, test.env)
			if err == nil {
				t.Fatalf("accepted: %+v", c)
			}
			if got := strings.ReplaceAll(err.Error(), p.dir, "$T"); got != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
			}
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

// TestNoHomeDomain looks at the reason that follows the refusal where Postfix was asked.
func TestNoHomeDomain(t *testing.T) {
	const refusal = "You must set a home domain (-d): SRS_DOMAIN is not set, and "
	tests := []struct{ postconf, want string }{
		{"exit 3", "$T/postconf -h mydomain gives none (exit status 3)"},
		{"echo", "$T/postconf -h mydomain gives none (exit status 0)"},
		{"echo 'postconf: fatal: no main.cf' >&2; exit 1", "$T/postconf -h mydomain gives none (exit status 1): postconf: fatal: no main.cf"},
		{"", "$T/nosuch -h mydomain cannot be asked: no such file or directory"},
		{"while :; do :; done", "$T/postconf -h mydomain cannot be asked: $T/postconf did not end within 200ms"},
		{"while :; do echo domain; done", "$T/postconf -h mydomain cannot be asked: $T/postconf writes more than 1048576 bytes"},
	}
	for _, test := range tests {
		p := newPlace(t)
		p.program(t, "postconf", test.postconf)
		if strings.Contains(test.want, "within") {
			p.loader.Patience = 200e6
		}
		if test.postconf == "" {
			p.loader.Postconf = p.path("nosuch")
		}
		p.write(t, "default", "SRS_DOMAIN=\n")
		_, err := p.load(nil, nil)
		if err == nil || strings.ReplaceAll(err.Error(), p.dir, "$T") != refusal+test.want {
			t.Errorf("%s:\n got %v\nwant %s", test.postconf, err, refusal+test.want)
		}
	}

	p := newPlace(t)
	p.loader.Postconf = "postconf" // to be found in PATH, which has none
	if _, err := p.load(nil, []string{"PATH=/nonexistent"}); err == nil || err.Error() != refusal+"postconf -h mydomain cannot be asked: executable file not found in $PATH" {
		t.Error(err)
	}
	p.program(t, "postconf", "echo 'bad domain'")
	want := `postconf -h mydomain: "bad domain": the SRS domain must not hold ' '`
	if _, err := p.load(nil, []string{"PATH=/nonexistent:" + p.dir}); err == nil || err.Error() != want {
		t.Error(err)
	}
}
