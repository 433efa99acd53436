package server

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// One request in flight on each connection, client and server in one process.
func BenchmarkLookups(b *testing.B) {
	for _, protocol := range []struct{ name, request, reply string }{
		{"tcp_table", "get test@otherdomain.com\n", "200 f:test@otherdomain.com\n"},
		{"socketmap", "28:forward test@otherdomain.com,", "25:OK F:test@otherdomain.com,"},
	} {
		for _, connections := range []int{1, 16, 128} {
			b.Run(fmt.Sprintf("%s/%d", protocol.name, connections), func(b *testing.B) {
				f := start(b, Config{Tables: tables("")}, nil)
				clients := make([]net.Conn, connections)
				for i := range clients {
					clients[i] = dial(b, f.addr[Forward]).Conn
				}
				b.ReportAllocs()
				b.ResetTimer()
				var asking sync.WaitGroup
				for i, c := range clients {
					n := b.N / connections
					if i < b.N%connections {
						n++
					}
					asking.Go(func() {
						request, reply := []byte(protocol.request), make([]byte, 100)
						for range n {
							c.Write(request)
							if n, err := c.Read(reply); string(reply[:n]) != protocol.reply {
								b.Errorf("got %q, %v", reply[:n], err)
								return
							}
						}
					})
				}
				asking.Wait()
				b.StopTimer()
			})
		}
	}
}

// Connect, ask, read the reply, close.
func BenchmarkConnections(b *testing.B) {
	f := start(b, Config{Tables: tables("")}, nil)
	request, reply := []byte("get a@b\n"), make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.Dial("tcp", f.addr[Forward].String())
		if err != nil {
			b.Fatal(err)
		}
		c.Write(request)
		if n, err := c.Read(reply); string(reply[:n]) != "200 f:a@b\n" {
			b.Fatalf("got %q, %v", reply[:n], err)
		}
		c.(*net.TCPConn).SetLinger(0) // leaves no port in TIME_WAIT
		c.Close()
	}
}
