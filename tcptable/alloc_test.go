//go:build !race

// The race detector allocates, and makes sync.Pool drop things at random.

package tcptable

import (
	"bufio"
	"io"
	"testing"
)

// A request costs no allocation, whatever comes of it.
func TestServeAllocates(t *testing.T) {
	for _, request := range []string{"get test@otherdomain.com\n", "get a%20b@c\n", "get none\n", "get later\n", "\n"} {
		r := bufio.NewReaderSize(&endless{request: request}, 512)
		n := testing.AllocsPerRun(1000, func() {
			if err := serveOne(r, io.Discard, 32768, echo); err != nil {
				t.Fatal(err)
			}
		})
		if n >= 1 {
			t.Errorf("%q: %v allocations", request, n)
		}
		whole, reply := []byte(request), make([]byte, 0, 1000)
		n = testing.AllocsPerRun(1000, func() {
			if _, ok := Answer(reply, whole, 32768, echo); !ok {
				t.Fatal(request)
			}
		})
		if n >= 1 {
			t.Errorf("%q: Answer: %v allocations", request, n)
		}
	}
}
