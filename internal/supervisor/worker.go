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
	"sync"
	"syscall"
	"time"

	"postsrsd/internal/config"
	"postsrsd/internal/metrics"
	"postsrsd/internal/milter"
	"postsrsd/internal/server"
)

// A Service is what a worker answers.
type Service struct {
	Tables server.Tables
	Milter milter.Rules
}

// A Build makes the service for a configuration. Log takes the lines that
// lookups write; it does not block.
type Build func(c *config.Config, log func(severity int, line []byte)) (Service, error)

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
	linger := w.obey()
	for _, monitor := range w.monitors {
		monitor.Close()
	}
	if linger {
		w.linger()
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var ending sync.WaitGroup
	for _, shutdown := range []func(context.Context) error{w.server.Shutdown, w.milter.Shutdown} {
		ending.Go(func() {
			if err := shutdown(ctx); err != nil {
				log.Log(sevWarning, []byte(err.Error()))
			}
		})
	}
	ending.Wait()
	return 0
}

type worker struct {
	build   Build
	control *channel
	log     *logBuffer
	tables  server.Tables // uncounted
	server  *server.Server
	milter  *milter.Server

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
	tables, mail, err := w.settings(first.Start.Config)
	if err != nil {
		return err
	}
	report := func(err error) { w.log.Log(sevWarning, []byte(err.Error())) }
	w.server, w.milter = server.New(tables, report), milter.New(mail, report)
	for i, ln := range listeners {
		switch direction := first.Start.Directions[i]; direction {
		case forMetrics:
			w.monitors = append(w.monitors, w.metrics.Serve(ln))
		case forMilter:
			go w.milter.Serve(ln)
		default:
			go w.server.Serve(ln, direction)
		}
	}
	return w.control.send(answer{Warnings: warnings})
}

func (w *worker) settings(c *config.Config) (server.Config, milter.Config, error) {
	service, err := w.build(c, w.log.Log)
	if err != nil {
		return server.Config{}, milter.Config{}, err
	}
	w.tables = service.Tables
	if w.counting {
		service.Tables, service.Milter = w.metrics.Tables(service.Tables), w.metrics.Rules(service.Milter)
	}
	w.metrics.SecretChanged(c.SecretChanged)
	tables := server.Config{
		Tables:      service.Tables,
		IdleTimeout: c.IdleTimeout,
		MaxConns:    c.ConnectionLimit,
		MaxRequest:  c.RequestLimit,
		MayWait:     c.Database.Used(),
	}
	return tables, milter.Config{Rules: service.Milter, MaxRecipients: c.MilterRecipientLimit, MaxConns: c.ConnectionLimit}, nil
}

// obey carries out orders until one ends the worker or none can come, and tells
// whether to linger then.
func (w *worker) obey() (linger bool) {
	for {
		var o order
		if err := w.control.receive(&o); err != nil || o.Drain {
			return err == nil && o.Linger
		}
		err := w.carryOut(o)
		var a answer
		if err != nil {
			a.Err = err.Error()
		}
		if w.control.send(a) != nil {
			return false
		}
	}
}

// linger serves the connections to the milter that are there until the MTAs
// hang up, time is up, or the supervisor says, or dies. An MTA that is hung up
// on in the middle of its own client's connection defers the mail. What it
// answers says that whoever connects from now on is the next worker's.
func (w *worker) linger() {
	w.server.BeginShutdown()
	w.milter.BeginDrain()
	if w.control.send(answer{}) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lingerTimeout-controlTimeout)
	defer cancel()
	go func() {
		var o order
		w.control.receive(&o)
		cancel()
	}()
	go w.server.Shutdown(ctx)
	w.milter.Drain(ctx)
}

func (w *worker) carryOut(o order) error {
	if o.Told != nil {
		w.metrics.Tell(*o.Told)
	}
	if o.Report {
		w.log.Log(sevInfo, []byte("metrics: "+w.metrics.Line()))
	}
	if o.Config != nil {
		tables, mail, err := w.settings(o.Config)
		if err == nil {
			w.server.Swap(tables)
			w.milter.Swap(mail)
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
	lingerTimeout  = 5 * time.Minute // as Postfix's smtpd_timeout
)
