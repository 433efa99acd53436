package metrics

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"postsrsd/internal/milter"
	"postsrsd/internal/rewrite"
	"postsrsd/internal/server"
	"postsrsd/srs"
)

// newMetrics counts lookups of example.com's, on a day in 2020.
func newMetrics(t testing.TB) (*Metrics, server.Tables) {
	t.Helper()
	codec, err := srs.New(srs.Options{Domain: "example.com", Secrets: [][]byte{[]byte("tops3cr3t")}, HashLength: 4, HashMinimum: 4, Separator: '=',
		Now: func() time.Time { return time.Unix(1577880000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	policy := rewrite.New(codec, []string{"excluded.example"}, []string{"own.example"}, func(int, []byte) {})
	m := New(func() server.Connections { return server.Connections{Open: 3, Waiting: 1, Accepted: 20, Delayed: 2} }, func() uint64 { return 5 })
	return m, m.Tables(server.Tables{
		ForwardTCP: policy.ForwardTCP, ForwardSocketmap: policy.ForwardSocketmap,
		ReverseTCP: policy.Reverse, ReverseSocketmap: policy.Reverse,
	})
}

func (m *Metrics) text() string {
	var text bytes.Buffer
	m.set.WritePrometheus(&text)
	return text.String()
}

const signed = "SRS0=vmyz=2W=otherdomain.com=test@example.com"

// TestOutcomes brings about every outcome of both directions, and looks that
// each is counted once, as what it is, and that nothing of an address shows.
func TestOutcomes(t *testing.T) {
	m, tables := newMetrics(t)
	for _, test := range []struct{ direction, key, outcome string }{
		{"forward", "test@otherdomain.com", "rewritten"},
		{"forward", "test@example.com", "local"},
		{"forward", "test@own.example", "local"},
		{"forward", "test@excluded.example", "local"},
		{"forward", signed, "already"},
		{"forward", `""`, "no_domain"},
		{"forward", "a=b@c=d.example", "refused"},
		{"forward", strings.Repeat("a", 1024) + "@otherdomain.com", "refused"},
		{"reverse", signed, "rewritten"},
		{"reverse", "test@example.com", "not_srs"},
		{"reverse", strings.Replace(signed, "vmyz", "vmyy", 1), "bad_hash"},
		{"reverse", strings.Replace(signed, "vmyz", "v", 1), "bad_hash"},
		{"reverse", strings.Replace(signed, "2W", "2A", 1), "expired"},
		{"reverse", "SRS0=bxzH=2W=1=DCJGDE6N24LCRT41A4T0G1UIF0DTKKQJ@example.com", "no_alias"},
		{"reverse", "SRS0=vmyz@example.com", "refused"},
	} {
		for protocol, lookup := range map[string]Lookup{
			"tcp":       map[string]Lookup{"forward": tables.ForwardTCP, "reverse": tables.ReverseTCP}[test.direction],
			"socketmap": map[string]Lookup{"forward": tables.ForwardSocketmap, "reverse": tables.ReverseSocketmap}[test.direction],
		} {
			labels := `direction="` + test.direction + `",protocol="` + protocol + `"`
			name := `postsrsd_lookups_total{` + labels + `,outcome="` + test.outcome + `"}`
			before := m.text()
			lookup([]byte("200 "), []byte(test.key))
			changed := difference(before, m.text())
			if changed[name] == "" {
				t.Errorf("%s %s %.80s: %v, want %s", test.direction, protocol, test.key, changed, name)
			}
			for n := range changed {
				if strings.HasPrefix(n, "postsrsd_lookups_total") && n != name || !strings.Contains(n, labels) && n != "postsrsd_long_local_parts_total" {
					t.Errorf("%s %s %.80s: %s is counted", test.direction, protocol, test.key, n)
				}
			}
		}
	}
	for _, stranger := range []string{"otherdomain", "example", "test", "SRS"} {
		if strings.Contains(m.text(), stranger) {
			t.Errorf("%s shows in\n%s", stranger, m.text())
		}
	}
}

// difference is what after has that before did not, by name.
func difference(before, after string) map[string]string {
	changed := map[string]string{}
	for line := range strings.Lines(after) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); !strings.Contains(before, line) {
			changed[name] = value
		}
	}
	return changed
}

// TestLongLocalParts counts what some hosts refuse, and no shorter.
func TestLongLocalParts(t *testing.T) {
	m, tables := newMetrics(t)
	room := 64 - len("SRS0=vmyz=2W=otherdomain.com=")
	for n, want := range map[int]string{room: "postsrsd_long_local_parts_total 0\n", room + 1: "postsrsd_long_local_parts_total 1\n"} {
		if n > room {
			tables.ForwardTCP(nil, []byte(strings.Repeat("a", n)+"@otherdomain.com"))
			tables.ReverseTCP(nil, []byte(strings.Repeat("a", 100)+"@otherdomain.com"))
		} else {
			fresh, tables := newMetrics(t)
			tables.ForwardSocketmap(nil, []byte(strings.Repeat("a", n)+"@otherdomain.com"))
			if !strings.Contains(fresh.text(), want) {
				t.Errorf("%d octets: want %s", n, want)
			}
			continue
		}
		if !strings.Contains(m.text(), want) {
			t.Errorf("%d octets: want %s", n, want)
		}
	}
}

// TestRules counts what a milter changes and refuses, and nothing else.
func TestRules(t *testing.T) {
	m, _ := newMetrics(t)
	long := strings.Repeat("x", 65) + "@example.com"
	r := m.Rules(milter.Rules{
		Refuse: func(recipient string) error {
			if recipient == "forged" {
				return srs.ErrHashInvalid
			}
			return nil
		},
		Change: func(queueID, sender string, recipients []string, more bool) (string, []string) {
			switch sender {
			case "long":
				return long, recipients
			case "back":
				return "", []string{"a", "c"}
			}
			return "", recipients
		},
	})
	if r.Refuse("forged") != srs.ErrHashInvalid || r.Refuse("a") != nil {
		t.Error("the error is another one")
	}
	if sender, _ := r.Change("", "long", []string{"a"}, false); sender != long {
		t.Errorf("the sender is %q", sender)
	}
	if _, recipients := r.Change("", "back", []string{"a", "b"}, false); !slices.Equal(recipients, []string{"a", "c"}) {
		t.Errorf("recipients %q", recipients)
	}
	r.Change("", "stays", []string{"a", "b"}, false)
	for line := range strings.Lines(m.text()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		want := "0"
		switch name {
		case `postsrsd_lookups_total{direction="forward",protocol="milter",outcome="rewritten"}`,
			`postsrsd_lookups_total{direction="reverse",protocol="milter",outcome="rewritten"}`,
			`postsrsd_lookups_total{direction="reverse",protocol="milter",outcome="bad_hash"}`,
			"postsrsd_long_local_parts_total":
			want = "1"
		}
		if (strings.Contains(name, "milter") || strings.Contains(name, "long")) && !strings.HasPrefix(name, "#") && value != want {
			t.Errorf("%s is %s, not %s", name, value, want)
		}
	}
}

// TestHistogram holds that each duration is in the buckets from its own on.
func TestHistogram(t *testing.T) {
	m, _ := newMetrics(t)
	h := m.histogram(`direction="forward",protocol="x"`)
	for _, d := range []time.Duration{0, time.Microsecond, time.Microsecond + 1, time.Second, time.Hour} {
		h.observe(d)
	}
	text := m.text()
	for _, want := range []string{
		`_bucket{direction="forward",protocol="x",le="1e-06"} 2`, `_bucket{direction="forward",protocol="x",le="2e-06"} 3`,
		`_bucket{direction="forward",protocol="x",le="0.1"} 3`, `_bucket{direction="forward",protocol="x",le="1"} 4`,
		`_bucket{direction="forward",protocol="x",le="+Inf"} 5`, `_count{direction="forward",protocol="x"} 5`, `_sum{direction="forward",protocol="x"} 3601.000002001`,
	} {
		if !strings.Contains(text, durations+want+"\n") {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

// TestSample holds which lookups are timed.
func TestSample(t *testing.T) {
	m, tables := newMetrics(t)
	for _, test := range []struct {
		lookups int
		timed   string
	}{{1, "1"}, {sample - 1, "1"}, {1, "2"}, {10 * sample, "12"}} {
		for range test.lookups {
			tables.ReverseTCP(nil, []byte("test@example.com"))
		}
		if want := durations + `_count{direction="reverse",protocol="tcp"} ` + test.timed + "\n"; !strings.Contains(m.text(), want) {
			t.Errorf("after %d more: want %s", test.lookups, want)
		}
	}
}

// TestToldAndSwapped holds what comes from elsewhere, and that what was counted
// before tables were swapped is counted still.
func TestToldAndSwapped(t *testing.T) {
	m, tables := newMetrics(t)
	m.Tell(Told{Generation: 4, Reloaded: 6, Refused: 7, LinesLost: 8})
	for range 2 {
		if strings.Contains(m.text(), "postsrsd_secret_") {
			t.Error("a secret has an age that nobody knows")
		}
		m.SecretChanged(time.Time{})
	}
	m.SecretChanged(time.Unix(1577880000, 5))
	tables.ForwardTCP(nil, []byte("test@otherdomain.com"))
	again := m.Tables(server.Tables{ForwardTCP: tables.ReverseTCP, ReverseTCP: tables.ReverseTCP, ForwardSocketmap: tables.ReverseTCP, ReverseSocketmap: tables.ReverseTCP})
	again.ForwardTCP(nil, []byte(signed))
	text := m.text()
	for _, want := range []string{
		"postsrsd_connections_open 3", "postsrsd_connections_waiting 1", "postsrsd_connections_accepted_total 20", "postsrsd_connections_delayed_total 2",
		"postsrsd_generation 4", `postsrsd_reloads_total{result="done"} 6`, `postsrsd_reloads_total{result="refused"} 7`,
		`postsrsd_log_lines_lost_total{by="supervisor"} 8`, `postsrsd_log_lines_lost_total{by="worker"} 5`, "postsrsd_secret_changed_timestamp_seconds 1577880000",
		`postsrsd_lookups_total{direction="forward",protocol="tcp",outcome="rewritten"} 2`, `postsrsd_lookup_duration_seconds_count{direction="forward",protocol="tcp"} 1`,
		"# TYPE postsrsd_lookups_total counter", "# TYPE postsrsd_lookup_duration_seconds histogram", "# TYPE postsrsd_connections_open gauge",
	} {
		if strings.Count("\n"+text, "\n"+want+"\n") != 1 {
			t.Errorf("%s is not once in\n%s", want, text)
		}
	}

	line := m.Line()
	for _, want := range []string{"connections_open=3 ", "generation=4 ", `lookups_total{direction="forward",protocol="tcp",outcome="rewritten"}=2 `} {
		if !strings.Contains(line+" ", want) {
			t.Errorf("%s is not in %s", want, line)
		}
	}
	if strings.ContainsAny(line, "\n#") || strings.Contains(line, "_bucket") || strings.Contains(line, "=0 ") || len(line) > 4000 {
		t.Errorf("%d bytes: %s", len(line), line)
	}
}

// BenchmarkCount is what counting costs a lookup: from many goroutines at once,
// as connections have it.
func BenchmarkCount(b *testing.B) {
	nothing := func(dst, key []byte) ([]byte, error) { return dst, srs.ErrNotSRS }
	m := New(nil, nil)
	for name, lookup := range map[string]Lookup{"off": nothing, "on": m.Count("reverse", "tcp", nothing)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				key := []byte("test@otherdomain.com")
				for pb.Next() {
					lookup(nil, key)
				}
			})
		})
	}
}
