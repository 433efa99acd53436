//go:build linux

package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// The benchmarks of package srs.
const (
	codecForward = "Forward"
	codecReverse = "Reverse"
	codecHMAC    = "HMAC" // one bare HMAC-SHA1 over the same bytes
)

// codecFigures are a benchmark's values, one for each run or round.
type codecFigures struct {
	nanoseconds, bytes, allocations []float64
}

const (
	codecRounds = 9
	codecRuns   = 100 // in every round, each short enough to find the machine still
)

// measureCodec runs the benchmarks of package srs, one after the other in every
// round. A round's figure is that of the fastest run: what is slower measures
// what else goes on.
func measureCodec(ctx context.Context, root string) (map[string]codecFigures, error) {
	rounds := make(map[string]codecFigures)
	for range codecRounds {
		text, err := output(ctx, root, "go", "test", "-run=^$", "-bench=^Benchmark(Forward|Reverse|HMAC)$",
			"-benchmem", "-benchtime=3000x", "-count="+strconv.Itoa(codecRuns), "./srs")
		if err != nil {
			return nil, fmt.Errorf("benchmarks of the codec: %w", err)
		}
		runs, err := parseCodec(text)
		if err != nil {
			return nil, err
		}
		for name, f := range runs {
			all := rounds[name]
			all.nanoseconds = append(all.nanoseconds, slices.Min(f.nanoseconds))
			all.bytes = append(all.bytes, slices.Max(f.bytes))
			all.allocations = append(all.allocations, slices.Max(f.allocations))
			rounds[name] = all
		}
	}
	return rounds, nil
}

var benchmarkLine = regexp.MustCompile(
	`(?m)^Benchmark(\w+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op(?:\s+[\d.]+ MB/s)?\s+(\d+) B/op\s+(\d+) allocs/op$`)

func parseCodec(text string) (map[string]codecFigures, error) {
	figures := make(map[string]codecFigures)
	for _, match := range benchmarkLine.FindAllStringSubmatch(text, -1) {
		var values [3]float64
		for i, digits := range match[2:] {
			value, err := strconv.ParseFloat(digits, 64)
			if err != nil {
				return nil, fmt.Errorf("benchmarks of the codec: %q: %w", match[0], err)
			}
			values[i] = value
		}
		f := figures[match[1]]
		f.nanoseconds = append(f.nanoseconds, values[0])
		f.bytes = append(f.bytes, values[1])
		f.allocations = append(f.allocations, values[2])
		figures[match[1]] = f
	}
	for _, name := range []string{codecForward, codecReverse, codecHMAC} {
		if len(figures[name].nanoseconds) == 0 {
			return nil, fmt.Errorf("benchmarks of the codec: no figures of Benchmark%s in:\n%s", name, text)
		}
	}
	return figures, nil
}
