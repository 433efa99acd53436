package main_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"postsrsd/socketmap"
)

// An mta is a connection to the milter as Postfix has one.
type mta struct {
	t testing.TB
	net.Conn
}

const (
	mailerHello = "\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff"
	milterHello = "O\x00\x00\x00\x06\x00\x00\x00\x4c\x00\x00\x03\x73"
)

func packet(command, data string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(1+len(data)))) + command + data
}

// dialMilter connects without a word.
func dialMilter(t testing.TB, network, address string) mta {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return mta{t, conn}
}

// greet connects and negotiates.
func greet(t testing.TB, network, address string) mta {
	t.Helper()
	m := dialMilter(t, network, address)
	m.wants(mailerHello, milterHello)
	return m
}

// wants sends input and reads the answers.
func (m mta) wants(input string, answers ...string) {
	m.t.Helper()
	if _, err := io.WriteString(m, input); err != nil {
		m.t.Fatal(err)
	}
	for _, want := range answers {
		if answer := m.answer(); answer != want {
			m.t.Fatalf("%q, want %q", answer, want)
		}
	}
}

// answer reads one.
func (m mta) answer() string {
	m.t.Helper()
	var head [4]byte
	_, err := io.ReadFull(m, head[:])
	answer := make([]byte, binary.BigEndian.Uint32(head[:])&0xffff)
	if err == nil {
		_, err = io.ReadFull(m, answer)
	}
	if err != nil {
		m.t.Fatalf("%q, %v", answer, err)
	}
	return string(answer)
}

// wantsSender sends a message, and wants it to get this sender, "" for no
// change.
func (m mta) wantsSender(sender string, recipients ...string) {
	m.t.Helper()
	m.wants(packet("M", "<test@otherdomain.com>\x00"), "c")
	m.wantsRest(sender, recipients...)
}

func (m mta) wantsRest(sender string, recipients ...string) {
	m.t.Helper()
	for _, r := range recipients {
		m.wants(packet("R", "<"+r+">\x00"), "c")
	}
	m.wants(packet("D", "Ei\x004B7C6\x00"))
	if sender == "" {
		m.wants(packet("E", ""), "c")
	} else {
		m.wants(packet("E", ""), "e<"+sender+">\x00", "c")
	}
}

func (m mta) wantsEnd() {
	m.t.Helper()
	var timeout net.Error
	if rest, err := io.ReadAll(m); len(rest) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		m.t.Errorf("%q, %v, want the end", rest, err)
	}
}

// TestMilterClients serves the milter to clients of each kind, from the jail
// where there is one.
func TestMilterClients(t *testing.T) {
	c := newConf(t)
	port, other := freePorts(t)
	for _, client := range []struct{ endpoint, network, address string }{
		{"unix:$D/milter", "unix", c.path("milter")},
		{"inet:127.0.0.1:" + port, "tcp", "127.0.0.1:" + port},
		{"inet:[::1]:" + port, "tcp", "[::1]:" + port},
		{"inet:localhost:" + other, "tcp", "[::1]:" + other},
		{"inet:" + other, "tcp", "127.0.0.1:" + other},
	} {
		c.write("milter = \""+client.endpoint+"\"", c.jail())
		d := c.start()
		m := greet(t, client.network, client.address)
		for range 200 {
			m.wantsSender(signedBy2x, "a@example.net")
			m.wantsSender("", "a@example.com", "b@example.com")
		}
		m.wants(packet("M", "<>\x00")+packet("R", "<"+signedBy2x+">\x00")+packet("R", "<SRS0=AAAA=2W=a=b@example.com>\x00")+packet("E", ""),
			"c", "c", "y550 5.1.1 Hash invalid in SRS address.\x00", "-<"+signedBy2x+">\x00", "+<test@otherdomain.com>\x00", "c")
		m.wants(packet("Q", ""))
		m.wantsEnd()
		d.logged("4B7C6: srs_forward: <test@otherdomain.com> rewritten as <" + signedBy2x + ">")
		d.logged("NOQUEUE: srs_reverse: <SRS0=AAAA=2W=a=b@example.com> not rewritten: Hash invalid in SRS address.")
		d.stop()
		if _, err := os.Stat(c.path("milter")); err == nil {
			t.Error("the socket is left")
		}
	}
}

// jail is the line that has a daemon of root's serve as somebody else.
func (c conf) jail() string {
	if os.Geteuid() != 0 {
		return ""
	}
	os.Mkdir(c.path("jail"), 0o755)
	return `chroot-dir = "$D/jail" unprivileged-user = "nobody"`
}

// openDescriptors counts what a process has open.
func openDescriptors(pid int) int {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(list)
}

// TestMilterBadInput has MTAs of the worst kind beside a good one.
func TestMilterBadInput(t *testing.T) {
	c := newConf(t, `milter = "unix:$D/milter"`)
	d := c.start()
	good := greet(t, "unix", c.path("milter"))
	good.wantsSender(signedBy2x, "a@example.net")
	before := openDescriptors(d.worker())
	for name, input := range map[string]string{
		"garbage":            strings.Repeat("garbage\r\n", 1<<16),
		"a huge length":      mailerHello + "\xff\xff\xff\xffM" + strings.Repeat("x", 1<<16),
		"an empty packet":    mailerHello + "\x00\x00\x00\x00",
		"no offer":           packet("M", "<a@x>\x00"),
		"fewer actions":      strings.Replace(mailerHello, "\x01\xff", "\x00\x3f", 1),
		"an unknown command": mailerHello + packet("\x00", ""),
		"the wrong order":    mailerHello + packet("E", "") + packet("R", "<a@x>\x00") + packet("Q", ""),
		"no end of a string": mailerHello + packet("M", "<a@x>") + packet("Q", ""),
		"cut off":            mailerHello + packet("M", "<a@x>\x00")[:7],
		"another protocol":   "GET / HTTP/1.1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				m := dialMilter(t, "unix", c.path("milter"))
				go func() { io.WriteString(m, input); m.Conn.(*net.UnixConn).CloseWrite() }()
				if _, err := io.Copy(io.Discard, m); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("it is not hung up on")
				}
				good.wantsSender(signedBy2x, "a@example.net")
			}
		})
	}
	eventually(t, func() bool { return openDescriptors(d.worker()) <= before }, func() string { return "descriptors are left open" })
	d.logged("the MTA does not let a milter change the sender and add and delete recipients")
}

// TestMilterReload changes settings under a connection that stays open, and
// then the sockets, for which another worker takes over.
func TestMilterReload(t *testing.T) {
	c := newConf(t, `milter = "unix:$D/milter"`, `milter-alias-maps = { "texthash:$D/virtual" }`)
	writeFile(t, c.dir, "virtual", "other@example.com a@example.net\n")
	d := c.start()
	reload := func() {
		t.Helper()
		d.signal(syscall.SIGHUP)
		d.waitFor("RELOADING=1")
		d.waitFor("READY=1")
	}
	m := greet(t, "unix", c.path("milter"))
	m.wantsSender(signedBy2x, "other@example.com")
	m.wants(packet("M", "<test@otherdomain.com>\x00"), "c")
	writeFile(t, c.dir, "virtual", "other@example.com b@example.com\nlist: a@example.net\n")
	reload()
	m.wantsRest("", "other@example.com")
	m.wantsSender(signedBy2x, "list@example.com")

	os.Remove(c.path("virtual"))
	reload()
	d.logged("not reloaded, the configuration of before stays in force: " + c.dir + "/postsrsd.conf:5: milter-alias-maps = texthash:" + c.dir + "/virtual: cannot read the file: no such file or directory")
	m.wantsSender(signedBy2x, "list@example.com")

	first := d.worker()
	m.wants(packet("M", "<test@otherdomain.com>\x00"), "c")
	c.write(`milter = "unix:$D/milter"`, `socketmap = "unix:$D/elsewhere"`)
	reload()
	var fresh mta
	eventually(t, func() bool { // once the worker of before accepts no more
		fresh = greet(t, "unix", c.path("milter"))
		fresh.wants(packet("M", "<test@otherdomain.com>\x00")+packet("R", "<list@example.com>\x00")+packet("E", ""), "c", "c")
		if fresh.answer() == "c" {
			return true
		}
		fresh.Close()
		return false
	}, func() string { return "new connections see the old configuration" })
	fresh.wantsSender(signedBy2x, "a@example.net")
	m.wantsRest(signedBy2x, "list@example.com") // of the configuration that the old worker has
	m.wantsSender(signedBy2x, "a@example.net")
	m.wants(packet("Q", ""))
	m.wantsEnd()
	eventually(t, func() bool { return syscall.Kill(first, 0) == syscall.ESRCH }, func() string { return "the first worker stays" })

	// One that lingers does not keep the daemon from ending.
	c.write(`milter = "unix:$D/milter"`)
	reload()
	fresh.wantsSender(signedBy2x, "a@example.net")
	begun := time.Now()
	d.stop()
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("the end took %v", took)
	}
	fresh.wantsEnd()
}

// TestMilterUnderReload sends mail while settings and sockets change: no
// message may be lost, no connect refused.
func TestMilterUnderReload(t *testing.T) {
	c := newConf(t, `milter = "unix:$D/milter"`)
	d := c.start()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				m := greet(t, "unix", c.path("milter"))
				for range 5 {
					m.wantsSender(signedBy2x, "a@example.net")
				}
				m.wants(packet("Q", ""))
				m.wantsEnd()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range 10 {
		c.write(`milter = "unix:$D/milter"`, fmt.Sprintf("socketmap = \"unix:$D/srs%d\"", i/2))
		d.signal(syscall.SIGHUP)
		d.waitFor("RELOADING=1")
		d.waitFor("READY=1")
	}
	close(stop)
	clients.Wait()
	d.worker() // just one is left
}

// TestMilterAliasTables asks a table inside the jail, and goes on without it.
func TestMilterAliasTables(t *testing.T) {
	c := newConf(t)
	jail, inside := c.jail(), c.dir
	if jail != "" {
		inside = "/"
	}
	c.write(`milter = "unix:$D/milter"`, jail, fmt.Sprintf("milter-alias-maps = { \"socketmap:unix:%s:aliases\" }", filepath.Join(inside, "table")))
	d := c.start()
	m := greet(t, "unix", c.path("milter"))
	unknown := "aliases are not known, so the sender is rewritten: socketmap:unix:" + filepath.Join(inside, "table") + ":aliases: "
	m.wantsSender(signedBy2x, "u@example.com")
	d.logged("4B7C6: " + unknown)

	path := c.path("table")
	if jail != "" {
		path = filepath.Join(c.path("jail"), "table")
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(path, 0o666)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				socketmap.Serve(bufio.NewReader(conn), conn, 1000, func(dst, name, key []byte) ([]byte, error) {
					if string(name) == "aliases" && bytes.HasPrefix(key, []byte("list@")) {
						return append(dst, "a@example.net"...), nil
					}
					return dst, errors.New("no such alias")
				})
			}()
		}
	}()
	m.wantsSender("", "u@example.com")
	m.wantsSender(signedBy2x, "list@example.com")
	before := openDescriptors(d.worker())
	for range 50 {
		m.wantsSender("", "u@example.com")
	}
	eventually(t, func() bool { return openDescriptors(d.worker()) <= before }, func() string { return "descriptors are left open" })
	ln.Close()
	m.wantsSender(signedBy2x, "u@example.com")
}
