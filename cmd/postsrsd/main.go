// Postsrsd rewrites the envelope senders of forwarded mail for Postfix by the
// Sender Rewriting Scheme, and turns bounces back. It takes the place of
// PostSRSd 1.x: its flags, its settings file, its secrets, its replies.
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
	load := func() (*config.Config, error) { return config.Load(args, os.Environ()) }
	c, err := load()
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
	daemon := &supervisor.Supervisor{Config: c, Load: load}
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
