package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"postsrsd/internal/check"
	"postsrsd/internal/config"
	"postsrsd/internal/rewrite"
)

const checkUsage = `Usage:
    postsrsd check [OPTION...] [FLAG...]

Looks at the settings, at Postfix beside the daemon, and at the DNS, and prints
one line for each finding: how bad, where, what, and what to do. It changes
nothing.

    --skip=GROUP      leave out settings, postfix or dns; may be repeated
    --json            print an array of objects instead
    --resolver=ADDR   ask this DNS server, not those of /etc/resolv.conf
    --address=ADDR    an address that this host sends mail from; may be
                      repeated; otherwise found by Postfix's settings and the
                      interfaces
    --time=SECONDS    end after so long [30]
    FLAG              of the daemon: --env-file=FILE, -d, -s, ...; see
                      postsrsd -h

Postfix is asked with postconf and postmap; MAIL_CONFIG in the environment names
another configuration directory.

Exit status: 0 without errors, 1 with errors, 2 if something could not be
looked at.
`

// checkOptions are the options of the command check.
type checkOptions struct {
	check.Options
	json bool
	time time.Duration
}

// checkHost is the command check.
func checkHost(args []string, stdout, stderr io.Writer) int {
	a, err := config.ParseArguments(args, "skip=", "json", "resolver=", "address=", "time=")
	switch {
	case errors.Is(err, config.ErrHelp):
		io.WriteString(stdout, checkUsage)
		return 0
	case errors.Is(err, config.ErrVersion):
		return printVersion(stdout)
	case err != nil:
		return cannot(stderr, err)
	case len(a.Operands) > 0:
		io.WriteString(stderr, checkUsage)
		return unknown
	}
	o, err := readCheckOptions(a)
	if err != nil {
		return cannot(stderr, err)
	}
	if o.Config != nil && len(o.Config.Secrets) > 0 {
		codec, err := newCodec(o.Config)
		if err == nil {
			o.Forward = onStrings(rewrite.New(codec, o.Config.Excluded, o.Config.Domains, func(int, []byte) {}).Forward)
		}
		o.Now = clock(o.Config)()
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.time)
	defer cancel()
	findings := append([]check.Finding{}, check.Run(ctx, o.Options)...) // not null in JSON
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(findings)
	} else {
		err = printFindings(stdout, findings)
	}
	if err != nil {
		return cannot(stderr, err)
	}
	return check.Status(findings)
}

func readCheckOptions(a config.Arguments) (o checkOptions, err error) {
	o.Skip, o.json, o.time, o.Now = map[string]bool{}, a.Has("json"), 30*time.Second, time.Now()
	for _, list := range a.Own["skip"] {
		for group := range strings.SplitSeq(list, ",") {
			if !slices.Contains(check.Groups, group) {
				return o, fmt.Errorf("--skip=%s: give one of %s", visible(list), strings.Join(check.Groups, ", "))
			}
			o.Skip[group] = true
		}
	}
	for _, text := range a.Own["address"] {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return o, fmt.Errorf("--address=%s: give an IP address", visible(text))
		}
		o.Addresses = append(o.Addresses, address.Unmap())
	}
	for _, text := range a.Own["time"] {
		seconds, err := strconv.ParseUint(text, 10, 16)
		if err != nil || seconds == 0 {
			return o, fmt.Errorf("--time=%s: give a number of seconds", visible(text))
		}
		o.time = time.Duration(seconds) * time.Second
	}
	for _, o.Resolver = range a.Own["resolver"] {
	}
	o.Config, o.Wrong = config.Survey(a.Flags, os.Environ())
	if o.Config != nil {
		o.Milter = o.Config.Milter
	}
	return o, nil
}

// onStrings makes a lookup of a policy's one on strings.
func onStrings(lookup func(dst, key []byte) ([]byte, error)) func(string) (string, error) {
	return func(address string) (string, error) {
		result, err := lookup(nil, []byte(address))
		return string(result), err
	}
}

func printFindings(w io.Writer, findings []check.Finding) error {
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%-8s %s\n", f.Level, visible(f.Line())); err != nil {
			return err
		}
	}
	return nil
}
