package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"postsrsd/internal/config"
	"postsrsd/internal/metrics"
	"postsrsd/internal/server"
)

// A Build makes the tables for a configuration. Log takes the lines that
// lookups write; it does not block.
type Build func(c *config.Config, log func(severity int, line []byte)) (server.Tables, error)

// IsWorker tells whether this process was started by a supervisor as its
// jailed half; main then has nothing to do but call Worker.
func IsWorker() bool { return os.Args[0] == workerName }

const workerName = "postsrsd: worker"

// Worker is the jailed half. It takes its configuration from the supervisor,
// gives up its privileges, serves, and returns the process's exit status once
// it is told to end or the supervisor is gone.
func Worker(build Build) int {
	// A terminal or a service manager signals both halves; the supervisor
	// decides what it means. A pipe without a reader is an error, no death.
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	nameProcess("postsrsd")
	control, err := newChannel(os.NewFile(controlFD, "control"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "postsrsd: this is the worker's half, which only the supervisor can start")
		return 1
	}
	defer control.close()
	syscall.SetNonblock(syscall.Stderr, true) // so that a write can be given up
	log := newLogBuffer(os.NewFile(uintptr(syscall.Stderr), "log"), logBufferSize)
	defer func() { log.Close(time.Now().Add(time.Second)) }()

	w := &worker{build: build, control: control, log: log}
	if err := w.begin(); err != nil {
		control.send(answer{Err: err.Error()})
		return 1
	}
	w.obey()
	for _, monitor := range w.monitors {
		monitor.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		log.Log(sevWarning, []byte(err.Error()))
	}
	return 0
}

type worker struct {
	build   Build
	control *channel
	log     *logBuffer
	tables  server.Tables // uncounted
	server  *server.Server

	metrics  *metrics.Metrics
	counting bool        // somebody may ask for what a lookup counts
	monitors []io.Closer // serve metrics
}

// begin carries out the first order. What needs the system's files comes
// before the jail, what reads a stranger's bytes after it.
func (w *worker) begin() error {
	var first order
	if err := w.control.receive(&first); err != nil || first.Start == nil {
		return fmt.Errorf("no order from the supervisor: %v", err)
	}
	var listeners []net.Listener
	for i := range first.Start.Directions {
		f := os.NewFile(uintptr(firstListenerFD+i), "listener")
		ln, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("inherited socket %d: %w", i, err)
		}
		listeners = append(listeners, ln)
	}
	warnings, err := first.Start.Jail.Enter()
	if err != nil {
		return err
	}
	w.metrics = metrics.New(func() server.Connections { return w.server.Connections() }, w.log.Lost)
	w.counting = slices.Contains(first.Start.Directions, forMetrics)
	w.metrics.Tell(*first.Told)
	settings, err := w.settings(first.Start.Config)
	if err != nil {
		return err
	}
	w.server = server.New(settings, func(err error) { w.log.Log(sevWarning, []byte(err.Error())) })
	for i, ln := range listeners {
		if direction := first.Start.Directions[i]; direction == forMetrics {
			w.monitors = append(w.monitors, w.metrics.Serve(ln))
		} else {
			go w.server.Serve(ln, direction)
		}
	}
	return w.control.send(answer{Warnings: warnings})
}

func (w *worker) settings(c *config.Config) (server.Config, error) {
	tables, err := w.build(c, w.log.Log)
	if err != nil {
		return server.Config{}, err
	}
	w.tables = tables
	if w.counting {
		tables = w.metrics.Tables(tables)
	}
	w.metrics.SecretChanged(c.SecretChanged)
	return server.Config{
		Tables:      tables,
		IdleTimeout: c.IdleTimeout,
		MaxConns:    c.ConnectionLimit,
		MaxRequest:  c.RequestLimit,
		MayWait:     c.Database.Used(),
	}, nil
}

// obey carries out orders until one ends the worker or none can come.
func (w *worker) obey() {
	for {
		var o order
		if err := w.control.receive(&o); err != nil || o.Drain {
			return
		}
		err := w.carryOut(o)
		var a answer
		if err != nil {
			a.Err = err.Error()
		}
		if w.control.send(a) != nil {
			return
		}
	}
}

func (w *worker) carryOut(o order) error {
	if o.Told != nil {
		w.metrics.Tell(*o.Told)
	}
	if o.Report {
		w.log.Log(sevInfo, []byte("metrics: "+w.metrics.Line()))
	}
	if o.Config != nil {
		settings, err := w.settings(o.Config)
		if err == nil {
			w.server.Swap(settings)
		}
		return err
	}
	// Nothing was asked but whether lookups are answered.
	if _, err := w.tables.ReverseTCP(nil, []byte("watchdog")); err == nil {
		return errors.New("an address that is none was reversed")
	}
	return nil
}

// How long things between the two halves may take.
const (
	controlTimeout = 5 * time.Second
	drainTimeout   = 4 * time.Second
)
