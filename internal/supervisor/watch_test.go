package supervisor

import (
	"testing"
	"time"

	"postsrsd/internal/config"
)

// TestLook holds what is told of the states that a file goes through: each that
// lasts for two looks, once.
func TestLook(t *testing.T) {
	states := []uint64{1, 1, 2, 3, 3, 3, 0, 0, 4, 3, 4, 4, 1, 5, 5}
	looks := 0
	stateNow := func() config.FileState {
		state := states[min(looks, len(states)-1)]
		looks++
		return config.FileState{Inode: state}
	}
	changed, quit, ended := make(chan config.FileState), make(chan struct{}), make(chan struct{})
	go func() {
		look(stateNow, time.Millisecond, config.FileState{Inode: 1}, changed, quit)
		close(ended)
	}()
	for _, want := range []uint64{3, 0, 4, 5} {
		if got := <-changed; got.Inode != want {
			t.Errorf("told of state %d, want %d", got.Inode, want)
		}
	}
	close(quit)
	<-ended
}

// TestWatchEnds holds that a watch ends that has something to tell and is not
// listened to.
func TestWatchEnds(t *testing.T) {
	quit, ended, looked := make(chan struct{}), make(chan struct{}), make(chan struct{}, 100)
	stateNow := func() config.FileState {
		looked <- struct{}{}
		return config.FileState{Inode: 2}
	}
	go func() {
		look(stateNow, time.Millisecond, config.FileState{Inode: 1}, make(chan config.FileState), quit)
		close(ended)
	}()
	<-looked
	<-looked
	close(quit)
	<-ended
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
