//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// describeMachine tells what the figures were measured on, without its name.
func describeMachine(ctx context.Context, root, peerVersion, load string) [][2]string {
	date, err := output(ctx, root, "git", "log", "-1", "--format=%cs")
	if err != nil {
		date = "unknown"
	}
	var kernel unix.Utsname
	release := "unknown"
	if unix.Uname(&kernel) == nil {
		release = unix.ByteSliceToString(kernel.Release[:])
	}
	processor := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := processorModel(string(text)); model != "" {
			processor = model
		}
	}
	return [][2]string{
		{"processor", fmt.Sprintf("%s, %d cores", processor, runtime.NumCPU())},
		{"kernel", "Linux " + release},
		{"Go", strings.TrimPrefix(runtime.Version(), "go")},
		{"compared with", "Debian's postsrsd " + peerVersion},
		{"load before", load},
		{"last commit", date},
	}
}

// loadAverage is that of the last minute. What else runs on the machine makes
// the figures swing.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}

// processorModel finds the first model name in the text of /proc/cpuinfo.
func processorModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// document is the text of BENCHMARKS.md.
func (r *report) document() string {
	cells := [][]string{{"", ""}}
	for _, fact := range r.machine {
		cells = append(cells, []string{fact[0], fact[1]})
	}
	idle := "No control group could be made: it is the whole system's (MemTotal less MemAvailable), with the client's\n" +
		"  half of the connections and whatever else the machine was doing."
	if r.plan.Group.Dir != "" {
		idle = "It is what the kernel charges to the daemon's control group: pages, page tables, kernel stacks, structures of\n" +
			"  processes and files, but not the sockets, which cost every server the same."
	}
	return fmt.Sprintf(`# Benchmarks

Written by %[1]smake bench%[1]s, which anyone can run; it takes some minutes. Nothing here is typed in by hand.

%[2]s
Ratios travel to another machine, absolute figures do not. Each figure is the median of %[3]d rounds of %[4]v a
measurement; a ratio is the median of the rounds' ratios, with the lowest and the highest in brackets.

## The daemon

%[5]s
- Both daemons run side by side, are asked in turn over loopback, and log every answer to a /dev/log that is read; the last
  row counts the lines that arrived. All %[6]s answers were compared with the one expected; one wrong answer ends the run.
- Half of the connections ask for foreign senders to be rewritten, half for what Debian's daemon signed to be turned back;
  %[7]s different addresses on either side, one request in flight for each connection. The two daemons gave the same
  rewritten address for every sender. %[8]s is tcp_table; Debian's speaks nothing else.
- The echo servers answer a constant and log nothing: what a server can reach while the client shares its cores.
- “Connect, ask, close” has %[9]d connections under way at a time.
- Memory for 1000 idle connections is what is in use with them, each having asked once, less what was in use before.
  %[10]s
- Memory at rest is the proportional set size of all the daemon's processes, started afresh and having answered once.
- “Start” runs from before the fork until the first answer has been read.

## The codec

%[11]s
Medians of %[12]d rounds of package srs's benchmarks; a round's figure is that of the fastest of %[13]d short runs. The HMAC-SHA1 is over the same bytes and yields the raw MAC.
`,
		"`", markdown(cells), r.plan.Rounds, r.plan.Duration, r.table(), grouped(float64(r.results.Answers)),
		grouped(senders), "“Ours”", connecting, idle, r.codecTable(), codecRounds, codecRuns)
}
