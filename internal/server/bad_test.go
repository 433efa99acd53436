package server

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	invalidRequest = "500 Invalid request\n"
	invalidQuery   = "19:PERM Invalid query.,"
	invalidMap     = "17:PERM Invalid map.,"
	queryTooBig    = "17:NOTFOUND Too big.,"
	nulQuery       = "23:NOTFOUND Invalid query.,"
)

func repeat(s string, n int) string { return strings.Repeat(s, n) }

// What a TLS client says first, as bytes of a real one.
const clientHello = "\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" +
	"\x51\x9d\x17\x00\xff\x21\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc" +
	"\xdd\xee\xff\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc" +
	"\x00\x00\x04\x13\x01\x00\x2f\x01\x00"

// badInputs are sent to every listener. What follows the reply is told by the
// flags; with neither of them the connection goes on.
var badInputs = []struct {
	name, input, reply string
	half               bool // the client then shuts its sending side
	closes             bool // the server then closes
}{
	// Lines that are no tcp_table request.
	{"blank line", "\n", invalidRequest, false, false},
	{"blank line with CR", "\r\n", invalidRequest, false, false},
	{"CR alone", "\r", invalidRequest, true, true},
	{"spaces", "    \n", invalidRequest, false, false},
	{"get", "get\n", invalidRequest, false, false},
	{"get and space", "get \n", invalidRequest, false, false},
	{"get and space and CR", "get \r\n", invalidRequest, false, false},
	{"get and tab", "get\ta@b\n", invalidRequest, false, false},
	{"tab first", "\tget a@b\n", invalidRequest, false, false},
	{"capitals", "GET a@b\n", invalidRequest, false, false},
	{"mixed case", "Get a@b\n", invalidRequest, false, false},
	{"put", "put a@b c\n", invalidRequest, false, false},
	{"longer verb", "gets a@b\n", invalidRequest, false, false},
	{"no verb", "a@b\n", invalidRequest, false, false},
	{"bare per cent", "get %\n", invalidRequest, false, false},
	{"per cent at the end", "get a@b%\n", invalidRequest, false, false},
	{"half an escape", "get a@b%4\n", invalidRequest, false, false},
	{"escape of letters", "get a%zz@b\n", invalidRequest, false, false},
	{"signed escape", "get a%+1@b\n", invalidRequest, false, false},
	{"two per cents", "get %%\n", invalidRequest, false, false},
	{"unicode escape", "get %u0041\n", invalidRequest, false, false},
	{"NUL", "get a\x00b@c\n", invalidRequest, false, false},
	{"escaped NUL", "get a%00b@c\n", invalidRequest, false, false},
	{"NULs alone", "\x00\x00\x00\x00\n", invalidRequest, false, false},
	{"escaped NUL alone", "get %00\n", invalidRequest, false, false},
	{"binary", "\xff\xfe\xfd\x80\x81\n", invalidRequest, false, false},
	{"byte order mark", "\xef\xbb\xbfget a@b\n", invalidRequest, false, false},
	{"minus sign first", "-8:forward a,\n", invalidRequest, false, false},
	{"plus sign first", "+8:forward a,\n", invalidRequest, false, false},
	{"colon first", ":forward a,\n", invalidRequest, false, false},
	{"space and netstring", " 9:forward a,\n", invalidRequest, false, false},
	{"many blank lines", repeat("\n", 100), repeat(invalidRequest, 100), false, false},
	{"unterminated garbage", "garbage", invalidRequest, true, true},
	{"unterminated get", "get", invalidRequest, true, true},
	{"unterminated get and space", "get ", invalidRequest, true, true},
	{"unterminated escape", "get a%4", invalidRequest, true, true},

	// Lines of other protocols.
	{"HTTP", "GET / HTTP/1.1\r\nHost: localhost:10001\r\nAccept: */*\r\n\r\n", repeat(invalidRequest, 4), false, false},
	{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", repeat(invalidRequest, 4), false, false},
	{"SMTP", "EHLO mail.example.com\r\nMAIL FROM:<a@b>\r\nQUIT\r\n", repeat(invalidRequest, 3), false, false},
	{"SMTP greeting", "220 mail.example.com ESMTP Postfix\r\n", invalidQuery, false, true},
	{"TLS", clientHello, invalidRequest, true, true},
	{"TLS with a line end in it", clientHello + "\n" + clientHello, repeat(invalidRequest, 2), true, true},
	{"SSH", "SSH-2.0-OpenSSH_9.2p1\r\n", invalidRequest, false, false},
	{"PROXY protocol", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", invalidRequest, false, false},
	{"policy delegation", "request=smtpd_access_policy\nsender=a@b\n\n", repeat(invalidRequest, 3), false, false},

	// Lines that are too long.
	{"line just too long", "get " + repeat("x", DefaultMaxRequest) + "\n", invalidRequest, false, true},
	{"spaces just too long", repeat(" ", DefaultMaxRequest) + "get a\n", invalidRequest, false, true},
	{"escapes too long", "get " + repeat("%20", DefaultMaxRequest/3) + "\n", invalidRequest, false, true},
	{"a megabyte without newline", "get " + repeat("x", 1<<20), invalidRequest, false, true},
	{"a megabyte, then a request", "get " + repeat("x", 1<<20) + "\nget a@b\n", invalidRequest, false, true},
	{"a megabyte of NULs", repeat("\x00", 1<<20), invalidRequest, false, true},
	{"a megabyte, half closed", repeat("x", 1<<20), invalidRequest, true, true},

	// What begins with a digit and is no netstring.
	{"twenty digits", "18446744073709551624:forward a,", invalidQuery, false, true},
	{"a gibibyte", "1073741824:forward a,", invalidQuery, false, true},
	{"over the protocol's limit", "100001:" + repeat("x", 100001) + ",", invalidQuery, false, true},
	{"negative zero", "0-1:forward a,", invalidQuery, false, true},
	{"leading zero", "09:forward a,", invalidQuery, false, true},
	{"hexadecimal", "0x9:forward a,", invalidQuery, false, true},
	{"exponent", "9e0:forward a,", invalidQuery, false, true},
	{"space in the length", "9 :forward a,", invalidQuery, false, true},
	{"NUL in the length", "9\x00:forward a,", invalidQuery, false, true},
	{"no colon", "9forward a,", invalidQuery, false, true},
	{"no length but digits", repeat("9", 1<<20), invalidQuery, false, true},
	{"zeros", repeat("0", 1<<20), invalidQuery, false, true},
	{"missing comma", "9:forward a;", invalidQuery, false, true},
	{"length too small", "8:forward a,", invalidQuery, false, true},
	{"length too large", "10:forward a,x", invalidQuery, false, true},
	{"line end for a comma", "9:forward a\n", invalidQuery, false, true},
	{"empty", "0:,", invalidQuery, false, true},
	{"no space", "7:forward,", invalidQuery, false, true},
	{"tab for a space", "9:forward\ta,", invalidQuery, false, true},
	{"trailing garbage", "9:forward a,garbage", "6:OK F:a," + invalidQuery, false, true},
	{"trailing line end", "9:forward a,\r\n", "6:OK F:a," + invalidQuery, false, true},
	{"tcp_table after a netstring", "9:forward a,get a@b\n", "6:OK F:a," + invalidQuery, false, true},
	{"truncated length", "9", invalidQuery, true, true},
	{"truncated at the colon", "9:", invalidQuery, true, true},
	{"truncated", "9:forwa", invalidQuery, true, true},
	{"truncated at the comma", "9:forward a", invalidQuery, true, true},

	// Netstrings that ask for nothing we have.
	{"unknown map", "10:sideways a,", invalidMap, false, false},
	{"map in capitals", "9:FORWARD a,", invalidMap, false, false},
	{"no map", "2: a,", invalidMap, false, false},
	{"long map name", "1002:" + repeat("m", 1000) + " a,", invalidMap, false, false},
	{"NUL in the map name", "10:forward\x00 a,", invalidMap, false, false},
	{"NUL in the key", "11:forward a\x00b,", nulQuery, false, false},
	{"NUL for a key", "9:forward \x00,", nulQuery, false, false},
	{"too big", "99999:" + repeat("x", 99999) + ",", queryTooBig, false, false},
	{"too big, twice", repeat("40000:"+repeat("x", 40000)+",", 2), repeat(queryTooBig, 2), false, false},
	{"too big, missing comma", "40000:" + repeat("x", 40001), invalidQuery, false, true},
}

// Each bad input is sent at once and byte by byte. It gets its reply, the
// connection ends in order or goes on, and other connections do not notice.
func TestBadInput(t *testing.T) {
	if len(badInputs) < 60 {
		t.Fatalf("only %d bad inputs", len(badInputs))
	}
	f := start(t, Config{Tables: tables("")}, nil)
	tcp, smap := dial(t, f.addr[Reverse]), dial(t, f.addr[Socketmap])
	for _, bad := range badInputs {
		for _, mode := range []string{"at once", "byte by byte"} {
			if mode == "byte by byte" && len(bad.input) > 1100 {
				continue
			}
			t.Run(bad.name+" "+mode, func(t *testing.T) {
				p := dial(t, f.addr[Forward])
				if mode == "at once" {
					p.sendAnyway(bad.input)
				} else {
					for i := range len(bad.input) {
						p.sendAnyway(bad.input[i : i+1])
					}
				}
				if bad.half {
					p.closeWrite()
				}
				p.expect(bad.reply)
				switch {
				case bad.closes:
					p.expectEnd()
				case bad.reply[0] >= '0' && bad.reply[0] <= '9' && bad.reply[3] != ' ':
					p.ask("9:forward b,", "6:OK F:b,")
				default:
					p.ask("get b\n", "200 f:b\n")
				}
				tcp.ask("get c\n", "200 r:c\n")
				smap.ask("9:forward c,", "6:OK F:c,")
			})
		}
	}
}

// sendAnyway sends to a server that may have hung up already.
func (p *peer) sendAnyway(s string) { p.Conn.Write([]byte(s)) }

// On a listener for socketmap alone nothing else is understood.
func TestBadInputSocketmap(t *testing.T) {
	f := start(t, Config{Tables: tables("")}, nil)
	for _, input := range []string{"get a@b\n", "\n", clientHello, "GET / HTTP/1.1\r\n\r\n", "-9:forward a,", ":"} {
		p := dial(t, f.addr[Socketmap])
		p.ask(input, invalidQuery)
		p.expectEnd()
	}
}

// Clients that are not heard of again: each ends by itself or by the limits,
// and nobody else notices.
func TestBadClients(t *testing.T) {
	f := start(t, Config{Tables: tables(""), IdleTimeout: 100 * time.Millisecond}, func(s *Server) {
		s.requestTimeout = 50 * time.Millisecond
		s.writeTimeout = 50 * time.Millisecond
	})
	for _, bad := range []struct {
		name string
		do   func(p *peer)
	}{
		{"silent", func(p *peer) { p.expectEnd() }},
		{"silent after a request", func(p *peer) { p.ask("get a\n", "200 f:a\n"); p.expectEnd() }},
		{"silent after a bad request", func(p *peer) { p.ask("\n", invalidRequest); p.expectEnd() }},
		{"silent in a line", func(p *peer) { p.send("get a@b"); p.expectEnd() }},
		{"silent in a netstring", func(p *peer) { p.send("9:forw"); p.expectEnd() }},
		{"silent in a length", func(p *peer) { p.send("9"); p.expectEnd() }},
		{"silent in a skipped netstring", func(p *peer) { p.send("99999:xxx"); p.expectEnd() }},
		{"silent in a second request", func(p *peer) { p.ask("get a\nget b", "200 f:a\n"); p.expectEnd() }},
		{"TLS, waiting for an answer", func(p *peer) { p.send(clientHello); p.expectEnd() }},
		{"trickling", func(p *peer) {
			for range 1000 { // until the server has had enough
				if _, err := p.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
			p.t.Error("still connected after a thousand bytes of one line")
		}},
		{"never reading", func(p *peer) {
			// Until the replies are stuck, then the requests, then the server gives up.
			for sent := 0; ; {
				n, err := p.Write([]byte(repeat("get aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", 100)))
				if sent += n; err != nil {
					p.t.Logf("%d bytes of requests were taken", sent)
					return
				}
			}
		}},
		{"reset at once", func(p *peer) { reset(p) }},
		{"reset in a line", func(p *peer) { p.send("get a@"); reset(p) }},
		{"reset in a netstring", func(p *peer) { p.send("9:forw"); reset(p) }},
		{"reset before the reply", func(p *peer) { p.send(repeat("get a\n", 100)); reset(p) }},
		{"reset after an overlong line", func(p *peer) { p.send(repeat("x", 40000)); reset(p) }},
		{"gone at once", func(p *peer) { p.Close() }},
		{"gone before the reply", func(p *peer) { p.send("get a\n"); p.Close() }},
	} {
		t.Run(bad.name, func(t *testing.T) {
			bad.do(dial(t, f.addr[Forward]))
			dial(t, f.addr[Forward]).ask("get a\n", "200 f:a\n")
			eventually(t, func() bool { return f.Open() == 0 }, func() { t.Errorf("%d open", f.Open()) })
		})
	}
}

func reset(p *peer) {
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Close()
}

// A thousand bad clients at once, all of which stay, cost what they are
// allowed to and no more.
func TestBadInputMemory(t *testing.T) {
	const clients = 1000
	f := start(t, Config{Tables: tables("")}, nil)
	before := inUse()
	var worst []string
	for _, bad := range badInputs {
		worst = append(worst, bad.input[:min(len(bad.input), 2000)])
	}
	worst = append(worst, "get "+repeat("x", DefaultMaxRequest-10), "32000:"+repeat("x", 31000), "99999:"+repeat("x", 90000))
	for i := range clients {
		dial(t, f.addr[Forward]).sendAnyway(worst[i%len(worst)])
	}
	perClient := (inUse() - before) / clients
	if limit := 2 * DefaultMaxRequest; perClient > limit {
		t.Errorf("%d bytes for each client, over %d", perClient, limit)
	}
	t.Logf("%d bytes for each client, both ends", perClient)
	dial(t, f.addr[Forward]).ask("get a\n", "200 f:a\n")
}

// inUse is the memory that goroutines and what they hold take.
func inUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}
