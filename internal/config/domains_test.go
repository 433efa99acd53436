package config

import (
	"os"
	"testing"
	"time"
)

// TestFileState tells the states of a file apart, however it is changed.
func TestFileState(t *testing.T) {
	p := newPlace(t)
	path := p.write(t, "domains", "a")
	seen := map[FileState]string{{}: "no file"}
	look := func(what string) {
		t.Helper()
		state := StateOf(path)
		if before, known := seen[state]; known {
			t.Errorf("%s looks like %s: %+v", what, before, state)
		}
		seen[state] = what
	}
	look("the first")
	p.write(t, "domains", "ab")
	look("a longer one")
	p.write(t, "new", "ab")
	os.Rename(p.path("new"), path)
	look("another file")
	os.Rename(path, p.path("aside"))
	os.Symlink("aside", path)
	look("behind a link, renamed") // which changes its ctime
	os.Chtimes(p.path("aside"), time.Unix(1, 0), time.Unix(1, 0))
	look("with another time")
	os.Remove(path)
	if StateOf(path) != (FileState{}) {
		t.Error("no file has a state")
	}

	p.write(t, "domains", "a")
	state := StateOf(path)
	written := time.Unix(0, state.Changed)
	if got := state.settled(written.Add(time.Millisecond)); got != (FileState{}) {
		t.Errorf("a file just written: %+v", got)
	}
	p.write(t, "conf", "srs-domain = a secrets-file = \""+p.path("secret")+"\" domains-file = \""+path+"\"")
	unsettled := false
	for range 100 { // one load in a hundred should come soon enough after the write
		p.write(t, "domains", "a")
		if p.mustLoad(t, []string{"-C$T/conf"}, nil).DomainsFileState == (FileState{}) {
			unsettled = true
			break
		}
	}
	if !unsettled {
		t.Error("a file just written is taken for one that is settled")
	}
	if got := state.settled(written.Add(time.Second)); got != state {
		t.Errorf("a file written a second ago: %+v", got)
	}
}
