package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"postsrsd/internal/check"
	"postsrsd/internal/config"
	"postsrsd/internal/rewrite"
	"postsrsd/internal/store"
	"postsrsd/srs"
)

const lookupUsage = `Usage:
    postsrsd forward [--ask] [FLAG...] ADDRESS...
    postsrsd reverse [--ask | --explain] [FLAG...] ADDRESS...

Prints what the daemon answers for each address, as its settings and secrets
have it. ADDRESS may be -, for one address a line of standard input; where
there is more than one, each result stands behind its address and a tab. What
is not rewritten is told on standard error, with the reason.

    --ask      ask the daemon that runs; this needs no secret
    --explain  say also who signed the address, and when
    FLAG       of the daemon: --env-file=FILE, -d, -s, ...; see postsrsd -h

Exit status: 0 if every address was rewritten, 1 if one was not, 2 if that
could not be found out.
`

// What became of an address, from best to worst.
const (
	rewritten = iota
	notRewritten
	unknown
)

const (
	askTimeout  = 10 * time.Second
	longestLine = 64 << 10 // bytes of standard input
)

// A lookup is one run of the command forward or reverse.
type lookup struct {
	reverse        bool
	answer         func(address string) (string, error)
	explain        *srs.Codec   // nil if nothing is to be explained
	store          *store.Store // nil if every sender is embedded
	secrets        int
	domain         string
	now            time.Time
	many           bool
	stdout, stderr io.Writer
	status         int
}

// lookUp is the commands forward and reverse.
func lookUp(name string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a, err := config.ParseArguments(args, "ask", "explain")
	l := &lookup{reverse: name == "reverse", stdout: stdout, stderr: stderr}
	switch {
	case errors.Is(err, config.ErrHelp):
		io.WriteString(stdout, lookupUsage)
		return 0
	case errors.Is(err, config.ErrVersion):
		return printVersion(stdout)
	case err != nil:
		return cannot(stderr, err)
	case len(a.Operands) == 0 || a.Has("explain") && (!l.reverse || a.Has("ask")):
		io.WriteString(stderr, lookupUsage)
		return unknown
	}
	if a.Has("ask") {
		daemon, err := dialDaemon(a.Flags, l.reverse)
		if err != nil {
			return cannot(stderr, err)
		}
		defer daemon.Close()
		l.answer = asking(daemon, l.reverse)
	} else {
		c, err := config.Load(a.Flags, os.Environ())
		if err != nil {
			return cannot(stderr, err)
		}
		if err := l.prepare(c, a.Has("explain")); err != nil {
			return cannot(stderr, err)
		}
		if l.store != nil {
			defer l.store.Close()
		}
	}
	l.many = len(a.Operands) > 1 || a.Operands[0] == "-"
	for _, operand := range a.Operands {
		if operand == "-" {
			l.lines(stdin)
		} else {
			l.one(operand)
		}
	}
	return l.status
}

// prepare has the lookup answered as the daemon would with c.
func (l *lookup) prepare(c *config.Config, explain bool) error {
	codec, err := newCodec(c)
	if err != nil {
		return err
	}
	policy := rewrite.New(codec, c.Excluded, c.Domains, func(int, []byte) {})
	if c.Database.Used() {
		l.store = store.New(lookingOn(c, l.stderr))
		policy.Use(unchanged{l.store}, c.OriginalEnvelope == "auto")
	}
	answer := policy.Forward
	if l.reverse {
		answer = policy.Reverse
	}
	l.answer = onStrings(answer)
	if explain {
		l.explain, l.secrets, l.domain, l.now = codec, len(c.Secrets), c.Domain, clock(c)()
	}
	return nil
}

// lookingOn are the options for the store as it is seen from outside the jail.
func lookingOn(c *config.Config, stderr io.Writer) store.Options {
	o := storeOptions(c, func(_ int, line []byte) { fail(stderr, errors.New(string(line))) })
	o.ReadOnly = true
	switch {
	case c.Database.File != "":
		o.SQLite = filepath.Join(c.Chroot, o.SQLite)
	case c.Database.Socket != "":
		o.Redis = []string{filepath.Join(c.Chroot, o.Redis[0])}
	}
	return o
}

// unchanged is a store that takes senders without storing them: what the
// daemon would make of one can be told without it.
type unchanged struct{ *store.Store }

func (unchanged) Put(key, address []byte) error { return nil }

func (l *lookup) lines(stdin io.Reader) {
	lines := bufio.NewScanner(stdin)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		if address := strings.TrimSuffix(lines.Text(), "\r"); address != "" {
			l.one(address)
		}
	}
	if err := lines.Err(); err != nil {
		l.status = cannot(l.stderr, fmt.Errorf("standard input: %w", err))
	}
}

func (l *lookup) one(address string) {
	result, err := l.answer(address)
	var refusal srs.Refusal
	switch {
	case errors.As(err, &refusal) && refusal != rewrite.ErrNoAnswer:
		fmt.Fprintf(l.stderr, "postsrsd: <%s> not rewritten: %v\n", visible(address), err)
		l.status = max(l.status, notRewritten)
	case err != nil:
		l.status = cannot(l.stderr, fmt.Errorf("<%s>: %w", visible(address), err))
		return
	case l.many:
		fmt.Fprintf(l.stdout, "%s\t%s\n", address, result)
	default:
		fmt.Fprintln(l.stdout, result)
	}
	if l.explain != nil {
		l.tell(address)
	}
}

// tell prints what is known of an SRS address's signature.
func (l *lookup) tell(address string) {
	s, err := l.explain.Explain(address)
	if err != nil {
		return // the refusal has said it
	}
	line := func(name, format string, a ...any) {
		fmt.Fprintf(l.stdout, "  %-11s%s\n", name, fmt.Sprintf(format, a...))
	}
	switch {
	case s.Secret > 0:
		line("signed by", "secret %d of %d", s.Secret, l.secrets)
	case l.secrets == 1:
		line("signed by", "another secret than the one here")
	default:
		line("signed by", "none of the %d secrets here", l.secrets)
	}
	if s.Domain != "" && !strings.EqualFold(s.Domain, l.domain) {
		line("domain", "%s, while %s is the SRS domain here", visible(s.Domain), l.domain)
	}
	if s.Tag == "SRS1" {
		line("signed on", "not known: an SRS1 address has no date, the SRS0 address at %s has", visible(s.Host))
		return
	}
	const day = 24 * time.Hour
	age := int(l.now.Sub(s.Signed) / day)
	line("signed on", "%s, %s", s.Signed.Format(time.DateOnly), cmp.Or(days(age, " ago"), "today"))
	last := s.Signed.AddDate(0, 0, age+s.DaysLeft).Format(time.DateOnly)
	if s.DaysLeft < 0 {
		line("valid", "until %s, %s", last, days(-s.DaysLeft, " ago"))
	} else {
		line("valid", "until %s, %s", last, cmp.Or(days(s.DaysLeft, " left"), "the last day"))
	}
}

// days says a number of them, nothing for none.
func days(n int, what string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 day" + what
	}
	return strconv.Itoa(n) + " days" + what
}

// dialDaemon connects to the daemon that runs with these flags.
func dialDaemon(flags []string, reverse bool) (*check.Client, error) {
	c, wrong := config.Survey(flags, os.Environ())
	for _, err := range wrong {
		if c == nil || !errors.Is(err, config.ErrSecrets) {
			return nil, err
		}
	}
	ways := c.Ways()
	if len(ways) == 0 {
		return nil, fmt.Errorf("%s: the daemon serves nothing that could be asked: set socketmap", c.Conf)
	}
	client, err := check.Dial(context.Background(), ways[0], reverse, askTimeout)
	if err != nil {
		return nil, fmt.Errorf("the daemon cannot be asked: %w", err)
	}
	return client, nil
}

// asking answers lookups by asking the daemon. That a sender of the SRS domain
// is found as it is means that it is not rewritten.
func asking(daemon *check.Client, reverse bool) func(string) (string, error) {
	return func(address string) (string, error) {
		result, err := daemon.Lookup(address)
		var none check.NotFound
		switch {
		case errors.As(err, &none):
			return "", srs.Refusal(none)
		case err != nil:
			return "", fmt.Errorf("the daemon at %s: %w", daemon.RemoteAddr(), err)
		case !reverse && result == address:
			return "", rewrite.ErrOwnDomain
		}
		return result, nil
	}
}

// visible is text that cannot pass for anything but one line.
func visible(s string) string {
	if q := strconv.Quote(s); strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return q[1 : len(q)-1]
	}
	return s
}

// cannot says why something could not be found out.
func cannot(stderr io.Writer, err error) int {
	fail(stderr, err)
	return unknown
}
