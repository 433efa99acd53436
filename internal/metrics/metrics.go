// Package metrics counts what the worker does and serves the numbers to
// Prometheus, in its text format 0.0.4 over HTTP.
//
// No number has an address, a domain or anything else of a stranger's in its
// name: the labels are direction, protocol and outcome, each one of a few words.
// What only the supervisor knows it is told; see Told.
package metrics

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"postsrsd/internal/milter"
	"postsrsd/internal/rewrite"
	"postsrsd/internal/server"
	"postsrsd/srs"
)

// Told is what the supervisor counts.
type Told struct {
	Generation        uint64 // workers started so far
	Reloaded, Refused uint64 // reloads
	LinesLost         uint64 // log lines
}

// Metrics are the numbers of one worker. Methods may be called from any
// goroutine.
type Metrics struct {
	set         *metrics.Set
	connections func() server.Connections
	linesLost   func() uint64
	told        atomic.Pointer[Told]
	secret      atomic.Int64 // when its file changed, in s since 1970; 0: not known
	timeout     time.Duration
	long        *metrics.Counter // local parts

	mu         sync.Mutex
	histograms []*histogram
}

// New returns Metrics that ask connections and linesLost, the log lines that
// this process lost, when they are read.
func New(connections func() server.Connections, linesLost func() uint64) *Metrics {
	metrics.ExposeMetadata(true)
	m := &Metrics{set: metrics.NewSet(), connections: connections, linesLost: linesLost, timeout: timeout}
	m.told.Store(new(Told))
	m.long = m.set.NewCounter("postsrsd_long_local_parts_total")
	m.set.RegisterMetricsWriter(m.write)
	return m
}

// Tell puts what the supervisor counts in the place of what it told before.
func (m *Metrics) Tell(t Told) { m.told.Store(&t) }

// SecretChanged says when the file of secrets last changed; a zero t means that
// nobody knows.
func (m *Metrics) SecretChanged(t time.Time) { m.secret.Store(max(0, t.Unix())) }

// write writes what is counted elsewhere.
func (m *Metrics) write(w io.Writer) {
	c, told := m.connections(), m.told.Load()
	metrics.WriteGaugeUint64(w, "postsrsd_connections_open", uint64(c.Open))
	metrics.WriteGaugeUint64(w, "postsrsd_connections_waiting", uint64(c.Waiting))
	metrics.WriteCounterUint64(w, "postsrsd_connections_accepted_total", c.Accepted)
	metrics.WriteCounterUint64(w, "postsrsd_connections_delayed_total", c.Delayed)
	metrics.WriteGaugeUint64(w, "postsrsd_generation", told.Generation)
	metrics.WriteCounterUint64(w, `postsrsd_reloads_total{result="done"}`, told.Reloaded)
	fmt.Fprintf(w, "postsrsd_reloads_total{result=\"refused\"} %d\n", told.Refused)
	metrics.WriteCounterUint64(w, `postsrsd_log_lines_lost_total{by="supervisor"}`, told.LinesLost)
	fmt.Fprintf(w, "postsrsd_log_lines_lost_total{by=\"worker\"} %d\n", m.linesLost())
	if changed := m.secret.Load(); changed != 0 {
		metrics.WriteGaugeUint64(w, "postsrsd_secret_changed_timestamp_seconds", uint64(changed))
	}
	m.writeHistograms(w)
}

// Line is all numbers that are not zero, but for the histograms' buckets, as
// one line: name=value, with the names that WriteTo has, less their prefix.
func (m *Metrics) Line() string {
	var text bytes.Buffer
	m.set.WritePrometheus(&text)
	var parts []string
	for line := range strings.Lines(text.String()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "#" || value == "0" || strings.Contains(name, "_bucket{") {
			continue
		}
		parts = append(parts, strings.TrimPrefix(name, "postsrsd_")+"="+value)
	}
	return strings.Join(parts, " ")
}

// The outcomes of a lookup.
const (
	rewritten = iota
	local     // the sender's domain is ours or excluded
	already   // the sender is an SRS address of ours
	noDomain  // the sender has none, as that of a bounce
	notSRS    // the recipient is no SRS address, as nearly all are
	badHash   // another secret's, or forged
	expired
	noAlias // the database does not have, or not tell, what the recipient stands for
	refused // malformed, or too long
	outcomes
)

var outcomeNames = [outcomes]string{"rewritten", "local", "already", "no_domain", "not_srs", "bad_hash", "expired", "no_alias", "refused"}

func outcome(err error) int {
	switch err {
	case nil:
		return rewritten
	case rewrite.ErrOwnDomain, rewrite.ErrExcluded:
		return local
	case rewrite.ErrRewritten:
		return already
	case srs.ErrNoAtSign, rewrite.ErrNoDomain:
		return noDomain
	case srs.ErrNotSRS:
		return notSRS
	case srs.ErrHashInvalid, srs.ErrHashTooShort:
		return badHash
	case srs.ErrExpired:
		return expired
	case rewrite.ErrUnknownAlias, rewrite.ErrNoDatabase, rewrite.ErrNoAnswer:
		return noAlias
	}
	return refused
}

// longest is what a local part may have, RFC 5321 section 4.5.3.1.1, in octets.
const longest = 64

// A Lookup is one of server.Tables.
type Lookup = func(dst, key []byte) ([]byte, error)

// Count returns lookup, counted. Direction is forward or reverse, and protocol
// one word; for two that were the same before, the numbers go on.
func (m *Metrics) Count(direction, protocol string, lookup Lookup) Lookup {
	labels, counters := m.counters(direction, protocol)
	lookup = m.histogram(labels).time(lookup)
	if direction == "reverse" {
		return func(dst, key []byte) ([]byte, error) {
			result, err := lookup(dst, key)
			counters[outcome(err)].Inc()
			return result, err
		}
	}
	return func(dst, key []byte) ([]byte, error) {
		result, err := lookup(dst, key)
		what := outcome(err)
		if what == rewritten {
			sender := result[len(dst):]
			switch {
			case bytes.Equal(sender, key): // tcp_table's way to leave it alone
				what = local
			case bytes.LastIndexByte(sender, '@') > longest:
				m.long.Inc()
			}
		}
		counters[what].Inc()
		return result, err
	}
}

// counters are those of the lookups with these labels, by outcome.
func (m *Metrics) counters(direction, protocol string) (labels string, counters [outcomes]*metrics.Counter) {
	labels = fmt.Sprintf("direction=%q,protocol=%q", direction, protocol)
	for i, name := range outcomeNames {
		counters[i] = m.set.GetOrCreateCounter(fmt.Sprintf("postsrsd_lookups_total{%s,outcome=%q}", labels, name))
	}
	return labels, counters
}

// Rules returns r, counted as protocol milter: the senders and recipients that
// it changes and the recipients that it refuses. What it leaves as it is was
// often not even looked up.
func (m *Metrics) Rules(r milter.Rules) milter.Rules {
	_, forward := m.counters("forward", "milter")
	_, reverse := m.counters("reverse", "milter")
	return milter.Rules{
		Refuse: func(recipient string) error {
			err := r.Refuse(recipient)
			if err != nil {
				reverse[outcome(err)].Inc()
			}
			return err
		},
		Change: func(queueID, sender string, recipients []string, more bool) (string, []string) {
			newSender, newRecipients := r.Change(queueID, sender, recipients, more)
			if newSender != "" {
				forward[rewritten].Inc()
				if strings.LastIndexByte(newSender, '@') > longest {
					m.long.Inc()
				}
			}
			for i, recipient := range newRecipients {
				if recipient != recipients[i] {
					reverse[rewritten].Inc()
				}
			}
			return newSender, newRecipients
		},
	}
}

// Tables returns t, counted.
func (m *Metrics) Tables(t server.Tables) server.Tables {
	return server.Tables{
		ForwardTCP:       m.Count("forward", "tcp", t.ForwardTCP),
		ReverseTCP:       m.Count("reverse", "tcp", t.ReverseTCP),
		ForwardSocketmap: m.Count("forward", "socketmap", t.ForwardSocketmap),
		ReverseSocketmap: m.Count("reverse", "socketmap", t.ReverseSocketmap),
	}
}
