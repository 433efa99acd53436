// Postsrsd rewrites the envelope senders of forwarded mail for Postfix by the
// Sender Rewriting Scheme, and turns bounces back. It takes the place of
// PostSRSd 1.x and 2.x: flags, settings file or postsrsd.conf, secrets, replies.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"postsrsd/internal/config"
	"postsrsd/internal/rewrite"
	"postsrsd/internal/server"
	"postsrsd/internal/supervisor"
	"postsrsd/srs"
)

// version is set by the build.
var version = "devel"

func main() {
	if supervisor.IsWorker() {
		os.Exit(supervisor.Worker(tables))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "secret" {
		return secret(args[1:], stdout, stderr)
	}
	c, err := config.Load(args, os.Environ())
	switch {
	case errors.Is(err, config.ErrHelp):
		help(stdout)
		return 0
	case errors.Is(err, config.ErrVersion):
		fmt.Fprintln(stdout, "postsrsd", version)
		return 0
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

// reload reads again what c was read from. Nobody changes to the configuration
// of another version by way of SIGHUP, and a file that is missing while it is
// being replaced does not mean that.
func reload(c *config.Config, args []string) (*config.Config, error) {
	next, err := config.Load(args, os.Environ())
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

func fail(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, "postsrsd:", err)
	return 1
}

// tables makes what the worker serves.
func tables(c *config.Config, log func(severity int, line []byte)) (server.Tables, error) {
	now := time.Now
	if !c.FakeTime.IsZero() {
		now = func() time.Time { return c.FakeTime }
	}
	codec, err := srs.New(srs.Options{
		Domain:        c.Domain,
		Secrets:       c.Secrets,
		Separator:     c.Separator,
		HashLength:    c.HashLength,
		HashMinimum:   c.HashMin,
		URLSafe:       c.Alphabet == "-_",
		AlwaysRewrite: c.AlwaysRewrite,
		Now:           now,
	})
	if err != nil {
		return server.Tables{}, err
	}
	policy := rewrite.New(codec, c.Excluded, c.Domains, log)
	return server.Tables{
		ForwardTCP:       policy.ForwardTCP,
		ForwardSocketmap: policy.ForwardSocketmap,
		ReverseTCP:       policy.Reverse,
		ReverseSocketmap: policy.Reverse,
	}, nil
}
