package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefusals starts the daemon in ways that cannot work: one line that says
// why, exit status 1, nothing left listening, no pid file.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	secret := writeFile(t, dir, "secret", "tops3cr3t\n")
	empty := writeFile(t, dir, "empty", "\n\n")
	missing := filepath.Join(dir, "missing")
	pidFile := filepath.Join(dir, "pid")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, takenPort, _ := net.SplitHostPort(taken.Addr().String())
	forward, reverse := freePorts(t)
	usual := func(flags ...string) []string {
		return append([]string{"-d", "example.com", "-s", secret, "-f", forward, "-r", reverse, "-p", pidFile}, flags...)
	}
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"no domain", []string{"-s", secret}, "You must set a home domain (-d)"},
		{"no secret", []string{"-d", "example.com"}, "You must set a secret (-s)"},
		{"secret missing", []string{"-d", "example.com", "-s", missing}, "Cannot open file with secret: " + missing},
		{"secret is a directory", []string{"-d", "example.com", "-s", dir}, "Cannot open file with secret: " + dir},
		{"secret empty", []string{"-d", "example.com", "-s", empty}, empty},
		{"unknown user", usual("-u", "nosuchuser"), "No such user: nosuchuser"},
		{"jail missing", usual("-c", missing), "Cannot change to chroot: "},
		{"port taken", usual("-r", takenPort), "cannot listen on 127.0.0.1:" + takenPort + " for reverse lookups: address already in use (another postsrsd or another service has it: see ss -ltnp)"},
		{"address of another host", usual("-l", "192.0.2.1"), "cannot listen on 192.0.2.1:" + forward + " for forward lookups: cannot assign requested address (this host does not have that address)"},
		{"pid file in no directory", usual("-p", missing+"/pid"), "cannot write the pid file: open " + missing + "/pid: no such file or directory"},
		{"domain with a dollar", []string{"-d", "$mydomain", "-s", secret}, "$mydomain"},
		{"domain with a space", []string{"-d", "a b", "-s", secret}, "a b"},
		{"separator", usual("-a", "x"), "SRS separator character must be one of '=+-'"},
		{"hash too long", usual("-n", "28"), "28"},
		{"hash no number", usual("-n", "x"), "-n x"},
		{"timeout no number", usual("-t", "x"), "-t x"},
		{"extra argument", usual("extra"), "extra argument on command line: extra"},
		{"unknown flag", usual("-Q"), "Q"},
		{"settings file missing", []string{"--env-file", missing}, missing},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command(program, test.args...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
			out, err := cmd.CombinedOutput()
			lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
			last := lines[len(lines)-1]
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("exit: %v", err)
			}
			if !strings.HasPrefix(last, "postsrsd: ") || !strings.Contains(last, test.want) {
				t.Errorf("said %q, want %q", out, test.want)
			}
			for _, port := range []string{forward, reverse} {
				if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
					conn.Close()
					t.Error("something listens")
				}
			}
			if _, err := os.Stat(pidFile); err == nil {
				t.Error("a pid file is left")
			}
		})
	}
}

// TestUnreadableSecret needs somebody whom file modes hold.
func TestUnreadableSecret(t *testing.T) {
	dir := t.TempDir()
	secret := writeFile(t, dir, "secret", "tops3cr3t\n")
	os.Chmod(secret, 0)
	cmd := exec.Command(program, "-d", "example.com", "-s", secret)
	asNobody(cmd)
	out, _ := cmd.CombinedOutput()
	if !strings.Contains(string(out), "Cannot open file with secret: "+secret) {
		t.Errorf("said %q", out)
	}
}

// TestRunningInstanceKeepsItsPidFile starts a second daemon beside the first,
// with the same pid file.
func TestRunningInstanceKeepsItsPidFile(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	d := start(t, launch{dir: dir, env: []string{clockOfTests}, flags: []string{"-p", pidFile}})
	before, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	second := exec.Command(program, d.cmd.Args[1:]...)
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "address already in use") {
		t.Errorf("the second: %v: %s", err, out)
	}
	if after, _ := os.ReadFile(pidFile); string(after) != string(before) {
		t.Errorf("the pid file was %q and is %q", before, after)
	}
	d.wants(d.forward, "test@otherdomain.com", signedByTests)
}
