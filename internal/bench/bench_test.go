//go:build linux

package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHistogramKeepsValuesWithinOnePart(t *testing.T) {
	for _, ns := range []int64{0, 1, 63, 64, 127, 128, 129, 1000, 65535, 65536, 1e6, 1e9, 30e9} {
		got := valueOf(bucketOf(ns))
		if off := max(got-ns, ns-got); off*subBuckets > ns {
			t.Errorf("%d ns is read back as %d", ns, got)
		}
	}
	for bucket := range len(histogram{}.counts) {
		if got := bucketOf(valueOf(bucket)); got != bucket {
			t.Fatalf("the middle of bucket %d falls into bucket %d", bucket, got)
		}
	}
	if got := bucketOf(1 << 62); got != len(histogram{}.counts)-1 {
		t.Errorf("an endless time falls into bucket %d, not the last", got)
	}
	if got := bucketOf(-1); got != 0 {
		t.Errorf("a negative time falls into bucket %d, not the first", got)
	}
}

func TestQuantile(t *testing.T) {
	var h, half histogram
	if got := h.quantile(.5); got != 0 {
		t.Errorf("median of nothing is %d", got)
	}
	for _, ns := range rand.Perm(1000) {
		if ns%2 == 0 {
			h.add(int64(ns+1) * 1000)
		} else {
			half.add(int64(ns+1) * 1000)
		}
	}
	h.merge(&half)
	for q, want := range map[float64]int64{0: 1000, .5: 500_000, .99: 990_000, 1: 1_000_000} {
		if got := h.quantile(q); max(got-want, want-got)*subBuckets > want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
}

func TestHistogramDoesNotAllocate(t *testing.T) {
	h := new(histogram)
	if n := testing.AllocsPerRun(100, func() { h.add(12345) }); n != 0 {
		t.Errorf("%v allocations for a value", n)
	}
}

func TestMedianAndRatios(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 9}, 3}} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("median left %v as %v", before, c.values)
		}
	}
	if got := ratios([]float64{6, 1, 8}, []float64{3, 0}); !slices.Equal(got, []float64{2}) {
		t.Errorf("ratios are %v, want [2]", got)
	}
}

func TestQuestions(t *testing.T) {
	const sender, rewritten = "u@example.net", "SRS0=a+/b=2W=example.net=u@srs.example"
	for _, c := range []struct {
		name                            string
		build                           func(string, string) (question, question)
		ask, answer, wrongHash, reverse string
	}{
		{"tcp_table", tcpQuestions, "get u@example.net\n", "200 " + rewritten + "\n",
			"200 SRS0=ZZZZ=ZZ=example.net=u@srs.example\n", "200 u@example.net\n"},
		{"socketmap", socketmapQuestions, "21:forward u@example.net,", "41:OK " + rewritten + ",",
			"41:OK SRS0=ZZZZ=ZZ=example.net=u@srs.example,", "16:OK u@example.net,"},
	} {
		t.Run(c.name, func(t *testing.T) {
			forward, reverse := c.build(sender, rewritten)
			if string(forward.ask) != c.ask {
				t.Errorf("asks %q, want %q", forward.ask, c.ask)
			}
			for i := range len(c.answer) {
				if whole, err := forward.check([]byte(c.answer[:i])); whole || err != nil {
					t.Fatalf("%q: whole %v, %v", c.answer[:i], whole, err)
				}
			}
			for _, right := range []string{c.answer, c.wrongHash} {
				if whole, err := forward.check([]byte(right)); !whole || err != nil {
					t.Errorf("%q: whole %v, %v", right, whole, err)
				}
			}
			if whole, err := reverse.check([]byte(c.reverse)); !whole || err != nil {
				t.Errorf("%q: whole %v, %v", c.reverse, whole, err)
			}
			for _, wrong := range []string{
				"500 Not an SRS address.\n", "40:NOTFOUND Need not rewrite local domain..", "x",
				c.answer + "x", strings.Replace(c.answer, "=u@", "=v@", 1),
			} {
				if _, err := forward.check([]byte(wrong)); err == nil {
					t.Errorf("%q passes for an answer", wrong)
				}
			}
			if _, err := reverse.check([]byte(strings.Replace(c.reverse, "u@", "v@", 1))); err == nil {
				t.Error("another sender passes for the one signed")
			}
		})
	}
}

func TestSendersDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for i := range senders {
		seen[sender(i)] = true
		_, domain, _ := strings.Cut(sender(i), "@")
		seen[domain] = true
	}
	if len(seen) != 2*senders {
		t.Errorf("%d different addresses and domains, want %d", len(seen), 2*senders)
	}
}

func TestExclusionsFitTheKernelsLimits(t *testing.T) {
	flags := exclusions(excludedDomains)
	total, domains := 0, 0
	for _, flag := range flags {
		list, found := strings.CutPrefix(flag, "-X")
		if !found || len(flag) > 128<<10 {
			t.Fatalf("flag of %d bytes: %.20q", len(flag), flag)
		}
		total += len(flag) + 1 + 8
		domains += len(strings.Split(list, ","))
	}
	if domains != excludedDomains {
		t.Errorf("%d domains, want %d", domains, excludedDomains)
	}
	if total > 1900<<10 { // a quarter of the usual stack limit, less an environment
		t.Errorf("%d bytes of arguments", total)
	}
}

func TestMemoryGroup(t *testing.T) {
	// Plain directories stand for the two versions' layouts: a group made in them
	// has no file that tells its use, and must be taken back.
	for _, c := range []struct{ name, parent string }{{"version 2", ""}, {"version 1", "memory"}, {"none", "-"}} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			if c.parent != "-" {
				parent := filepath.Join(root, c.parent)
				if err := os.MkdirAll(parent, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(parent, "cgroup.procs"), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := newMemoryGroup(root, "group"); got != (memoryGroup{}) {
				t.Errorf("a group without a memory controller: %+v", got)
			}
			left, err := filepath.Glob(filepath.Join(root, "*/group"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
	argv := []string{"daemon", "-x"}
	if got := (memoryGroup{}).enclose(argv); !slices.Equal(got, argv) {
		t.Errorf("without a group %q is run", got)
	}
}

func TestOwnMemory(t *testing.T) {
	size, err := proportional(os.Getpid())
	if err != nil || size < 1<<20 || size > 1<<30 {
		t.Errorf("this process has %v bytes, %v", size, err)
	}
	used, err := memoryGroup{}.used()
	if err != nil || used < 16<<20 {
		t.Errorf("the system has %v bytes in use, %v", used, err)
	}
	if _, err := kilobytes([]byte("MemTotal: many kB\n"), "MemTotal:"); err == nil {
		t.Error("no error for a size that is no number")
	}
	if _, err := kilobytes([]byte("MemFree: 1 kB\n"), "MemTotal:"); err == nil {
		t.Error("no error for a line that is not there")
	}
}

func TestStartTellsOfAProgramThatEnds(t *testing.T) {
	nobody := endpoint{port: 1}
	p, _, err := start([]string{"/bin/sh", "-c", "echo no secret >&2; exit 3"}, &nobody)
	if err == nil {
		t.Fatal("it is taken for a server", p.stop())
	}
	if !strings.Contains(err.Error(), "ended at once: exit status 3: no secret") {
		t.Errorf("error %q", err)
	}
}

func TestParseCodec(t *testing.T) {
	const text = "goos: linux\npkg: postsrsd/srs\n" +
		"BenchmarkForward-2   \t 1000000\t       310.5 ns/op\t       0 B/op\t       0 allocs/op\n" +
		"BenchmarkForward-2   \t 1000000\t       300 ns/op\t       16 B/op\t       1 allocs/op\n" +
		"BenchmarkReverse \t 1000000\t       290 ns/op\t 4.5 MB/s\t       0 B/op\t       0 allocs/op\n" +
		"BenchmarkHMAC-16 \t 1000000\t       200 ns/op\t       0 B/op\t       0 allocs/op\nPASS\n"
	got, err := parseCodec(text)
	if err != nil {
		t.Fatal(err)
	}
	if f := got[codecForward]; !slices.Equal(f.nanoseconds, []float64{310.5, 300}) || !slices.Equal(f.allocations, []float64{0, 1}) ||
		!slices.Equal(f.bytes, []float64{0, 16}) {
		t.Errorf("forward: %+v", f)
	}
	if f := got[codecReverse]; !slices.Equal(f.nanoseconds, []float64{290}) {
		t.Errorf("reverse: %+v", f)
	}
	if _, err := parseCodec(strings.ReplaceAll(text, "HMAC", "Other")); err == nil {
		t.Error("no error without the HMAC's figures")
	}
}

func TestUnits(t *testing.T) {
	for _, c := range []struct {
		unit  unit
		value float64
		want  string
	}{
		{perSecond, 0, "0"}, {perSecond, 999, "999"}, {perSecond, 58_912, "58 900"}, {perSecond, 999_999, "1 000 000"},
		{perSecond, 1_234_567, "1 230 000"},
		{duration, 12, "12.0 ns"}, {duration, 812_345, "812 µs"}, {duration, 1_900_000, "1.90 ms"}, {duration, 2.5e9, "2.50 s"},
		{memory, 16 << 20, "16.0 MiB"}, {times, .5, "0.50×"}, {count, 8, "8"}, {share, 1, "1.000"}, {share, .999, "0.999"},
	} {
		if got := c.unit.text(c.value); got != c.want {
			t.Errorf("%v is written %q, want %q", c.value, got, c.want)
		}
	}
	if got := perSecond.series(nil); got != "" {
		t.Errorf("no values are written %q", got)
	}
	if got, want := share.series([]float64{1, .96, 1}), "0.960"; got != want {
		t.Errorf("the worst round is written %q, want %q", got, want)
	}
	if got, want := spread([]float64{3, 1, 2}), "2.00× (1.00–3.00)"; got != want {
		t.Errorf("spread %q, want %q", got, want)
	}
}

// figures are results in which every target is met just so.
func figures() *report {
	r := &report{
		machine: [][2]string{{"processor", "one, 2 cores"}},
		plan:    plan{Rounds: 3, Duration: time.Second, EchoC: "echo"},
		results: &results{Values: make(map[string]map[string][]float64)},
		codec: map[string]codecFigures{
			codecForward: {[]float64{300}, []float64{0}, []float64{0}},
			codecReverse: {[]float64{290}, []float64{0}, []float64{0}},
			codecHMAC:    {[]float64{200}, []float64{0}, []float64{0}},
		},
	}
	for _, row := range rows {
		value := 1000.0
		if row.aim != nil {
			value = row.aim.limit
			if row.aim.overPeer {
				value *= 1000
			}
		}
		r.results.record(row.metric, ours, value)
		r.results.record(row.metric, peer, 1000)
	}
	return r
}

func TestTargets(t *testing.T) {
	if missed := figures().missed(); len(missed) != 0 {
		t.Fatalf("missed at the limit: %q", missed)
	}
	for _, row := range rows {
		if row.aim == nil {
			continue
		}
		r := figures()
		value := &r.results.Values[row.metric][ours][0]
		*value *= .99
		if row.aim.atMost {
			*value *= 1.03
		}
		if missed := r.missed(); !slices.Equal(missed, []string{row.title}) {
			t.Errorf("%s just off its target: missed are %q", row.title, missed)
		}
		if !strings.Contains(r.tables(), "MISSED") {
			t.Errorf("%s just off its target: the table does not say so", row.title)
		}
	}
	for _, name := range []string{codecForward, codecReverse} {
		slow, greedy := figures(), figures()
		slow.codec[name] = codecFigures{[]float64{301}, []float64{0}, []float64{0}}
		greedy.codec[name] = codecFigures{[]float64{300}, []float64{8}, []float64{0, 1}}
		for _, r := range []*report{slow, greedy} {
			if missed := r.missed(); len(missed) != 1 {
				t.Errorf("codec, %s: missed are %q", name, missed)
			}
		}
	}
}

func TestMissingFiguresMissTheTarget(t *testing.T) {
	for _, row := range rows {
		if row.aim == nil {
			continue
		}
		r := figures()
		delete(r.results.Values, row.metric)
		if missed := r.missed(); !slices.Equal(missed, []string{row.title}) {
			t.Errorf("%s without figures: missed are %q", row.title, missed)
		}
	}
}

func TestDocument(t *testing.T) {
	r := figures()
	text := r.document()
	if strings.Contains(text, "%!") {
		t.Errorf("a figure is missing:\n%s", text)
	}
	for _, part := range []string{r.table(), r.codecTable(), "one, 2 cores", "whole system", "3 rounds of 1s"} {
		if !strings.Contains(text, part) {
			t.Errorf("the document lacks %q", part)
		}
	}
	r.plan.Group.Dir = "group"
	if text := r.document(); !strings.Contains(text, "control group") || strings.Contains(text, "whole system") {
		t.Error("the document does not tell that a control group was measured")
	}
	r.plan.EchoC = ""
	if strings.Contains(r.table(), echoServerC) {
		t.Error("a column for a server that was not there")
	}
}

func TestMarkdown(t *testing.T) {
	got := markdown([][]string{{"", "a", "target", ""}, {"µs", "1", "at least", "met"}})
	want := "" +
		"|     |   a | target   |     |\n" +
		"| --- | --: | -------- | --- |\n" +
		"| µs  |   1 | at least | met |\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestProcessorModel(t *testing.T) {
	if got := processorModel("processor\t: 0\nmodel name\t: A B: C\nmodel name\t: D\n"); got != "A B: C" {
		t.Errorf("model %q", got)
	}
	if got := processorModel("BogoMIPS: 50\n"); got != "" {
		t.Errorf("model %q where there is none", got)
	}
}
