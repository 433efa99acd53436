//go:build linux

package main

import (
	"math/bits"
	"slices"
)

// A histogram counts durations in nanoseconds without allocating: every power
// of two is cut into 64 equal buckets, so that a value read back is at most
// 1/64 off.
type histogram struct {
	counts [subBuckets * 36]uint64
	total  uint64
}

const subBuckets = 64

func bucketOf(ns int64) int {
	v := uint64(max(ns, 0))
	shift := max(bits.Len64(v)-7, 0) // v>>shift is below 2*subBuckets
	return min(shift*subBuckets+int(v>>shift), len(histogram{}.counts)-1)
}

// valueOf is the middle of a bucket, the inverse of bucketOf.
func valueOf(bucket int) int64 {
	shift := max(bucket/subBuckets-1, 0)
	low := int64(bucket-shift*subBuckets) << shift
	return low + int64(1)<<shift/2
}

func (h *histogram) add(ns int64) {
	h.counts[bucketOf(ns)]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// quantile is the duration in nanoseconds that the share q of all values does
// not exceed; 0 for an empty histogram.
func (h *histogram) quantile(q float64) int64 {
	rank := uint64(q * float64(h.total))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= max(rank, 1) {
			return valueOf(i)
		}
	}
	return 0
}

// median of no values is 0.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// ratios divides two series round by round: what stood next to each other in
// time is compared, so that a slow minute of the machine slows both sides.
func ratios(over, under []float64) []float64 {
	var quotients []float64
	for i := range min(len(over), len(under)) {
		if under[i] != 0 {
			quotients = append(quotients, over[i]/under[i])
		}
	}
	return quotients
}
