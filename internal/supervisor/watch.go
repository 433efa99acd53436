package supervisor

import (
	"time"

	"postsrsd/internal/config"
)

// A watch tells when the file of domains changes, in whatever way: written
// again, another put in its place, deleted and made again, on a remote file
// system, behind a symbolic link. It looks at the file twice a second, and
// speaks when a change has been there for two looks: a file that is being
// written is left alone, and no two changes fall into one tick of its clock.
type watch struct {
	changed chan config.FileState
	path    string           // "" when nothing is watched
	done    config.FileState // the state that was read last, or that changed told of
	quit    chan struct{}
}

const watchInterval = 500 * time.Millisecond

// follow watches the file that c was read from, if c says so.
func (w *watch) follow(c *config.Config) {
	w.stop()
	if !c.DomainsFileWatch || c.DomainsFile == "" {
		w.path = ""
		return
	}
	if c.DomainsFile != w.path || c.DomainsFileState != (config.FileState{}) {
		w.path, w.done = c.DomainsFile, c.DomainsFileState
	}
	w.quit = make(chan struct{})
	path := w.path
	go look(func() config.FileState { return config.StateOf(path) }, watchInterval, w.done, w.changed, w.quit)
}

func (w *watch) stop() {
	if w.quit != nil {
		close(w.quit)
		w.quit = nil
	}
}

// look tells changed of states other than done, each once, until quit closes.
func look(stateNow func() config.FileState, every time.Duration, done config.FileState, changed chan<- config.FileState, quit <-chan struct{}) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	seen := done
	for {
		select {
		case <-ticks.C:
		case <-quit:
			return
		}
		state := stateNow()
		if state != seen {
			seen = state
			continue
		}
		if state == done {
			continue
		}
		done = state
		select {
		case changed <- state:
		case <-quit:
			return
		}
	}
}
