package privilege

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestAs makes a file where only somebody else may.
func TestAs(t *testing.T) {
	self := filepath.Join(t.TempDir(), "self")
	write := func() error { return os.WriteFile(self, nil, 0o600) }
	if err := As(os.Geteuid(), os.Getegid(), write); err != nil {
		t.Errorf("as oneself: %v", err)
	}
	if os.Geteuid() != 0 {
		if err := As(nobody-1, nobody-1, write); !errors.Is(err, syscall.EPERM) {
			t.Errorf("as somebody else: %v", err)
		}
		return
	}

	dir := filepath.Join(shared(t), "theirs")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	for range 100 { // on whichever thread
		var theirs, ours int
		err := As(nobody, 2, func() error {
			theirs = os.Geteuid()
			elsewhere := make(chan struct{})
			go func() {
				defer close(elsewhere)
				ours = os.Geteuid()
			}()
			<-elsewhere
			return os.WriteFile(filepath.Join(dir, "file"), nil, 0o640)
		})
		info, statErr := os.Stat(filepath.Join(dir, "file"))
		if err != nil || statErr != nil || theirs != nobody || ours != 0 {
			t.Fatalf("%v, %v, as %d and beside it as %d", err, statErr, theirs, ours)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != nobody || st.Gid != 2 {
			t.Fatalf("the file belongs to %d:%d", st.Uid, st.Gid)
		}
		os.Remove(filepath.Join(dir, "file"))
	}
	failed := errors.New("failed")
	if err := As(nobody, nobody, func() error { return failed }); err != failed {
		t.Errorf("got %v", err)
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/status")
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // has ended
		}
		if s, err := parseStatus(text); err != nil || s.uid != four(0) || s.capEff == 0 {
			t.Errorf("%s: %v %x, %v", task, s.uid, s.capEff, err)
		}
	}
	if len(tasks) == 0 {
		t.Error("no threads found")
	}
}
