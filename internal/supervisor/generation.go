package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"postsrsd/internal/config"
	"postsrsd/internal/privilege"
)

// A generation is one worker process as the supervisor sees it. Its fields
// belong to the supervisor's loop; its goroutines speak through events.
type generation struct {
	config  *config.Config
	jail    privilege.Jail
	sockets sockets
	command *exec.Cmd
	control *channel
	asked   time.Time // when the order was given that is not yet answered; zero: none
	owed    int       // answers to orders given
	ready   time.Time // when it answered the first
	failure string    // why it could not begin, in its own words
	gone    bool      // it has exited
}

// An event is what a generation's goroutines tell the loop.
type event struct {
	from   *generation
	answer *answer // to the order given last
	exited error   // the process is gone; never nil then
}

// startGeneration runs a worker on these sockets. Its events arrive until, as
// the last one, it has exited.
func (s *Supervisor) startGeneration(c *config.Config, jail privilege.Jail, socks sockets) (*generation, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("cannot make the control channel: %w", err)
	}
	defer theirs.Close()
	control, err := newChannel(ours)
	if err != nil {
		return nil, err
	}
	logRead, logWrite, err := os.Pipe()
	if err != nil {
		control.close()
		return nil, fmt.Errorf("cannot make the log's pipe: %w", err)
	}
	defer logWrite.Close()

	s.generations++
	g := &generation{
		config: c, jail: jail, sockets: socks, control: control,
		command: &exec.Cmd{
			Path:       self(),
			Args:       []string{workerName},
			Env:        []string{}, // nothing from ours: secrets may be in it
			Stderr:     logWrite,
			ExtraFiles: append([]*os.File{theirs}, socks.files()...),
		},
	}
	if err := g.command.Start(); err != nil {
		control.close()
		logRead.Close()
		return nil, fmt.Errorf("cannot start the worker: %w", err)
	}
	relay := newRelay(logRead, s.log)
	heard := make(chan struct{})
	go func() {
		err := g.command.Wait()
		relay.Close(time.Now().Add(controlTimeout)) // its last words come first
		control.conn.SetReadDeadline(time.Now().Add(controlTimeout))
		<-heard // and its last answer, which says why it ends
		if err == nil {
			err = errExited
		}
		s.events <- event{from: g, exited: err}
	}()
	go func() {
		defer close(heard)
		for {
			a := new(answer)
			if control.receive(a) != nil {
				return
			}
			s.events <- event{from: g, answer: a}
		}
	}()
	g.order(order{Start: &start{Config: c, Jail: jail, Directions: socks.directions()}, Told: s.counted()})
	return g, nil
}

// order gives the worker an order. If it cannot be given, the worker is hung
// or gone; it is killed, and its exit tells the loop.
func (g *generation) order(o order) {
	g.asked = time.Now()
	g.owed++
	if g.control.send(o) != nil {
		g.kill()
	}
}

// drain lets the worker finish and end by itself.
func (g *generation) drain() {
	g.order(order{Drain: true})
}

// leave lets the worker finish and end by itself, and have the time that others
// need to end without a message deferred.
func (g *generation) leave() {
	g.order(order{Drain: true, Linger: true})
}

// kill ends the worker: as the user it serves as where root may not, as in a
// service that has no CAP_KILL.
func (g *generation) kill() error {
	end := func() error { return g.command.Process.Signal(syscall.SIGKILL) }
	err := end()
	if who := g.jail.Identity; errors.Is(err, syscall.EPERM) && who != nil {
		return privilege.As(who.UID, who.GID, end)
	}
	return err
}

// self is this program, also after a package has replaced the file.
func self() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// socketPair returns the two ends of the control stream.
func socketPair() (a, b *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}
