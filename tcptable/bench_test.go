package tcptable

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

// endless repeats one request.
type endless struct {
	request string
	rest    string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.rest == "" {
		e.rest = e.request
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func BenchmarkServe(b *testing.B) {
	for _, bench := range []struct{ name, request string }{
		{"found", "get test@otherdomain.com\n"},
		{"encoded", "get caf%C3%A9%20x@otherdomain.com\n"},
		{"notfound", "get none\n"},
		{"malformed", "put test@otherdomain.com\n"},
		{"long", "get " + strings.Repeat("x", 2000) + "\n"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r := bufio.NewReaderSize(&endless{request: bench.request}, 512)
			b.ReportAllocs()
			for b.Loop() {
				if err := serveOne(r, io.Discard, 32768, echo); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
