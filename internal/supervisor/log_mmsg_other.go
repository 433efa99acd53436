//go:build !linux

package supervisor

import "net"

// maxDatagrams is how many messages are sent at a time.
const maxDatagrams = 64

// datagrams is what Linux has a system call for.
type datagrams struct{}

// send sends messages, each ending in one byte that is left out. It returns how
// many were sent before the error.
func (*datagrams) send(conn *net.UnixConn, msgs [][]byte) (sent int, err error) {
	for _, m := range msgs {
		if _, err := conn.Write(m[:len(m)-1]); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}
