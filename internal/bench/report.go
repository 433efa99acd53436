//go:build linux

package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A unit tells how a figure is written.
type unit int

const (
	perSecond unit = iota
	duration       // nanoseconds
	memory         // bytes
	times
	count
	share // of the worst round
)

// An aim is a target: a limit to what ours has over what Debian's has, or to
// ours alone.
type aim struct {
	overPeer bool
	atMost   bool
	limit    float64
}

// A row of the table, and the metric of the results it shows.
type row struct {
	title, metric string
	unit          unit
	aim           *aim
}

var rows = []row{
	{"lookups/s, 1 connection", "lookups 1", perSecond, &aim{overPeer: true, limit: 1}},
	{"median latency, 1 connection", "p50 1", duration, nil},
	{"99th percentile, 1 connection", "p99 1", duration, nil},
	{"lookups/s, 16 connections", "lookups 16", perSecond, &aim{overPeer: true, limit: 1.8}},
	{"median latency, 16 connections", "p50 16", duration, nil},
	{"99th percentile, 16 connections", "p99 16", duration, nil},
	{"lookups/s, 128 connections", "lookups 128", perSecond, &aim{overPeer: true, limit: 2}},
	{"the same, against the echo server in Go", "of Go's", times, &aim{limit: .8}},
	{"the same, against the echo server in C", "of C's", times, &aim{limit: .8}},
	{"median latency, 128 connections", "p50 128", duration, nil},
	{"99th percentile, 128 connections", "p99 128", duration, &aim{overPeer: true, atMost: true, limit: .5}},
	{"connect, ask, close, per second", "reconnects", perSecond, &aim{overPeer: true, limit: 5}},
	{"lookups/s, 128 connections beside 1000 idle", "lookups beside idle", perSecond, nil},
	{"memory for 1000 idle connections", "idle", memory, &aim{overPeer: true, atMost: true, limit: .1}},
	{"memory at rest, all processes", "at rest", memory, &aim{atMost: true, limit: 16 << 20}},
	{"start until the first answer", "start", duration, nil},
	{"100 000 excluded domains: lookups/s, 16 connections", "lookups, excluding", perSecond, nil},
	{"the same, against none excluded", "excluding", times, &aim{limit: .95}},
	{"the same, start until the first answer", "start, excluding", duration, &aim{atMost: true, limit: float64(time.Second)}},
	{"log lines for an answer, worst round", "log lines", share, &aim{limit: .999}},
}

// The aims of the codec: time over that of a bare HMAC-SHA1, and allocations.
const (
	codecRatio       = 1.5
	codecAllocations = 0
)

type report struct {
	machine [][2]string // what, and which
	plan    plan
	results *results
	codec   map[string]codecFigures
}

// met reports whether the row's aim is; without figures it is not.
func (r *report) met(row row) bool {
	values := r.results.Values[row.metric]
	figures := values[ours]
	if row.aim.overPeer {
		figures = ratios(values[ours], values[peer])
	}
	switch {
	case len(figures) == 0:
		return false
	case row.aim.atMost:
		return row.unit.sum(figures) <= row.aim.limit
	default:
		return row.unit.sum(figures) >= row.aim.limit
	}
}

func (a *aim) text(u unit) string {
	if a.overPeer {
		u = times
	}
	if a.atMost {
		return "at most " + u.text(a.limit)
	}
	return "at least " + u.text(a.limit)
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// missed are the titles of the rows whose target is missed.
func (r *report) missed() []string {
	var titles []string
	for _, row := range rows {
		if row.aim != nil && !r.met(row) {
			titles = append(titles, row.title)
		}
	}
	for _, name := range []string{codecForward, codecReverse} {
		if _, met := r.codecFigure(name); !met {
			titles = append(titles, "codec, "+strings.ToLower(name))
		}
	}
	return titles
}

// table is what was measured of the servers.
func (r *report) table() string {
	columns := []string{peer, ours, oursSocketmap, echoServerGo, echoServerC}
	compared := []string{ours, oursSocketmap, echoServerC}
	if r.plan.EchoC == "" {
		columns, compared = columns[:len(columns)-1], compared[:len(compared)-1]
	}
	header := append([]string{""}, columns...)
	for _, target := range compared {
		header = append(header, strings.TrimPrefix(target, "ours, ")+" ÷ "+peer)
	}
	cells := [][]string{append(header, "target", "")}
	for _, row := range rows {
		values := r.results.Values[row.metric]
		line := []string{row.title}
		for _, target := range columns {
			line = append(line, row.unit.series(values[target]))
		}
		for _, target := range compared {
			line = append(line, spread(ratios(values[target], values[peer])))
		}
		if row.aim == nil {
			line = append(line, "", "")
		} else {
			line = append(line, row.aim.text(row.unit), verdict(r.met(row)))
		}
		cells = append(cells, line)
	}
	return markdown(cells)
}

// codecTable is what was measured of the codec.
func (r *report) codecTable() string {
	cells := [][]string{{"", "time", "bytes", "allocations", "÷ HMAC-SHA1", "target", ""}}
	for _, name := range []string{codecForward, codecReverse, codecHMAC} {
		f := r.codec[name]
		line := []string{
			map[string]string{codecForward: "forward", codecReverse: "reverse", codecHMAC: "HMAC-SHA1 alone"}[name],
			duration.series(f.nanoseconds), count.series(f.bytes), count.series(f.allocations),
		}
		quotients, met := r.codecFigure(name)
		if name == codecHMAC {
			line = append(line, "", "", "")
		} else {
			line = append(line, spread(quotients),
				fmt.Sprintf("at most %s, %d allocations", times.text(codecRatio), codecAllocations), verdict(met))
		}
		cells = append(cells, line)
	}
	return markdown(cells)
}

// codecFigure holds a benchmark against the codec's aims.
func (r *report) codecFigure(name string) (quotients []float64, met bool) {
	quotients = ratios(r.codec[name].nanoseconds, r.codec[codecHMAC].nanoseconds)
	return quotients, median(quotients) <= codecRatio && slices.Max(r.codec[name].allocations) <= codecAllocations
}

// tables is what goes to the terminal.
func (r *report) tables() string {
	return "\n" + r.table() + "\n" + r.codecTable()
}

// sum makes one figure of the rounds'.
func (u unit) sum(values []float64) float64 {
	if u == share {
		return slices.Min(values)
	}
	return median(values)
}

// series writes the rounds' figure, nothing when there are none.
func (u unit) series(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	return u.text(u.sum(values))
}

func (u unit) text(v float64) string {
	switch u {
	case perSecond:
		return grouped(v)
	case duration:
		for _, step := range []struct {
			size float64
			name string
		}{{1e9, " s"}, {1e6, " ms"}, {1e3, " µs"}} {
			if v >= step.size {
				return significant(v/step.size) + step.name
			}
		}
		return significant(v) + " ns"
	case memory:
		return strconv.FormatFloat(v/(1<<20), 'f', 1, 64) + " MiB"
	case times:
		return strconv.FormatFloat(v, 'f', 2, 64) + "×"
	case share:
		return strconv.FormatFloat(v, 'f', 3, 64)
	default:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
}

// spread writes the median of the rounds' ratios with the lowest and the
// highest, which tell how far to trust it.
func spread(quotients []float64) string {
	if len(quotients) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%.2f–%.2f)", times.text(median(quotients)), slices.Min(quotients), slices.Max(quotients))
}

// significant writes three digits, or all those before the point.
func significant(v float64) string {
	decimals := 2 - int(math.Floor(math.Log10(max(v, 1))))
	return strconv.FormatFloat(v, 'f', max(decimals, 0), 64)
}

// grouped rounds to three digits and sets the thousands apart.
func grouped(v float64) string {
	unit := math.Pow(10, max(math.Floor(math.Log10(max(v, 1)))-2, 0))
	digits := strconv.FormatFloat(math.Round(v/unit)*unit, 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + " " + digits[at:]
	}
	return digits
}

// markdown writes a table whose first line is its header, padded so that it
// reads well on a terminal too.
func markdown(cells [][]string) string {
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	rule := make([]string, len(widths))
	for i, width := range widths {
		rule[i] = strings.Repeat("-", width)
		if i > 0 && i < len(widths)-2 {
			rule[i] = rule[i][1:] + ":" // figures stand to the right
		}
	}
	var text strings.Builder
	for _, line := range slices.Insert(slices.Clone(cells), 1, rule) {
		for i, cell := range line {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 && i < len(widths)-2 {
				cell = padding + cell
			} else {
				cell += padding
			}
			text.WriteString("| " + cell + " ")
		}
		text.WriteString("|\n")
	}
	return text.String()
}
