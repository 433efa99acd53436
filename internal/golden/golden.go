// Package golden reads the tables of testdata/vectors for tests: what the
// daemons and libraries before us answered, byte for byte. It is strict: a
// column, an escape or a row it does not know ends the test.
package golden

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// A Row is one request to one program. Secret, Input and Output have their
// escapes undone.
type Row struct {
	Name      string // file:line
	Program   string
	Secret    string // the secret file
	Time      int64  // unix seconds
	Operation string
	Domain    string
	Options   []string
	Input     string
	Output    string
	Note      string
	Deviation string // the name of the deviation, in *.deviating.tsv
	Ours      string // our answer; Output unless the file says otherwise
}

const columns = "impl\tsecret\tunix_time\top\tsrs_domain\toptions\tinput\toutput\tnote"

// Read returns the rows of a file in testdata/vectors.
func Read(t testing.TB, file string) []Row {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../testdata/vectors", file))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	extra, known := strings.CutPrefix(lines[0], columns)
	if !known || extra != "" && extra != "\tdeviation" && extra != "\tdeviation\tours" {
		t.Fatalf("%s: unknown columns %q", file, lines[0])
	}
	var rows []Row
	for i, line := range lines[1:] {
		name := fmt.Sprintf("%s:%d", file, i+2)
		cells := strings.Split(line, "\t")
		if len(cells) != 9+strings.Count(extra, "\t") {
			t.Fatalf("%s: %d columns", name, len(cells))
		}
		if extra == "" {
			cells = append(cells, "")
		}
		if !strings.HasSuffix(extra, "ours") {
			cells = append(cells, cells[7])
		}
		unixTime, err := strconv.ParseInt(cells[2], 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rows = append(rows, Row{
			Name: name, Program: cells[0], Secret: unescape(t, name, cells[1]), Time: unixTime,
			Operation: cells[3], Domain: cells[4], Options: options(cells[5]),
			Input: unescape(t, name, cells[6]), Output: unescape(t, name, cells[7]),
			Note: strings.TrimSpace(cells[8]), Deviation: cells[9], Ours: unescape(t, name, cells[10]),
		})
	}
	if len(rows) == 0 {
		t.Fatalf("%s: no rows", file)
	}
	return rows
}

// options splits the flags of a row; one may hold spaces, as -Xa b does.
func options(cell string) []string {
	var flags []string
	for word := range strings.SplitSeq(cell, " ") {
		switch {
		case word == "" && len(flags) == 0:
		case strings.HasPrefix(word, "-") || len(flags) == 0:
			flags = append(flags, word)
		default:
			flags[len(flags)-1] += " " + word
		}
	}
	return flags
}

func unescape(t testing.TB, name, cell string) string {
	var b strings.Builder
	for i := 0; i < len(cell); i++ {
		if cell[i] != '\\' {
			b.WriteByte(cell[i])
			continue
		}
		i++
		if i == len(cell) {
			t.Fatalf("%s: escape cut off in %q", name, cell)
		}
		switch cell[i] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case '\\':
			b.WriteByte('\\')
		case 'x':
			octet, err := strconv.ParseUint(cell[min(i+1, len(cell)):min(i+3, len(cell))], 16, 8)
			if err != nil {
				t.Fatalf("%s: bad escape in %q", name, cell)
			}
			b.WriteByte(byte(octet))
			i += 2
		default:
			t.Fatalf("%s: unknown escape in %q", name, cell)
		}
	}
	return b.String()
}
