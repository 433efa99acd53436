package privilege

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A proof that cannot fail proves nothing: here it looks at the test itself,
// which has given nothing up.
func TestProveRefuses(t *testing.T) {
	here := readStatus(t)
	for _, test := range []struct {
		name string
		want func(*status)
		err  string // "": none
	}{
		{"as it is", func(s *status) {}, ""},
		{"real uid", func(s *status) { s.uid[0]++ }, "Uid is"},
		{"effective uid", func(s *status) { s.uid[1]++ }, "Uid is"},
		{"saved uid", func(s *status) { s.uid[2]++ }, "Uid is"},
		{"file system uid", func(s *status) { s.uid[3]++ }, "Uid is"},
		{"saved gid", func(s *status) { s.gid[2]++ }, "Gid is"},
		{"groups", func(s *status) { s.groups += " 1" }, "Groups is"},
		{"inheritable", func(s *status) { s.capInh ^= 1 }, "CapInh is"},
		{"permitted", func(s *status) { s.capPrm ^= 1 }, "CapPrm is"},
		{"effective", func(s *status) { s.capEff ^= 1 }, "CapEff is"},
		{"bounding", func(s *status) { s.capBnd ^= 1 << 40 }, "CapBnd is"},
		{"ambient", func(s *status) { s.capAmb ^= 1 }, "CapAmb is"},
		{"no_new_privs", func(s *status) { s.noNewPrivs = !s.noNewPrivs }, "NoNewPrivs is"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := openWitness(t)
			want := here
			test.want(&want)
			err := w.prove(want)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}

func TestProveRefusesAnotherRoot(t *testing.T) {
	w := openWitness(t)
	jail, err := identify(unix.AT_FDCWD, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w.root = &jail
	if err := w.prove(readStatus(t)); err == nil || !strings.Contains(err.Error(), "root is another directory") {
		t.Errorf("error %v", err)
	}
}

func TestProveRefusesDirectories(t *testing.T) {
	w := openWitness(t)
	if err := w.closeDirectories(); err != nil {
		t.Fatal(err)
	}
	if err := w.proveNoDirectory(); err != nil {
		t.Errorf("none open: %v", err)
	}
	for _, flags := range []int{unix.O_RDONLY, unix.O_PATH} {
		fd, err := unix.Open("/", flags|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.proveNoDirectory(); err == nil || !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("one open: error %v", err)
		}
		if err := w.closeDirectories(); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != unix.EBADF {
			t.Errorf("still open: %v", err)
		}
	}
}

func openWitness(t *testing.T) *witness {
	t.Helper()
	w, err := newWitness()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// Where /proc is missing, here in a directory tree without one, nothing can be proven.
func TestEnterNeedsProc(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can make such a place
	}
	program := jailed(t)
	cmd := exec.Command("/" + filepath.Base(program))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: filepath.Dir(program)}
	out, err := cmd.Output()
	if want := "without /proc: open /proc/self/task: no such file or directory"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%s, %v; want %q", out, err, want)
	}
}

func TestParseStatus(t *testing.T) {
	good := "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nCapInh:\t0000000000000001\nCapPrm:\t0000000000000002\n" +
		"CapEff:\t0000000000000003\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000005\nNoNewPrivs:\t1\n"
	want := status{uid: [4]int{1, 2, 3, 4}, gid: [4]int{5, 6, 7, 8}, groups: "9 10",
		capInh: 1, capPrm: 2, capEff: 3, capBnd: 0x1ffffffffff, capAmb: 5, noNewPrivs: true}
	if got, err := parseStatus([]byte(good)); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	lines := slices.Collect(strings.Lines(good))
	for i, line := range lines[1:] {
		without := strings.Join(slices.Delete(slices.Clone(lines), i+1, i+2), "")
		if _, err := parseStatus([]byte(without)); err == nil {
			t.Errorf("no error without %q", line)
		}
	}
	for _, bad := range []string{
		strings.Replace(good, "1\t2\t3\t4", "1\t2\t3", 1),
		strings.Replace(good, "1\t2\t3\t4", "1\t2\t3\tx", 1),
		strings.Replace(good, "000001ffffffffff", "none", 1),
		strings.Replace(good, "000001ffffffffff", "", 1),
	} {
		if _, err := parseStatus([]byte(bad)); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}
