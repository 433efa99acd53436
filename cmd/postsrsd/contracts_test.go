package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestContracts starts the daemon the ways it is started out there.
func TestContracts(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings string // written to ./settings
		args     []string
		env      []string
		wrap     []string
		forks    bool
		root     bool // only root can start it so
		user     bool // start it as nobody
		pidFile  string
	}{
		{
			name: "flags with attached values, not root",
			args: []string{"-s%SECRET", "-dexample.com", "-a=", "-f%FORWARD", "-r%REVERSE", "-t1800", "-Xa.example,b.example"},
			user: true,
		},
		{
			name: "a supervisor passes the settings file as environment",
			settings: "# comment\n\nSRS_DOMAIN=example.com\nSRS_SEPARATOR==\nSRS_SECRET=%SECRET-link\nSRS_FORWARD_PORT=%FORWARD\nSRS_REVERSE_PORT=%REVERSE\n" +
				"RUN_AS=nobody\nCHROOT=%JAIL-link\nSRS_EXCLUDE_DOMAINS=a.example,b.example\n",
			wrap:    []string{"sh", "-c", `exec env $(grep -vE "^(#.*|\s*)$" settings) "$@"`, "sh"},
			args:    []string{"-e", "-p", "%PIDFILE"},
			root:    true,
			pidFile: "%PIDFILE",
		},
		{
			name: "everything in the environment, any address",
			env:  []string{"SRS_DOMAIN=example.com", "SRS_SECRET=%SECRET", "SRS_FORWARD_PORT=%FORWARD", "SRS_REVERSE_PORT=%REVERSE"},
			args: []string{"-l0.0.0.0", "-e"},
			user: true,
		},
		{
			name:  "the same as the first process of a container, which inherits an orphan",
			env:   []string{"SRS_DOMAIN=example.com", "SRS_SECRET=%SECRET", "SRS_FORWARD_PORT=%FORWARD", "SRS_REVERSE_PORT=%REVERSE"},
			wrap:  []string{"unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", `(sh -c "read x <fifo" &) && exec "$@"`, "sh"},
			forks: true,
			args:  []string{"-l0.0.0.0", "-e"},
			root:  true,
		},
		{
			name: "a settings file without what later versions added",
			settings: "SRS_DOMAIN=example.com\nSRS_EXCLUDE_DOMAINS=a.example\nSRS_SEPARATOR==\nSRS_SECRET=%SECRET\nSRS_FORWARD_PORT=%FORWARD\n" +
				"SRS_REVERSE_PORT=%REVERSE\nRUN_AS=nobody\nCHROOT=%JAIL\n",
			args: []string{"--env-file", "settings"},
			root: true,
		},
		{
			name: "the usual place on Debian, bare",
			settings: "SRS_DOMAIN=example.com\n\n#VirtualDomain運用の場合、excluded_domainsに全てのドメインを追加\n" +
				"SRS_EXCLUDE_DOMAINS=\"$(cat /etc/default/excluded_domains)\"\n\nCHROOT=%JAIL\n\nRUN_AS=nobody\n\nSRS_SECRET_LENGTH=24\n" +
				"SRS_SECRET=%SECRET\nSRS_FORWARD_PORT=%FORWARD\nSRS_REVERSE_PORT=%REVERSE\n",
			wrap: []string{"unshare", "-m", "sh", "-c", `mkdir d; cp settings d/postsrsd; echo a.example >d/excluded_domains; mount --bind d /etc/default && exec "$@"`, "sh"},
			root: true,
		},
		{
			name:     "the usual place on Fedora, bare",
			settings: "SRS_DOMAIN=example.com\nSRS_SECRET=%SECRET\nSRS_FORWARD_PORT=%FORWARD\nSRS_REVERSE_PORT=%REVERSE\nRUN_AS=nobody\nCHROOT=%JAIL\n",
			wrap: []string{"unshare", "-m", "sh", "-c",
				`mkdir d e; cp settings d/postsrsd; mount -t tmpfs none /mnt && mkdir -p /mnt/etc && cp -r /etc/. /mnt/etc && mkdir -p /mnt/etc/sysconfig && cp settings /mnt/etc/sysconfig/postsrsd && rm -f /mnt/etc/default/postsrsd && mount --bind /mnt/etc /etc && exec "$@"`, "sh"},
			root: true,
		},
		{
			name:     "no jail and no other user",
			settings: "SRS_DOMAIN=example.com\nSRS_SECRET=%SECRET\nSRS_FORWARD_PORT=%FORWARD\nSRS_REVERSE_PORT=%REVERSE\nRUN_AS=\nCHROOT=\n",
			args:     []string{"--env-file", "settings"},
			user:     true,
		},
	} {
		if test.root && os.Geteuid() != 0 {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
				os.Chmod(d, 0o755) // for nobody
			}
			jail := filepath.Join(dir, "jail")
			os.Mkdir(jail, 0o755)
			secret := writeFile(t, dir, "secret", "tops3cr3t\n")
			for _, path := range []string{jail, secret} {
				if err := os.Symlink(path, path+"-link"); err != nil {
					t.Fatal(err)
				}
			}
			forward, reverse := freePorts(t)
			filled := strings.NewReplacer("%SECRET", secret, "%JAIL", jail, "%FORWARD", forward, "%REVERSE", reverse, "%PIDFILE", filepath.Join(dir, "pid")).Replace
			if test.settings != "" {
				writeFile(t, dir, "settings", filled(test.settings))
			}
			fifo := filepath.Join(dir, "fifo")
			syscall.Mkfifo(fifo, 0o666)
			l := launch{dir: dir, wrap: test.wrap, forks: test.forks, env: []string{clockOfTests}, args: []string{}}
			for _, arg := range test.args {
				l.args = append(l.args, filled(arg))
			}
			for _, variable := range test.env {
				l.env = append(l.env, filled(variable))
			}
			if test.user && os.Geteuid() == 0 {
				l.cred = &syscall.Credential{Uid: 65534, Gid: 65534}
				for _, file := range []string{"secret", "settings"} {
					os.Chown(filepath.Join(dir, file), 65534, 65534)
				}
			}
			l.args = append(l.args, "--log=stderr")
			d := start(t, l)
			d.forward, d.reverse = "127.0.0.1:"+forward, "127.0.0.1:"+reverse
			d.wants(d.forward, "test@otherdomain.com", signedByTests)
			d.wants(d.reverse, signedByTests, "test@otherdomain.com")
			if strings.Contains(test.settings+strings.Join(test.args, ""), "a.example") {
				if got, err := d.ask(d.forward, "u@a.example"); err == nil {
					t.Errorf("an excluded domain is rewritten as %s", got)
				}
			}
			for _, pid := range append(children(d.pid()), d.pid()) { // scripts look for it with pgrep -x
				if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); !test.forks && string(comm) != "postsrsd\n" {
					t.Errorf("process %d shows as %q", pid, comm)
				}
			}
			if test.forks { // let the orphan end, and see that it is buried
				eventually(t, func() bool { return len(children(d.pid())) == 2 }, func() string { return "there is no orphan" })
				os.WriteFile(fifo, []byte("\n"), 0)
				eventually(t, func() bool { return len(offspring(d.pid())) == 1 }, func() string { return "the orphan is not buried" })
			}
			if test.pidFile != "" {
				if text, err := os.ReadFile(filled(test.pidFile)); err != nil || strings.Trim(string(text), "0123456789") != "" {
					t.Errorf("pid file: %q, %v", text, err)
				}
			}
		})
	}
}

// TestBothLoopbacks holds that without -l both families are served, as
// containers count on.
func TestBothLoopbacks(t *testing.T) {
	forward, reverse := freePorts(t)
	dir := t.TempDir()
	d := start(t, launch{dir: dir, env: []string{clockOfTests}, args: []string{"-d", "example.com", "-s", writeFile(t, dir, "secret", "tops3cr3t"), "-f", forward, "-r", reverse, "--log=stderr"}})
	for _, host := range []string{"127.0.0.1", "::1"} {
		d.wants(net.JoinHostPort(host, forward), "test@otherdomain.com", signedByTests)
		d.wants(net.JoinHostPort(host, reverse), signedByTests, "test@otherdomain.com")
	}
}

// TestBackground holds that -D returns when the daemon serves, with the pid
// file written and nothing of the terminal kept.
func TestBackground(t *testing.T) {
	dir := t.TempDir()
	forward, reverse := freePorts(t)
	pidFile := filepath.Join(dir, "pid")
	args := []string{"-d", "example.com", "-s", writeFile(t, dir, "secret", "tops3cr3t"), "-f", forward, "-r", reverse, "-p", pidFile, "-D"}
	d := launchDaemon(t, launch{dir: dir, env: []string{clockOfTests}, args: args})
	<-d.exited
	if d.err != nil {
		t.Fatalf("%v: %s", d.err, d.stderr)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(string(text))
	defer syscall.Kill(pid, syscall.SIGKILL)
	d.wants("127.0.0.1:"+forward, "test@otherdomain.com", signedByTests)
	for fd := range 3 {
		if target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); target != os.DevNull {
			t.Errorf("descriptor %d is %s", fd, target)
		}
	}
	worker := children(pid)
	syscall.Kill(pid, syscall.SIGTERM)
	for _, process := range append(worker, pid) {
		eventually(t, func() bool { return gone(process) }, func() string { return fmt.Sprintf("process %d does not end", process) })
	}
	if _, err := os.Stat(pidFile); err == nil {
		t.Error("the pid file is left")
	}

	// A start that fails is told before -D returns.
	d = launchDaemon(t, launch{dir: dir, args: append(args, "-u", "nosuchuser")})
	<-d.exited
	if d.err == nil || !strings.Contains(d.stderr.String(), "No such user: nosuchuser") {
		t.Errorf("%v: %s", d.err, d.stderr)
	}
}

// gone tells whether a process that is no child of ours has ended.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}
