package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// frame is a netstring.
func frame(data string) string { return fmt.Sprintf("%d:%s,", len(data), data) }

const (
	asked    = "forward test@otherdomain.com"
	answered = "OK " + signedBy2x
)

// exchange sends frames to a socketmap, all at once and without a look at what
// comes back, and one more request. It returns the replies before that one's,
// or all there are when the conversation ends sooner.
func exchange(t *testing.T, socket string, frames ...string) string {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go conn.Write([]byte(strings.Join(frames, "") + frame(asked)))
	r, got := bufio.NewReader(conn), ""
	for range len(frames) + 1 {
		length, err := r.ReadString(':')
		if err == io.EOF && length == "" {
			return got + "EOF"
		}
		n, _ := strconv.Atoi(strings.TrimSuffix(length, ":"))
		data := make([]byte, n+len(","))
		if _, wrong := io.ReadFull(r, data); err != nil || wrong != nil {
			t.Fatalf("%v, %v after %q", err, wrong, got+length)
		}
		got += length + string(data)
	}
	before, ok := strings.CutSuffix(got, frame(answered))
	if !ok {
		t.Errorf("the last of the replies is to something else: %q", got)
	}
	return before
}

// TestReplyBytes holds each reply byte for byte, one to each request.
func TestReplyBytes(t *testing.T) {
	c := newConf(t, `domains = { "local.example", ".below.example" }`)
	c.start()
	const our = "@example.com"
	for request, want := range map[string]string{
		"forward test@otherdomain.com": "OK SRS0=-ISg=2W=otherdomain.com=test@example.com",
		"reverse " + signedBy2x:        "OK test@otherdomain.com",
		"forward test@example.com":     "NOTFOUND Need not rewrite local domain.",
		"forward test@LOCAL.example":   "NOTFOUND Need not rewrite local domain.",
		"forward test@a.below.example": "NOTFOUND Need not rewrite local domain.",
		"forward test":                 "NOTFOUND No domain.",
		"forward ":                     "NOTFOUND No domain.",
		`forward ""`:                   "NOTFOUND No domain.",
		"forward " + strings.Replace(signedBy2x, our, "@other.com", 1): "NOTFOUND Already rewritten",
		"forward SRS1=@other.com":                                      "NOTFOUND No hash in SRS1 address.",
		"forward SRS1=abcd@other.com":                                  "NOTFOUND No host in SRS1 address.",
		"forward SRS1=abcd=host@other.com":                             "NOTFOUND No user in SRS1 address.",
		"forward test@a=b.example":                                     "NOTFOUND Not rewritten: the sender's domain holds an equals sign.",
		"reverse test@otherdomain.com":                                 "NOTFOUND Not an SRS address.",
		"reverse ":                                                     "NOTFOUND Not an SRS address.",
		"reverse SRS0=" + our:                                          "NOTFOUND No hash in SRS0 address.",
		"reverse SRS0=abcd" + our:                                      "NOTFOUND No timestamp in SRS0 address.",
		"reverse SRS0=abcd=2W" + our:                                   "NOTFOUND No host in SRS0 address.",
		"reverse SRS0=abcd=2W=host" + our:                              "NOTFOUND No user in SRS0 address.",
		"reverse SRS0=abcd=2=host=user" + our:                          "NOTFOUND Time stamp out of date.",
		"reverse SRS0=abcd=2A=host=user" + our:                         "NOTFOUND Time stamp out of date.",
		"reverse SRS0=abcd=1W=host=user" + our:                         "NOTFOUND Bad base32 character in timestamp.",
		"reverse SRS0=abc=2W=host=user" + our:                          "NOTFOUND Hash too short in SRS address.",
		"reverse SRS0=abcd=2W=host=user" + our:                         "NOTFOUND Hash invalid in SRS address.",
		"reverse SRS1=" + our:                                          "NOTFOUND No hash in SRS1 address.",
		"reverse SRS1=abcd" + our:                                      "NOTFOUND No host in SRS1 address.",
		"reverse SRS1=abcd=host" + our:                                 "NOTFOUND No user in SRS1 address.",
		"reverse SRS1=abcd=host==user" + our:                           "NOTFOUND Hash invalid in SRS address.",
		"reverse a\x00b":                                               "NOTFOUND Invalid query.",
		"forward a\x00b@otherdomain.com":                               "NOTFOUND Invalid query.",
		"sideways test@otherdomain.com":                                "PERM Invalid map.",
		" test@otherdomain.com":                                        "PERM Invalid map.",
		"FORWARD test@otherdomain.com":                                 "PERM Invalid map.",
	} {
		if got := exchange(t, c.socket(), frame(request)); got != frame(want) {
			t.Errorf("%q:\n got %q\nwant %q", request, got, frame(want))
		}
	}

	// What is no request, or no netstring, is answered once and no further.
	const invalid = "19:PERM Invalid query.,EOF"
	for _, bytes := range []string{
		frame(""), frame("forward"), frame("test@otherdomain.com"), ",", ":", "x", "-1:", "0:x", "1:xx", "28;" + asked + ",", "28:" + asked + "\n",
		"028:" + asked + ",", "0x1c:" + asked + ",", "1000000:", "99999999999999999999:", "get test@otherdomain.com\n", "\x00", "\r\n",
	} {
		if got := exchange(t, c.socket(), frame(asked), bytes); got != frame(answered)+invalid {
			t.Errorf("%q:\n got %q\nwant %q", bytes, got, frame(answered)+invalid)
		}
	}
}

// TestPayloadSizes has requests of each size where something changes: 2.x
// reads 512 octets, the protocol has 100000.
func TestPayloadSizes(t *testing.T) {
	c := newConf(t)
	c.start()
	const short, tooBig = "OK SRS0=", "17:NOTFOUND Too big.,"
	for _, name := range []string{"forward", "reverse"} {
		for _, size := range []int{511, 512, 513, 1023, 1024, 4096, 65536, 100000, 100001} {
			local := strings.Repeat("x", size-len(name+" @otherdomain.com"))
			request := frame(name + " " + local + "@otherdomain.com")
			got := exchange(t, c.socket(), request, request)
			want := strings.Repeat(tooBig, 2)
			switch {
			case size > 100000:
				want = "19:PERM Invalid query.,EOF"
			case size <= 512 && name == "reverse":
				want = strings.Repeat(frame("NOTFOUND Not an SRS address."), 2)
			case size <= 512:
				reply, _, _ := strings.Cut(strings.TrimPrefix(got, strconv.Itoa(len(short)+len("hash=2W=otherdomain.com=@example.com")+len(local))+":"), ",")
				if !strings.HasPrefix(reply, short) || !strings.HasSuffix(reply, "=2W=otherdomain.com="+local+"@example.com") {
					t.Errorf("%d octets: %q", size, got)
				}
				want = strings.Repeat(frame(reply), 2)
			}
			if got != want {
				t.Errorf("%s of %d octets:\n got %.200q\nwant %.200q", name, size, got, want)
			}
		}
	}
}

// TestKeepAlive has a connection that never says anything and one that has
// asked, and waits for their end.
func TestKeepAlive(t *testing.T) {
	c := newConf(t, "keep-alive = 1")
	c.start()
	for _, said := range []string{"", frame(asked)} {
		conn, err := net.Dial("unix", c.socket())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		conn.Write([]byte(said))
		want := ""
		if said == frame(asked) {
			want = frame(answered)
		}
		if got, err := io.ReadAll(conn); string(got) != want || err != nil {
			t.Errorf("%q is answered %q, %v", said, got, err)
		}
	}
}

// TestConnectionLimit has one connection more than are served: it is there,
// and has its answer as soon as another leaves, no sooner.
func TestConnectionLimit(t *testing.T) {
	c := newConf(t, "connection-limit = 3", `keep-alive = 0`)
	c.start()
	var served []table
	for range 3 {
		s := dialTable(t, "unix", c.socket())
		s.wants("forward", "test@otherdomain.com", answered)
		served = append(served, s)
	}
	waiting := dialTable(t, "unix", c.socket())
	if _, err := waiting.Write([]byte(frame(asked))); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		for _, s := range served {
			s.wants("forward", "test@otherdomain.com", answered)
		}
	}
	raw, err := waiting.Conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		var b [1]byte
		if _, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT); err != unix.EAGAIN {
			t.Errorf("the connection over the limit reads %v, %v", b, err)
		}
	})
	served[1].Close()
	reply := make([]byte, len(frame(answered)))
	if _, err := io.ReadFull(waiting.Conn, reply); err != nil || string(reply) != frame(answered) {
		t.Errorf("%q, %v", reply, err)
	}
	served[0].wants("forward", "test@otherdomain.com", answered)
	served[2].wants("forward", "test@otherdomain.com", answered)
}
