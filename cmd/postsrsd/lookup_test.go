package main_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// ran is what a run of the program left behind.
type ran struct {
	stdout, stderr string
	status         int
}

// command runs the program to its end, with the clock at New Year 2020.
func command(t testing.TB, stdin string, args ...string) ran {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "POSTSRSD_FAKETIME=1577880000")
	return finish(t, cmd, stdin)
}

func finish(t testing.TB, cmd *exec.Cmd, stdin string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return ran{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

const (
	signedNewYear = "SRS0=vmyz=2W=otherdomain.com=test@example.com"
	lookupIsUsed  = "Usage:\n    postsrsd forward"
)

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	secret := writeFile(t, dir, "secret", "n3w\ntops3cr3t\n")
	settings := writeFile(t, dir, "settings", "SRS_DOMAIN=example.com\nSRS_SECRET="+secret+"\nSRS_EXCLUDE_DOMAINS=excluded.example\n")
	from := "--env-file=" + settings
	for _, test := range []struct {
		name   string
		args   []string
		stdin  string
		stdout string
		stderr string // contained; "" for none at all
		status int
	}{
		{name: "forward", args: []string{"forward", from, "test@otherdomain.com"},
			stdout: "SRS0=hpxi=2W=otherdomain.com=test@example.com\n"},
		{name: "flags before and after", args: []string{"-d", "example.com", "reverse", signedNewYear, "-s", secret},
			stdout: "test@otherdomain.com\n"},
		{name: "several", args: []string{"reverse", from, signedNewYear, "alice@example.org"}, status: 1,
			stdout: signedNewYear + "\ttest@otherdomain.com\n",
			stderr: "postsrsd: <alice@example.org> not rewritten: Not an SRS address.\n"},
		{name: "standard input", args: []string{"reverse", from, "-"}, stdin: "\n" + signedNewYear + "\r\n\n" + signedNewYear,
			stdout: strings.Repeat(signedNewYear+"\ttest@otherdomain.com\n", 2)},
		{name: "nothing to ask on standard input", args: []string{"reverse", from, "-"}},
		{name: "too long a line", args: []string{"reverse", from, "-"}, stdin: strings.Repeat("a", 70_000), status: 2,
			stderr: "standard input: bufio.Scanner: token too long"},
		{name: "excluded", args: []string{"forward", from, "a@excluded.example"}, status: 1,
			stderr: "<a@excluded.example> not rewritten: Domain excluded by policy"},
		{name: "own domain", args: []string{"forward", from, "a@example.com"}, status: 1, stderr: "Need not rewrite local domain."},
		{name: "already rewritten", args: []string{"forward", from, signedNewYear}, status: 1, stderr: "Already rewritten"},
		{name: "null sender", args: []string{"forward", from, ""}, status: 1, stderr: "<> not rewritten: No at sign in sender address"},
		{name: "dash", args: []string{"forward", from, "--", "-x"}, status: 1, stderr: "<-x> not rewritten: No at sign"},
		{name: "control characters", args: []string{"forward", from, "a\x1b[2J\nb"}, status: 1, stderr: `<a\x1b[2J\nb> not rewritten`},
		{name: "no address", args: []string{"forward", from}, status: 2, stderr: lookupIsUsed},
		{name: "forward explains nothing", args: []string{"forward", "--explain", from, "a@b"}, status: 2, stderr: lookupIsUsed},
		{name: "nobody to explain", args: []string{"reverse", "--explain", "--ask", from, "a@b"}, status: 2, stderr: lookupIsUsed},
		{name: "help", args: []string{"reverse", "-h"}},
		{name: "unknown option", args: []string{"reverse", "--frobnicate", "a@b"}, status: 2, stderr: "unrecognized option '--frobnicate'"},
		{name: "wrong configuration", args: []string{"forward", "-d", "example.com", "a@b"}, status: 2, stderr: "You must set a secret (-s)"},
		{name: "no daemon", args: []string{"forward", "--ask", "-d", "example.com", "-f", "1", "-4", "a@b"}, status: 2,
			stderr: "the daemon cannot be asked: dial tcp 127.0.0.1:1: connect: connection refused"},
		{name: "whom to ask is wrong", args: []string{"forward", "--ask", "-d", "example.com", "-f", "x", "a@b"}, status: 2, stderr: "-f x: no such service"},

		{name: "explain", args: []string{"reverse", "--explain", from, signedNewYear}, stdout: "test@otherdomain.com\n" +
			"  signed by  secret 2 of 2\n  signed on  2020-01-01, today\n  valid      until 2020-01-22, 21 days left\n"},
		{name: "explain one that is over", args: []string{"reverse", "--explain", from, "SRS0=AAAA=2A=h=u@other.example"}, status: 1,
			stdout: "  signed by  none of the 2 secrets here\n  domain     other.example, while example.com is the SRS domain here\n" +
				"  signed on  2019-12-10, 22 days ago\n  valid      until 2019-12-31, 1 day ago\n",
			stderr: "Time stamp out of date."},
		{name: "explain the last day", args: []string{"reverse", "--explain", "-d", "example.com", "-s", writeFile(t, dir, "one", "0ne"), "SRS0=AAAA=2B=h=u@example.com"}, status: 1,
			stdout: "  signed by  another secret than the one here\n" +
				"  signed on  2019-12-11, 21 days ago\n  valid      until 2020-01-01, the last day\n",
			stderr: "Hash invalid in SRS address."},
		{name: "explain SRS1", args: []string{"reverse", "--explain", from, "SRS1=JIBX=thirddomain.com==opaque+string@example.com"},
			stdout: "SRS0=opaque+string@thirddomain.com\n  signed by  secret 2 of 2\n" +
				"  signed on  not known: an SRS1 address has no date, the SRS0 address at thirddomain.com has\n"},
		{name: "explain nothing", args: []string{"reverse", "--explain", from, "alice@example.org"}, status: 1, stderr: "Not an SRS address."},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := command(t, test.stdin, test.args...)
			if test.name == "help" {
				if !strings.HasPrefix(got.stdout, lookupIsUsed) || got.status != 0 {
					t.Errorf("%+v", got)
				}
				return
			}
			if got.stdout != test.stdout || got.status != test.status {
				t.Errorf("exit status %d, want %d\n%swant:\n%s", got.status, test.status, got.stdout, test.stdout)
			}
			if !strings.Contains(got.stderr, test.stderr) || test.stderr == "" && got.stderr != "" {
				t.Errorf("standard error: %swant: %s", got.stderr, test.stderr)
			}
		})
	}
}

// TestAsk asks a daemon that runs, as somebody who may not read its secret.
func TestAsk(t *testing.T) {
	d := start(t, launch{env: []string{"POSTSRSD_FAKETIME=1577880000"}, flags: []string{"-Xexcluded.example"}})
	_, f, _ := net.SplitHostPort(d.forward)
	_, r, _ := net.SplitHostPort(d.reverse)
	dir := shortDir(t)
	settings := writeFile(t, dir, "settings", "SRS_DOMAIN=example.com\nSRS_SECRET="+writeFile(t, dir, "secret", "tops3cr3t")+
		"\nSRS_FORWARD_PORT="+f+"\nSRS_REVERSE_PORT="+r+"\n")
	os.Chmod(settings, 0o644)
	for _, test := range []struct {
		direction, address string
		want               ran
	}{
		{"forward", "test@otherdomain.com", ran{"SRS0=vmyz=2W=otherdomain.com=test@example.com\n", "", 0}},
		{"reverse", signedNewYear, ran{"test@otherdomain.com\n", "", 0}},
		{"forward", "a@example.com", ran{"", "postsrsd: <a@example.com> not rewritten: Need not rewrite local domain.\n", 1}},
		{"forward", "a@excluded.example", ran{"", "postsrsd: <a@excluded.example> not rewritten: Domain excluded by policy\n", 1}},
		{"reverse", "a b\nget c", ran{"", "postsrsd: <a b\\nget c> not rewritten: Not an SRS address.\n", 1}},
	} {
		cmd := exec.Command(program, test.direction, "--ask", "--env-file", settings, "--", test.address)
		asNobody(cmd)
		if got := finish(t, cmd, ""); got != test.want {
			t.Errorf("%s %q: %+v, want %+v", test.direction, test.address, got, test.want)
		}
	}
}

// TestAskSocketmap asks a daemon that serves a socketmap alone, as somebody who
// may not read its secret.
func TestAskSocketmap(t *testing.T) {
	port, _ := freePorts(t)
	for _, endpoint := range []string{"unix:$D/srs", "inet:" + port, "inet:localhost:" + port} {
		c := newConf(t, `domains = { "local.example" }`, "socketmap = "+strconv.Quote(endpoint))
		os.Chmod(c.path("postsrsd.conf"), 0o644)
		d := c.start()
		for _, test := range []struct {
			direction, address string
			want               ran
		}{
			{"forward", "test@otherdomain.com", ran{signedBy2x + "\n", "", 0}},
			{"reverse", signedBy2x, ran{"test@otherdomain.com\n", "", 0}},
			{"forward", "a@local.example", ran{"", "postsrsd: <a@local.example> not rewritten: Need not rewrite local domain.\n", 1}},
			{"forward", "", ran{"", "postsrsd: <> not rewritten: No domain.\n", 1}},
			{"reverse", "a b\n7:x", ran{"", "postsrsd: <a b\\n7:x> not rewritten: Not an SRS address.\n", 1}},
		} {
			cmd := exec.Command(program, test.direction, "--ask", "-C", c.path("postsrsd.conf"), "--", test.address)
			asNobody(cmd)
			if got := finish(t, cmd, ""); got != test.want {
				t.Errorf("%s: %s %q: %+v, want %+v", endpoint, test.direction, test.address, got, test.want)
			}
		}
		d.stop()
	}
	c := newConf(t)
	want := ran{"", "postsrsd: the daemon cannot be asked: dial unix " + c.socket() + ": connect: no such file or directory\n", 2}
	if got := command(t, "", "forward", "--ask", "-C", c.path("postsrsd.conf"), "a@b"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	c.write(`socketmap = ""`)
	want.stderr = "postsrsd: " + c.path("postsrsd.conf") + ": the daemon serves nothing that could be asked: set socketmap\n"
	if got := command(t, "", "forward", "--ask", "-C", c.path("postsrsd.conf"), "a@b"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestAskSomethingElse asks what answers, but not as the daemon would.
func TestAskSomethingElse(t *testing.T) {
	for answer, want := range map[string]string{
		"400 try later\n": "400 try later",
		"SSH-2.0-x\r\n":   "malformed reply",
		"":                "unexpected EOF",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 100))
			conn.Write([]byte(answer))
			conn.Close()
		}()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		got := command(t, "", "reverse", "--ask", "-d", "example.com", "-r", port, "a@b")
		if got.status != 2 || got.stdout != "" || !strings.Contains(got.stderr, want) {
			t.Errorf("%q: %+v, want %s", answer, got, want)
		}
		ln.Close()
	}
}
