//go:build linux

// Command bench measures this tree's postsrsd beside Debian's postsrsd 1.x on
// the loopback device: lookups, latency, connections, memory, start-up. It
// fetches Debian's package without installing it, has both log to a socket that
// is read, checks every answer, and compares with servers that answer a
// constant, which is what the machine can do at all. Then it compares the codec
// with a bare HMAC-SHA1, prints two tables and writes BENCHMARKS.md.
//
//	go run ./internal/bench           some minutes
//	go run ./internal/bench -short    about a minute, BENCHMARKS.md stays as it is
//	go run ./internal/bench -check    status 1 when a target is missed
//
// It runs on Linux, as root or where users may make namespaces, and needs
// apt-get, dpkg-deb and go; a C compiler is used when there is one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The program runs itself again in these roles.
const (
	roleInside = "inside" // measures; plan on stdin, results on stdout
	roleEcho   = "echo"   // the Go echo server
)

type options struct {
	rounds   int
	duration time.Duration
	short    bool
	check    bool
}

func main() {
	// A child that is to die with its parent dies with the parent's thread.
	runtime.LockOSThread()
	if err := perform(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func perform(args []string) error {
	switch {
	case len(args) == 1 && args[0] == roleInside:
		return measureInside()
	case len(args) == 2 && args[0] == roleEcho:
		return serveEcho(args[1])
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 11, "measure everything so many times and take medians")
	flag.DurationVar(&o.duration, "duration", time.Second, "length of one measurement")
	flag.BoolVar(&o.short, "short", false, "3 rounds of 200ms, and leave BENCHMARKS.md alone")
	flag.BoolVar(&o.check, "check", false, "fail when a target is missed")
	flag.Parse()
	if o.short {
		o.rounds, o.duration = 3, 200*time.Millisecond
	}
	if flag.NArg() != 0 || o.rounds < 1 || o.duration < 10*time.Millisecond {
		return errors.New("usage: bench [-short] [-check] [-rounds N] [-duration TIME], at least 1 round of 10ms")
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return compare(ctx, o)
}

// compare is the whole benchmark.
func compare(ctx context.Context, o options) (err error) {
	busy := loadAverage()
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "postsrsd-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	plan := plan{Dir: dir, Rounds: o.rounds, Duration: o.duration}
	var version string
	if plan.Peer, version, err = fetchPeer(ctx, dir); err != nil {
		return err
	}
	if plan.Ours, err = buildOurs(ctx, root, dir); err != nil {
		return err
	}
	if plan.EchoC, err = compileEcho(ctx, dir); err != nil {
		return err
	}
	plan.Group = newMemoryGroup("/sys/fs/cgroup", filepath.Base(dir))
	defer func() { err = errors.Join(err, plan.Group.remove()) }()

	results, err := isolated(ctx, plan)
	if err != nil {
		return err
	}
	codec, err := measureCodec(ctx, root)
	if err != nil {
		return err
	}
	report := report{
		machine: describeMachine(ctx, root, version, busy),
		plan:    plan,
		results: results,
		codec:   codec,
	}
	fmt.Print(report.tables())
	if !o.short {
		if err := os.WriteFile(filepath.Join(root, "BENCHMARKS.md"), []byte(report.document()), 0o644); err != nil {
			return err
		}
	}
	if missed := report.missed(); o.check && len(missed) > 0 {
		return fmt.Errorf("%d targets missed: %q", len(missed), missed)
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return "", fmt.Errorf("run it inside the source tree: %w", err)
	}
	return root, nil
}

func measureInside() error {
	var plan plan
	if err := json.NewDecoder(os.Stdin).Decode(&plan); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	results, err := measure(plan)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}
