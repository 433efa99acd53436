package metrics

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

const durations = "postsrsd_lookup_duration_seconds"

// bounds are those of the buckets: from how long a lookup in memory takes to
// how long one that waits for others does.
var bounds = [...]time.Duration{
	1 * time.Microsecond, 2 * time.Microsecond, 5 * time.Microsecond, 10 * time.Microsecond, 20 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second,
}

// sample is how many lookups there are to one that is timed: two readings of
// the clock cost more than all that is counted.
const sample = 16

// began is what time is measured from: with it a reading of the clock needs no
// wall clock.
var began = time.Now()

// A histogram counts lookups by how long they take. The library's own has
// buckets that Prometheus does not know.
type histogram struct {
	labels  string
	asked   atomic.Uint64 // lookups, timed or not
	buckets [len(bounds) + 1]atomic.Uint64
	sum     atomic.Int64 // ns
}

// time returns lookup, of which the first is timed, and then each sample-th.
func (h *histogram) time(lookup Lookup) Lookup {
	return func(dst, key []byte) ([]byte, error) {
		if h.asked.Add(1)%sample != 1 {
			return lookup(dst, key)
		}
		start := time.Since(began)
		result, err := lookup(dst, key)
		h.observe(time.Since(began) - start)
		return result, err
	}
}

func (h *histogram) observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

func (m *Metrics) histogram(labels string) *histogram {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.histograms {
		if h.labels == labels {
			return h
		}
	}
	h := &histogram{labels: labels}
	m.histograms = append(m.histograms, h)
	return h
}

func (m *Metrics) writeHistograms(w io.Writer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.histograms) > 0 {
		metrics.WriteMetadataIfNeeded(w, durations, "histogram")
	}
	for _, h := range m.histograms {
		count := uint64(0)
		for i := range bounds {
			count += h.buckets[i].Load()
			fmt.Fprintf(w, "%s_bucket{%s,le=\"%g\"} %d\n", durations, h.labels, bounds[i].Seconds(), count)
		}
		count += h.buckets[len(bounds)].Load()
		fmt.Fprintf(w, "%s_bucket{%s,le=\"+Inf\"} %d\n", durations, h.labels, count)
		fmt.Fprintf(w, "%s_sum{%s} %g\n", durations, h.labels, time.Duration(h.sum.Load()).Seconds())
		fmt.Fprintf(w, "%s_count{%s} %d\n", durations, h.labels, count)
	}
}
