package supervisor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"postsrsd/internal/config"
)

// TestWatchEnds holds that a watch that is not wanted any more leaves nothing
// behind, also one that has something to tell and nobody listens.
func TestWatchEnds(t *testing.T) {
	file := filepath.Join(t.TempDir(), "domains")
	if err := os.WriteFile(file, []byte("a.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, done := range []config.FileState{config.StateOf(file), {}} {
		quit, ended := make(chan struct{}), make(chan struct{})
		changed := make(chan config.FileState)
		go func() {
			look(file, done, changed, quit)
			close(ended)
		}()
		if done == (config.FileState{}) {
			if state := <-changed; state != config.StateOf(file) {
				t.Errorf("told of %+v", state)
			}
			os.Remove(file) // the next is not listened to
		}
		close(quit)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("it goes on")
		}
	}
}

func TestWatchFollows(t *testing.T) {
	state := config.FileState{Inode: 1}
	w := watch{changed: make(chan config.FileState)}
	defer w.stop()
	for _, step := range []struct {
		name    string
		config  config.Config
		path    string
		done    config.FileState
		follows bool
	}{
		{"no file", config.Config{DomainsFileWatch: true}, "", config.FileState{}, false},
		{"not asked to", config.Config{DomainsFile: "/nonexistent"}, "", config.FileState{}, false},
		{"asked to", config.Config{DomainsFile: "/nonexistent", DomainsFileState: state, DomainsFileWatch: true}, "/nonexistent", state, true},
		{"a state unknown", config.Config{DomainsFile: "/nonexistent", DomainsFileWatch: true}, "/nonexistent", state, true},
		{"another file", config.Config{DomainsFile: "/nonexistent2", DomainsFileWatch: true}, "/nonexistent2", config.FileState{}, true},
		{"not any more", config.Config{DomainsFile: "/nonexistent2"}, "", config.FileState{}, false},
	} {
		w.follow(&step.config)
		if w.path != step.path || (w.quit != nil) != step.follows || step.follows && w.done != step.done {
			t.Errorf("%s: %+v", step.name, w)
		}
	}
}
