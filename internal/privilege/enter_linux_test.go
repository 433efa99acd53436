package privilege

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody and other are users that every Debian has; the tests need no more of
// them than that they are not root.
const (
	nobody = 65534
	other  = "daemon"
)

// jailed is the program in testdata that enters a jail and tries to escape.
func jailed(t *testing.T) string {
	t.Helper()
	sources, err := filepath.Glob("*.go")
	if err != nil || len(sources) == 0 {
		t.Fatal(sources, err)
	}
	for _, f := range append(sources, "testdata/jailed/main.go") {
		os.Stat(f) // go test keeps no result from before a file that a test looked at was changed
	}
	program := filepath.Join(shared(t), "jailed")
	build := exec.Command("go", "build", "-o", program, "./testdata/jailed")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// shared is a temporary directory that other users may enter.
func shared(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

type report struct {
	Warnings []string
	Err      string
	Escapes  []string
}

// start runs the program until its report; the process stays for as long as the test runs.
func start(t *testing.T, program string, attr *syscall.SysProcAttr, args ...string) (report, int) {
	t.Helper()
	dir, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{dir} // as left open by whoever starts a daemon
	cmd.SysProcAttr = attr
	cmd.Dir = "/"
	stay, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stay.Close()
		cmd.Wait()
	})
	var r report
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		t.Fatalf("no report: %v", err)
	}
	if len(r.Escapes) > 0 {
		t.Errorf("not prevented: %s", r.Escapes)
	}
	return r, cmd.Process.Pid
}

// statuses reads what the kernel says of each thread.
func statuses(t *testing.T, pid int) map[string]status {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) < 12 {
		t.Fatalf("only %d threads: %v", len(files), err)
	}
	threads := make(map[string]status)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if threads[filepath.Dir(f)], err = parseStatus(text); err != nil {
			t.Fatal(err)
		}
	}
	return threads
}

func readStatus(t *testing.T) status {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseStatus(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEnter(t *testing.T) {
	if os.Geteuid() == 0 {
		enterFromRoot(t)
		return
	}
	// Not root: nothing to change to, nothing but no_new_privs to do.
	want := readStatus(t)
	want.noNewPrivs = true
	program := jailed(t)
	r, pid := start(t, program, nil)
	if r.Err != "" || r.Warnings != nil {
		t.Errorf("error %q, warnings %q", r.Err, r.Warnings)
	}
	for thread, got := range statuses(t, pid) {
		if d := got.differs(want); d != "" {
			t.Errorf("%s: %s", thread, d)
		}
	}
	if r, _ := start(t, program, nil, "-root", t.TempDir()); !strings.HasPrefix(r.Err, "Cannot change to chroot: ") {
		t.Errorf("chroot without root: error %q", r.Err)
	}
	if r, _ := start(t, program, nil, "-user", "root"); !strings.Contains(r.Err, "operation not permitted") {
		t.Errorf("another user without root: error %q", r.Err)
	}
}

func enterFromRoot(t *testing.T) {
	program := jailed(t)
	jail := shared(t)
	id, err := Lookup(other)
	if err != nil {
		t.Fatal(err)
	}
	bounding := readStatus(t).capBnd
	as := func(uid uint32, groups ...uint32) *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
	}
	ambient := as(nobody, 4, 24)
	ambient.AmbientCaps = []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SYS_CHROOT, unix.CAP_NET_ADMIN}

	for _, test := range []struct {
		name     string
		attr     *syscall.SysProcAttr
		args     []string
		want     status // capabilities are always none, no_new_privs is always set
		warnings []string
		err      string // how the error begins
	}{
		{name: "root, jail and user", args: []string{"-root", jail, "-user", other},
			want: status{uid: four(id.UID), gid: four(id.GID)}},
		{name: "root with groups", attr: as(0, 4, 24), args: []string{"-root", jail, "-user", other},
			want: status{uid: four(id.UID), gid: four(id.GID)}},
		{name: "root, user by number", args: []string{"-user", fmt.Sprint(id.UID)},
			want: status{uid: four(id.UID), gid: four(id.GID)}},
		{name: "root, jail", args: []string{"-root", jail},
			warnings: []string{staysRoot}},
		{name: "root, nothing", attr: as(0, 4),
			want: status{groups: "4"}, warnings: []string{staysRoot}},
		{name: "root, user root", args: []string{"-user", "root"},
			warnings: []string{staysRoot}},
		{name: "root without CAP_SETPCAP", args: []string{"-without", "8", "-root", jail, "-user", other},
			want:     status{uid: four(id.UID), gid: four(id.GID), capBnd: bounding &^ (1 << unix.CAP_SETPCAP)},
			warnings: []string{"the capability bounding set stays as it is: CAP_SETPCAP is missing"}},
		{name: "root without CAP_SETGID", args: []string{"-without", "6", "-user", other},
			err: "cannot give up supplementary groups: operation not permitted (not root, or a capability is missing)"},
		{name: "root without CAP_SETUID", args: []string{"-without", "7", "-user", other},
			err: "cannot change to user daemon (uid 1): operation not permitted (not root, or a capability is missing)"},
		{name: "root, no such jail", args: []string{"-root", jail + "/none", "-user", other},
			err: "Cannot change to chroot: chdir " + jail + "/none: no such file or directory"},
		{name: "root, jail is a file", args: []string{"-root", program, "-user", other},
			err: "Cannot change to chroot: chdir " + program + ": not a directory"},
		{name: "not root, nothing", attr: as(nobody),
			want: status{uid: four(nobody), gid: four(nobody), capBnd: bounding}},
		{name: "not root, system calls filtered", attr: as(nobody, nobody), args: []string{"-kill", "-user", "nobody"},
			want: status{uid: four(nobody), gid: four(nobody), groups: "65534", capBnd: bounding}},
		{name: "not root, already that user", attr: as(nobody, 4, 24), args: []string{"-user", "nobody"},
			want:     status{uid: four(nobody), gid: four(nobody), groups: "4 24", capBnd: bounding},
			warnings: []string{"supplementary groups stay as they are (4 24): CAP_SETGID is missing"}},
		{name: "not root, another user", attr: as(nobody), args: []string{"-user", other},
			err: "cannot give up supplementary groups: operation not permitted"},
		{name: "not root, jail", attr: as(nobody), args: []string{"-root", jail},
			err: "Cannot change to chroot: chroot " + jail + ": operation not permitted"},
		{name: "not root, capabilities by the service manager", attr: ambient, args: []string{"-root", jail, "-user", other},
			want: status{uid: four(id.UID), gid: four(id.GID), capBnd: bounding}},
		{name: "not root, capabilities unused", attr: ambient,
			want: status{uid: four(nobody), gid: four(nobody), groups: "4 24", capBnd: bounding}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, pid := start(t, program, test.attr, test.args...)
			if test.err != "" {
				if !strings.HasPrefix(r.Err, test.err) {
					t.Errorf("error %q, want %q", r.Err, test.err)
				}
				return
			}
			if r.Err != "" {
				t.Fatal(r.Err)
			}
			if !slices.Equal(r.Warnings, test.warnings) {
				t.Errorf("warnings %q, want %q", r.Warnings, test.warnings)
			}
			test.want.noNewPrivs = true
			root := "/"
			if i := slices.Index(test.args, "-root"); i >= 0 {
				root = test.args[i+1]
			}
			for thread, got := range statuses(t, pid) {
				if d := got.differs(test.want); d != "" {
					t.Errorf("%s: %s", thread, d)
				}
				for _, link := range []string{"root", "cwd"} {
					if dir, err := os.Readlink(thread + "/" + link); err != nil || dir != root {
						t.Errorf("%s/%s: %q, %v; want %q", thread, link, dir, err, root)
					}
				}
			}
			unreadable(t, program, pid, test.want)
		})
	}
}

// unreadable checks that not even the same user can look into the process, and
// that it will leave no core.
func unreadable(t *testing.T, program string, pid int, who status) {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) < 3 {
		t.Fatalf("%d file descriptors: %v", len(fds), err)
	}
	for _, fd := range fds {
		if info, err := os.Stat(fd); err == nil && info.IsDir() {
			t.Errorf("%s is a directory", fd)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	core := ""
	for line := range strings.Lines(string(limits)) {
		if strings.HasPrefix(line, "Max core file size") {
			core = strings.Join(strings.Fields(line)[4:6], " ")
		}
	}
	if core != "0 0" {
		t.Errorf("core file size: %s", core)
	}
	if who.uid[0] == 0 {
		return
	}
	peek := exec.Command(program, "-peek", fmt.Sprint(pid))
	peek.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(who.uid[0]), Gid: uint32(who.gid[0])}}
	out, err := peek.CombinedOutput()
	if want := fmt.Sprintf("open /proc/%d/mem: permission denied\n", pid); err != nil || string(out) != want {
		t.Errorf("the same user opening its memory: %q, %v; want %q", out, err, want)
	}
}
