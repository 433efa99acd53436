package main_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestJail looks at the serving process from outside: every thread of it is
// nobody, in the jail, and can do nothing else.
func TestJail(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can jail; the rest of the suite holds without")
		return
	}
	jail := t.TempDir()
	d := start(t, launch{env: []string{clockOfTests}, flags: []string{"-u", "nobody", "-c", jail}})
	d.wants(d.forward, "test@otherdomain.com", signedByTests)
	worker := d.worker()
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", worker))
	if len(threads) < 2 {
		t.Fatalf("%d threads", len(threads))
	}
	for _, thread := range threads {
		if root, err := os.Readlink(thread + "/root"); err != nil || root != jail {
			t.Errorf("%s: root is %s, %v", thread, root, err)
		}
		status, err := os.ReadFile(thread + "/status")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t65534\t65534\t65534", "Groups:\t ", "NoNewPrivs:\t1",
			"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
		} {
			if !slices.Contains(strings.Split(string(status), "\n"), want) {
				t.Errorf("%s: no line %q", thread, want)
			}
		}
	}
	// Not even the same user may read its memory.
	if info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", worker)); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("the worker's memory belongs to %v, %v", info.Sys().(*syscall.Stat_t).Uid, err)
	}
	look := exec.Command("cat", fmt.Sprintf("/proc/%d/environ", worker))
	asNobody(look)
	if out, err := look.CombinedOutput(); err == nil {
		t.Errorf("nobody may read the worker's environment: %q", out)
	}
}

// TestNoSecretShows looks for the secret wherever a process shows itself: its
// command line and environment, the log, what it prints when it is made to
// dump its stacks, and what files it has open.
func TestNoSecretShows(t *testing.T) {
	const secret = "S3cretThatNobodyMaySee24"
	d := start(t, launch{secret: secret + "\n", env: []string{clockOfTests}})
	if _, err := d.ask(d.forward, "test@otherdomain.com"); err != nil {
		t.Fatal(err)
	}
	d.signal(syscall.SIGHUP)
	d.waitFor("READY=1")
	for _, pid := range []int{d.cmd.Process.Pid, d.worker()} {
		for _, file := range []string{"cmdline", "environ", "comm"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil && os.Geteuid() == 0 {
				t.Error(err)
			}
			if strings.Contains(string(text), secret) {
				t.Errorf("process %d shows the secret in %s", pid, file)
			}
		}
	}
	syscall.Kill(d.worker(), syscall.SIGQUIT) // its last words go to the log
	d.logged("goroutine ")
	d.waitFor("READY=1")
	d.signal(syscall.SIGQUIT)
	<-d.exited
	if log := d.stderr.String(); strings.Contains(log, secret) || !strings.Contains(log, "SIGQUIT") {
		t.Errorf("the secret shows, or nothing was dumped:\n%s", log)
	}
}

// TestWorkerKeepsNothing holds that the worker has no other files open than
// its listeners, the log, the control channel, its clients, and what the Go
// runtime watches its share of the processors by.
func TestWorkerKeepsNothing(t *testing.T) {
	d := start(t, launch{env: []string{clockOfTests}})
	conn, err := net.Dial("tcp", d.forward)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	d.wants(d.forward, "test@otherdomain.com", signedByTests)
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", d.worker()))
	if len(links) == 0 {
		t.Fatal("cannot see the worker's files")
	}
	for _, link := range links {
		target, _ := os.Readlink(link)
		if strings.HasPrefix(target, "/sys/fs/cgroup/") {
			continue
		}
		if target != "/dev/null" && !strings.HasPrefix(target, "socket:") && !strings.HasPrefix(target, "pipe:") && !strings.HasPrefix(target, "anon_inode:") {
			t.Errorf("the worker has %s open", target)
		}
	}
}

// TestBoundedRoot runs the daemon with the capabilities that its unit leaves
// it, which do not let root read what others keep to themselves: a secret and
// a jail that belong to the user it serves as.
func TestBoundedRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root has capabilities to bound")
		return
	}
	dir := shortDir(t)
	for _, own := range []string{"secrets", "jail"} {
		if err := os.Mkdir(filepath.Join(dir, own), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	secret := writeFile(t, filepath.Join(dir, "secrets"), "secret", "tops3cr3t\n")
	for _, own := range []string{"secrets", "secrets/secret", "jail"} {
		os.Chown(filepath.Join(dir, own), 65534, 65534)
	}
	forward, reverse := freePorts(t)
	d := start(t, launch{
		env:  []string{clockOfTests},
		wrap: bounded,
		args: []string{"-d", "example.com", "-s", secret, "-f", forward, "-r", reverse, "-u", "nobody", "-c", filepath.Join(dir, "jail"), "--log=stderr"},
	})
	d.wants("127.0.0.1:"+forward, "test@otherdomain.com", signedByTests)
	d.signal(syscall.SIGHUP)
	d.waitFor("RELOADING=1")
	d.waitFor("READY=1")
	d.wants("127.0.0.1:"+reverse, signedByTests, "test@otherdomain.com")
}
