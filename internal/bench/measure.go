//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// A plan is what the measuring process is told to do.
type plan struct {
	Dir      string // for its files
	Peer     string // Debian's daemon
	Ours     string
	EchoC    string // empty without a C compiler
	Rounds   int
	Duration time.Duration // of one measurement
	Group    memoryGroup
}

// results holds one value a round for every metric and target.
type results struct {
	Values  map[string]map[string][]float64
	Answers int // checked, of all servers
}

func (r *results) record(metric, target string, value float64) {
	if r.Values[metric] == nil {
		r.Values[metric] = make(map[string][]float64)
	}
	r.Values[metric][target] = append(r.Values[metric][target], value)
}

// The targets, which are the columns of the table.
const (
	peer          = "Debian's"
	ours          = "ours"
	oursSocketmap = "ours, socketmap"
	echoServerGo  = "echo, Go"
	echoServerC   = "echo, C"
)

const (
	idleConnections = 1000
	idleLookups     = 128                    // connections that ask beside the idle ones
	settle          = 500 * time.Millisecond // before memory is read
)

type bench struct {
	plan
	results
	sink    *logSink
	secrets string
	self    string // this program
}

// measure does the plan, in the namespaces that isolated made.
func measure(p plan) (*results, error) {
	if err := furnish(p.Dir); err != nil {
		return nil, err
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + 2) // clients, the reader of the log, and all else
	sink, err := openLogSink()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &bench{plan: p, sink: sink, secrets: filepath.Join(p.Dir, "secrets"), self: self}
	b.Values = make(map[string]map[string][]float64)
	if err := os.WriteFile(b.secrets, []byte("a secret for measurements only\n"), 0o600); err != nil {
		return nil, err
	}
	rewritten, err := b.sameWords()
	if err != nil {
		return nil, err
	}
	for round := range b.Rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, b.Rounds)
		for _, part := range []func(int, []string) error{b.throughput, b.fresh, b.excluding} {
			if err := part(round, rewritten); err != nil {
				return nil, err
			}
		}
	}
	return &b.results, nil
}

// servers are all there are, by target.
func (b *bench) servers(flags ...string) map[string]server {
	all := map[string]server{
		peer: daemon(b.Peer, b.secrets, 10001, flags...),
		ours: daemon(b.Ours, b.secrets, 10003, flags...),
		echoServerGo: {
			argv:    []string{b.self, roleEcho, "10005"},
			forward: 10005, reverse: 10005, question: echoQuestions,
		},
	}
	if b.EchoC != "" {
		all[echoServerC] = server{
			argv:    []string{b.EchoC, "10006", string(echoAnswer)},
			forward: 10006, reverse: 10006, question: echoQuestions,
		}
	}
	return all
}

// each calls do for the targets that there are, one after the other, the other
// way round in every second round.
func each[T any](round int, of map[string]T, do func(target string, value T) error) error {
	order := []string{peer, ours, oursSocketmap, echoServerGo, echoServerC}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	for _, target := range order {
		value, there := of[target]
		if !there {
			continue
		}
		if err := do(target, value); err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
	}
	return nil
}

// sameWords lets both daemons rewrite all senders, and fails unless they do it
// alike.
func (b *bench) sameWords() ([]string, error) {
	said := make(map[string][]string)
	err := each(0, b.servers(), func(target string, s server) error {
		if target != peer && target != ours {
			return nil
		}
		p, _, err := start(s.argv, &endpoint{s.forward, []question{{
			ask:  []byte("get postmaster@" + homeDomain + "\n"),
			head: []byte("200 postmaster@" + homeDomain + "\n"),
			size: len("200 postmaster@" + homeDomain + "\n"),
		}}})
		if err != nil {
			return err
		}
		said[target], err = rewrite(s.forward)
		return errors.Join(err, p.stop())
	})
	for i, address := range said[peer] {
		if err == nil && said[ours][i] != address {
			err = fmt.Errorf("%s becomes %s here and %s there", sender(i), said[ours][i], address)
		}
	}
	return said[peer], err
}

// throughput has all servers running, side by side, and asks one at a time.
func (b *bench) throughput(round int, rewritten []string) (err error) {
	services := make(map[string]service)
	servers := b.servers()
	for target, s := range servers {
		services[target] = s.service(rewritten)
		side := services[target][0]
		p, _, startErr := start(s.argv, &side)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, p.stop()) }()
	}
	both := servers[ours]
	both.question = socketmapQuestions
	services[oursSocketmap] = both.service(rewritten)

	asked, logged := make(map[string]int), make(map[string]int64)
	measured := func(scenario func(s service) (load, error), record func(target string, l *load)) error {
		return each(round, services, func(target string, s service) error {
			before := b.sink.rewritten.Load()
			l, err := scenario(s)
			if err != nil {
				return err
			}
			record(target, &l)
			asked[target] += l.questions
			logged[target] += b.sink.count() - before
			b.Answers += l.questions
			return nil
		})
	}
	for _, n := range []int{1, 16, 128} {
		err := measured(func(s service) (load, error) { return lookups(s, n, b.Duration) }, func(target string, l *load) {
			b.record("lookups "+strconv.Itoa(n), target, l.rate)
			b.record("p50 "+strconv.Itoa(n), target, float64(l.latency.quantile(.5)))
			b.record("p99 "+strconv.Itoa(n), target, float64(l.latency.quantile(.99)))
		})
		if err != nil {
			return fmt.Errorf("lookups over %d connections: %w", n, err)
		}
	}
	err = measured(func(s service) (load, error) { return reconnects(s, b.Duration) }, func(target string, l *load) {
		b.record("reconnects", target, l.rate)
	})
	if err != nil {
		return fmt.Errorf("connect, ask, close: %w", err)
	}
	for _, target := range []string{peer, ours, oursSocketmap} {
		b.record("log lines", target, float64(logged[target])/float64(asked[target]))
		for metric, echo := range map[string]string{"of Go's": echoServerGo, "of C's": echoServerC} {
			for _, rate := range b.latest("lookups 128", echo) {
				b.record(metric, target, median(b.latest("lookups 128", target))/rate)
			}
		}
	}
	return nil
}

// latest is the last value recorded, if there is one.
func (r *results) latest(metric, target string) []float64 {
	values := r.Values[metric][target]
	return values[max(len(values)-1, 0):]
}

// fresh starts one server after the other: how long that takes, and what memory
// it needs, alone and with idle clients.
func (b *bench) fresh(round int, rewritten []string) error {
	return each(round, b.servers(), func(target string, s server) error {
		sides := s.service(rewritten)
		p, took, err := start(s.argv, &sides[0])
		if err != nil {
			return err
		}
		if err := p.stop(); err != nil {
			return err
		}
		b.record("start", target, took.Seconds()*1e9)

		p, _, err = start(b.Group.enclose(s.argv), &sides[0])
		if err != nil {
			return err
		}
		return errors.Join(b.memory(target, p, sides), p.stop())
	})
}

func (b *bench) memory(target string, p *process, s service) error {
	time.Sleep(settle)
	resting, err := proportional(p.command.Process.Pid)
	if err != nil {
		return err
	}
	before, err := b.Group.used()
	if err != nil {
		return err
	}
	release, err := idle(s, idleConnections)
	if err != nil {
		return err
	}
	defer release()
	time.Sleep(settle)
	after, err := b.Group.used()
	if err != nil {
		return err
	}
	l, err := lookups(s, idleLookups, b.Duration)
	if err != nil {
		return fmt.Errorf("lookups beside %d idle connections: %w", idleConnections, err)
	}
	b.Answers += l.questions
	b.record("at rest", target, resting)
	b.record("idle", target, after-before)
	b.record("lookups beside idle", target, l.rate)
	return nil
}

// excluding compares each daemon with itself: many excluded domains, and none,
// in turn the one and the other first.
func (b *bench) excluding(round int, rewritten []string) error {
	without, with := b.servers(), b.servers(exclusions(excludedDomains)...)
	for _, target := range []string{peer, ours} {
		var rates [2]float64
		pair := []server{without[target], with[target]}
		for turn := range pair {
			i := (turn + round) % len(pair)
			s := pair[i]
			sides := s.service(rewritten)
			p, took, err := start(s.argv, &sides[0])
			if err != nil {
				return fmt.Errorf("%s, excluded domains: %w", target, err)
			}
			l, err := lookups(sides, 16, b.Duration)
			if err := errors.Join(err, p.stop()); err != nil {
				return fmt.Errorf("%s, excluded domains: %w", target, err)
			}
			b.Answers += l.questions
			rates[i] = l.rate
			if i == 1 {
				b.record("start, excluding", target, took.Seconds()*1e9)
			}
		}
		b.record("lookups, excluding", target, rates[1])
		b.record("excluding", target, rates[1]/rates[0])
	}
	return nil
}
