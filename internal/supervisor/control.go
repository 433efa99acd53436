package supervisor

import (
	"encoding/gob"
	"net"
	"os"
	"sync"
	"time"

	"postsrsd/internal/config"
	"postsrsd/internal/metrics"
	"postsrsd/internal/privilege"
	"postsrsd/internal/server"
)

// The two halves talk over a stream socket that the worker finds as file
// descriptor controlFD; its listeners follow. The supervisor gives orders, one
// after the other, and the worker answers each. The end of the stream ends the
// worker: it is how it learns that the supervisor is no more.
const (
	controlFD       = 3
	firstListenerFD = 4
)

// An order asks the worker for one thing.
type order struct {
	Start  *start         // the first order, and only that
	Config *config.Config // swap this in
	Told   *metrics.Told  // with any of them
	Report bool           // log the metrics
	Drain  bool           // finish what is in hand, then end
	Linger bool           // with Drain: for as long as MTAs keep connections to the milter
}

// start is what a worker needs to begin.
type start struct {
	Config     *config.Config
	Jail       privilege.Jail
	Directions []server.Direction // of the listeners, in their order
}

// An answer says how the order went; an order that asks for nothing finds out
// whether the worker is well.
type answer struct {
	Err      string
	Warnings []string
}

// A channel is either end of the control stream. Send may be called from one
// goroutine and receive from another.
type channel struct {
	conn net.Conn
	enc  *gob.Encoder
	dec  *gob.Decoder
	once sync.Once
}

func newChannel(f *os.File) (*channel, error) {
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	return &channel{conn: conn, enc: gob.NewEncoder(conn), dec: gob.NewDecoder(conn)}, nil
}

// send gives up after a while: a worker that does not read is hung, and the
// supervisor must not wait for it.
func (c *channel) send(message any) error {
	c.conn.SetWriteDeadline(time.Now().Add(controlTimeout))
	return c.enc.Encode(message)
}

func (c *channel) receive(message any) error { return c.dec.Decode(message) }

func (c *channel) close() { c.once.Do(func() { c.conn.Close() }) }
