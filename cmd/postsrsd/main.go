// Postsrsd rewrites the envelope senders of forwarded mail for Postfix by the
// Sender Rewriting Scheme, and turns bounces back. It takes the place of
// PostSRSd 1.x and 2.x: flags, settings file or postsrsd.conf, secrets, replies.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"time"

	"postsrsd/internal/aliasmap"
	"postsrsd/internal/check"
	"postsrsd/internal/config"
	"postsrsd/internal/milter"
	"postsrsd/internal/rewrite"
	"postsrsd/internal/server"
	"postsrsd/internal/store"
	"postsrsd/internal/supervisor"
	"postsrsd/srs"
)

// version is set by the build.
var version = "devel"

func main() {
	if supervisor.IsWorker() {
		os.Exit(supervisor.Worker(new(serving).service))
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program; it returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "secret" {
		return secret(args[1:], stdout, stderr)
	}
	// The other commands take the daemon's flags, before their name too, so
	// that they can be put behind any command line of the daemon's.
	if at := config.CommandAt(args, "forward", "reverse", "config", "check"); at >= 0 {
		rest := slices.Concat(args[:at], args[at+1:])
		switch args[at] {
		case "forward", "reverse":
			return lookUp(args[at], rest, stdin, stdout, stderr)
		case "config":
			return showConfig(rest, stdout, stderr)
		case "check":
			return checkHost(rest, stdout, stderr)
		}
	}
	c, err := load(args)
	switch {
	case errors.Is(err, config.ErrHelp):
		help(stdout)
		return 0
	case errors.Is(err, config.ErrVersion):
		return printVersion(stdout)
	case err != nil:
		return fail(stderr, err)
	}
	daemon := &supervisor.Supervisor{Config: c, Load: func() (*config.Config, error) { return reload(c, args) }}
	if c.Daemonize {
		status, detached := supervisor.Detach()
		if !detached {
			return status
		}
		daemon.Ready = supervisor.Detached
	}
	if err := daemon.Run(); err != nil {
		return fail(stderr, err)
	}
	return 0
}

// load reads the configuration, and warns of what the command check would call
// an error in it.
func load(args []string) (*config.Config, error) {
	c, err := config.Load(args, os.Environ())
	if err == nil {
		c.Warnings = append(c.Warnings, check.Faults(c)...)
	}
	return c, err
}

// reload reads again what c was read from. Nobody changes to the configuration
// of another version by way of SIGHUP, and a file that is missing while it is
// being replaced does not mean that.
func reload(c *config.Config, args []string) (*config.Config, error) {
	next, err := load(args)
	switch {
	case err != nil:
		return nil, err
	case c.Conf != "" && next.Conf == "":
		return nil, fmt.Errorf("%s is gone: start the daemon again to go on without it", c.Conf)
	case next.Conf != c.Conf:
		return nil, fmt.Errorf("%s has appeared: start the daemon again to have it read", next.Conf)
	}
	return next, nil
}

func printVersion(stdout io.Writer) int {
	fmt.Fprintln(stdout, "postsrsd", version)
	return 0
}

func fail(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "postsrsd:", err)
	return 1
}

// serving is what a worker keeps from one configuration to the next.
type serving struct {
	database config.Database
	store    *store.Store
}

// service makes what the worker serves.
func (s *serving) service(c *config.Config, log func(severity int, line []byte)) (supervisor.Service, error) {
	codec, err := newCodec(c)
	if err != nil {
		return supervisor.Service{}, err
	}
	policy := rewrite.New(codec, c.Excluded, c.Domains, log)
	s.open(c, log)
	if s.store != nil {
		policy.Use(s.store, c.OriginalEnvelope == "auto")
	}
	mail := rewrite.NewEnvelopes(policy, envelopeOptions(c))
	return supervisor.Service{
		Tables: server.Tables{
			ForwardTCP:       policy.ForwardTCP,
			ForwardSocketmap: policy.ForwardSocketmap,
			ReverseTCP:       policy.Reverse,
			ReverseSocketmap: policy.Reverse,
		},
		Milter: milter.Rules{Refuse: mail.Refuse, Change: mail.Change},
	}, nil
}

func envelopeOptions(c *config.Config) rewrite.EnvelopeOptions {
	o := rewrite.EnvelopeOptions{Domain: c.Domain, Own: c.Domains, RewriteLocal: c.MilterRewriteLocal}
	if len(c.AliasMaps) > 0 {
		o.Aliases = func() ([]rewrite.AliasMap, func()) { return aliasmap.Open(c.AliasMaps) }
	}
	return o
}

// open changes to the store of c. The one before is let go of when the lookups
// that may still use it are over.
func (s *serving) open(c *config.Config, log func(severity int, line []byte)) {
	if reflect.DeepEqual(c.Database, s.database) {
		return
	}
	if s.store != nil {
		time.AfterFunc(storeGrace, s.store.Close)
	}
	s.database, s.store = c.Database, nil
	if c.Database.Used() {
		s.store = store.New(storeOptions(c, log))
	}
}

// storeGrace is more than a lookup takes.
const storeGrace = 5 * time.Second

// storeOptions are for the store as the jailed process sees it.
func storeOptions(c *config.Config, log func(severity int, line []byte)) store.Options {
	o := store.Options{Date: clock(c), Now: time.Now, Log: log}
	if c.Database.File != "" {
		o.SQLite = c.Database.At[0]
	} else {
		o.Redis = c.Database.At
	}
	return o
}

func newCodec(c *config.Config) (*srs.Codec, error) {
	return srs.New(srs.Options{
		Domain:        c.Domain,
		Secrets:       c.Secrets,
		Separator:     c.Separator,
		HashLength:    c.HashLength,
		HashMinimum:   c.HashMin,
		URLSafe:       c.Alphabet == "-_",
		AlwaysRewrite: c.AlwaysRewrite,
		Now:           clock(c),
	})
}

// clock is the system's, unless the administrator set another.
func clock(c *config.Config) func() time.Time {
	if c.FakeTime.IsZero() {
		return time.Now
	}
	return func() time.Time { return c.FakeTime }
}
