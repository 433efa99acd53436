package check

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dnsTime   = 3 * time.Second // for one answer
	dnsRounds = 2               // how often each server is asked
	udpSize   = 1232            // bytes of an answer that fit everywhere
)

// A resolver asks DNS servers that recurse. Unlike package net's it does not
// look into /etc/hosts, where a mail host mostly finds itself on loopback, and
// it has no search list. Its errors are of type *net.DNSError.
type resolver struct {
	servers []string // host:port
}

// newResolver asks server, host or host:port, or those of /etc/resolv.conf.
func newResolver(server string) (*resolver, error) {
	if server != "" {
		if _, err := netip.ParseAddr(server); err == nil {
			server = net.JoinHostPort(server, "53")
		} else if _, _, err := net.SplitHostPort(server); err != nil {
			server += ":53"
		}
		return &resolver{[]string{server}}, nil
	}
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	r := &resolver{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			r.servers = append(r.servers, net.JoinHostPort(f[1], "53"))
		}
	}
	if len(r.servers) == 0 {
		r.servers = []string{"127.0.0.1:53"} // resolv.conf(5)
	}
	return r, nil
}

func (r *resolver) String() string { return strings.Join(r.servers, ", ") }

// LookupTXT returns a name's texts, each put together from its strings.
func (r *resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return look(ctx, r, name, dnsmessage.TypeTXT, func(b dnsmessage.ResourceBody) (string, bool) {
		txt, ok := b.(*dnsmessage.TXTResource)
		if !ok {
			return "", false
		}
		return strings.Join(txt.TXT, ""), true
	})
}

// LookupMX returns a name's mail exchangers.
func (r *resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return look(ctx, r, name, dnsmessage.TypeMX, func(b dnsmessage.ResourceBody) (*net.MX, bool) {
		mx, ok := b.(*dnsmessage.MXResource)
		if !ok {
			return nil, false
		}
		return &net.MX{Host: mx.MX.String(), Pref: mx.Pref}, true
	})
}

// LookupIPAddr returns a name's addresses of both families.
func (r *resolver) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	four, err := look(ctx, r, name, dnsmessage.TypeA, func(b dnsmessage.ResourceBody) (net.IPAddr, bool) {
		a, ok := b.(*dnsmessage.AResource)
		if !ok {
			return net.IPAddr{}, false
		}
		return net.IPAddr{IP: a.A[:]}, true
	})
	if err != nil && !notFound(err) {
		return nil, err
	}
	six, err := look(ctx, r, name, dnsmessage.TypeAAAA, func(b dnsmessage.ResourceBody) (net.IPAddr, bool) {
		a, ok := b.(*dnsmessage.AAAAResource)
		if !ok {
			return net.IPAddr{}, false
		}
		return net.IPAddr{IP: a.AAAA[:]}, true
	})
	if all := append(four, six...); len(all) > 0 {
		return all, nil
	}
	return nil, err
}

// LookupAddr returns an address's names.
func (r *resolver) LookupAddr(ctx context.Context, address string) ([]string, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return nil, &net.DNSError{Err: "no address", Name: address}
	}
	return look(ctx, r, reverseName(ip), dnsmessage.TypePTR, func(b dnsmessage.ResourceBody) (string, bool) {
		ptr, ok := b.(*dnsmessage.PTRResource)
		if !ok {
			return "", false
		}
		return ptr.PTR.String(), true
	})
}

func reverseName(ip netip.Addr) string {
	ip = ip.Unmap()
	octets := ip.AsSlice()
	var name strings.Builder
	for i := len(octets) - 1; i >= 0; i-- {
		if ip.Is4() {
			fmt.Fprintf(&name, "%d.", octets[i])
		} else {
			fmt.Fprintf(&name, "%x.%x.", octets[i]&15, octets[i]>>4)
		}
	}
	if ip.Is4() {
		return name.String() + "in-addr.arpa."
	}
	return name.String() + "ip6.arpa."
}

// look asks for the records of one type and picks their data. Records under
// the names that aliases lead to count.
func look[T any](ctx context.Context, r *resolver, name string, kind dnsmessage.Type, pick func(dnsmessage.ResourceBody) (T, bool)) ([]T, error) {
	answer, err := r.ask(ctx, name, kind)
	if err != nil {
		return nil, err
	}
	var all []T
	for _, record := range answer.Answers {
		if data, ok := pick(record.Body); ok {
			all = append(all, data)
		}
	}
	if len(all) == 0 {
		return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
	}
	return all, nil
}

func notFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// ask returns a server's answer.
func (r *resolver) ask(ctx context.Context, name string, kind dnsmessage.Type) (*dnsmessage.Message, error) {
	fail := func(err string) *net.DNSError { return &net.DNSError{Err: err, Name: name, Server: r.String()} }
	full, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return nil, &net.DNSError{Err: "no domain name", Name: name, IsNotFound: true}
	}
	question := dnsmessage.Question{Name: full, Type: kind, Class: dnsmessage.ClassINET}
	request, id, err := pack(question)
	if err != nil {
		return nil, &net.DNSError{Err: "no domain name", Name: name, IsNotFound: true}
	}
	last := fail("no server answers")
	last.IsTimeout = true
	for range dnsRounds {
		for _, server := range r.servers {
			answer, err := exchange(ctx, "udp", server, request, id, question)
			if err == nil && answer.Truncated {
				answer, err = exchange(ctx, "tcp", server, request, id, question)
			}
			switch {
			case ctx.Err() != nil:
				last = fail("out of time")
				last.IsTimeout = true
				return nil, last
			case err != nil:
				continue
			case answer.RCode == dnsmessage.RCodeSuccess:
				return answer, nil
			case answer.RCode == dnsmessage.RCodeNameError:
				last = fail("no such domain")
				last.IsNotFound = true
				return nil, last
			}
			last = fail(strings.TrimPrefix(answer.RCode.String(), "RCode"))
			last.IsTemporary = true
		}
	}
	return nil, last
}

// pack makes a request for recursion that takes answers of udpSize.
func pack(question dnsmessage.Question) (request []byte, id uint16, err error) {
	var option dnsmessage.ResourceHeader
	if err := option.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, 0, err
	}
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true},
		Questions:   []dnsmessage.Question{question},
		Additionals: []dnsmessage.Resource{{Header: option, Body: &dnsmessage.OPTResource{}}},
	}
	request, err = m.Pack()
	return request, m.ID, err
}

// exchange sends a request and reads until its answer comes.
func exchange(ctx context.Context, network, server string, request []byte, id uint16, question dnsmessage.Question) (*dnsmessage.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if network == "tcp" {
		request = append(binary.BigEndian.AppendUint16(nil, uint16(len(request))), request...)
	}
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	buffer := make([]byte, 1<<16)
	for {
		answer, err := readMessage(conn, network, buffer)
		if err != nil {
			return nil, err
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil || m.ID != id || !m.Response || len(m.Questions) != 1 || !same(m.Questions[0], question) {
			if network == "tcp" {
				return nil, errors.New("another answer")
			}
			continue // somebody else's, or a forgery
		}
		return &m, nil
	}
}

func readMessage(conn net.Conn, network string, buffer []byte) ([]byte, error) {
	if network == "udp" {
		n, err := conn.Read(buffer)
		return buffer[:n], err
	}
	if _, err := io.ReadFull(conn, buffer[:2]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(buffer)
	_, err := io.ReadFull(conn, buffer[:n])
	return buffer[:n], err
}

func same(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}
