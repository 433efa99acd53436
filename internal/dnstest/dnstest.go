// Package dnstest serves DNS zones on loopback for tests.
//
// A zone file has a record a line, name, type and data, with # for comments:
//
//	example.com  MX   10 mail.example.com
//	example.com  TXT  v=spf1 mx -all
//
// Types are A, AAAA, CNAME, MX, PTR and TXT. A text is cut into strings of 255
// octets; \xNN stands for an octet. Two types say how a name is answered
// instead: FAIL with SERVFAIL, to questions of one type if data names that, and
// SILENT not at all. The server answers as one
// that recurses does: an alias with its target's records, and an answer of
// more than 512 octets over UDP only to who takes it.
package dnstest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

type record struct {
	kind dnsmessage.Type
	body dnsmessage.ResourceBody
}

// zones are the records by name, in lower case with a dot at the end. special
// are FAIL and SILENT.
type zones struct {
	records map[string][]record
	special map[string]string
}

var types = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME,
	"MX": dnsmessage.TypeMX, "PTR": dnsmessage.TypePTR, "TXT": dnsmessage.TypeTXT,
}

// Serve serves zones until the test is over and returns the address, the same
// for UDP and TCP.
func Serve(t testing.TB, text string) string {
	t.Helper()
	z, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := tcp.Addr().String()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { z.serveUDP(udp) })
	running.Go(func() { z.serveTCP(tcp) })
	t.Cleanup(func() {
		tcp.Close()
		udp.Close()
		running.Wait()
	})
	return address
}

func parse(text string) (*zones, error) {
	z := &zones{map[string][]record{}, map[string]string{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		kind, data, _ := strings.Cut(strings.TrimSpace(rest), " ")
		name = strings.ToLower(name) + "."
		if kind == "FAIL" || kind == "SILENT" {
			z.special[name] = strings.TrimSpace(kind + " " + data)
			continue
		}
		body, err := parseBody(types[kind], strings.TrimSpace(data))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		z.records[name] = append(z.records[name], record{types[kind], body})
	}
	return z, nil
}

func parseBody(kind dnsmessage.Type, data string) (dnsmessage.ResourceBody, error) {
	switch kind {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		a, err := netip.ParseAddr(data)
		if err != nil {
			return nil, err
		}
		if a.Is4() {
			return &dnsmessage.AResource{A: a.As4()}, nil
		}
		return &dnsmessage.AAAAResource{AAAA: a.As16()}, nil
	case dnsmessage.TypeMX:
		preference, host, _ := strings.Cut(data, " ")
		n, err := strconv.ParseUint(preference, 10, 16)
		if err != nil {
			return nil, err
		}
		name, err := dnsmessage.NewName(strings.TrimSuffix(host, ".") + ".")
		return &dnsmessage.MXResource{Pref: uint16(n), MX: name}, err
	case dnsmessage.TypeCNAME:
		name, err := dnsmessage.NewName(data + ".")
		return &dnsmessage.CNAMEResource{CNAME: name}, err
	case dnsmessage.TypePTR:
		name, err := dnsmessage.NewName(data + ".")
		return &dnsmessage.PTRResource{PTR: name}, err
	case dnsmessage.TypeTXT:
		var octets []byte
		for len(data) > 0 {
			if n, err := strconv.ParseUint(data[min(2, len(data)):min(4, len(data))], 16, 8); err == nil && strings.HasPrefix(data, `\x`) {
				octets, data = append(octets, byte(n)), data[4:]
			} else {
				octets, data = append(octets, data[0]), data[1:]
			}
		}
		var all []string
		for len(octets) > 255 {
			all, octets = append(all, string(octets[:255])), octets[255:]
		}
		return &dnsmessage.TXTResource{TXT: append(all, string(octets))}, nil
	}
	return nil, fmt.Errorf("unknown type")
}

func (z *zones) serveUDP(conn net.PacketConn) {
	request := make([]byte, 4096)
	for {
		n, client, err := conn.ReadFrom(request)
		if err != nil {
			return
		}
		if answer := z.answer(request[:n], true); answer != nil {
			conn.WriteTo(answer, client)
		}
	}
}

func (z *zones) serveTCP(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err == nil {
			request := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(conn, request); err == nil {
				answer := z.answer(request, false)
				conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			}
		}
		conn.Close()
	}
}

// answer is nil where the name is silent or the request none.
func (z *zones) answer(request []byte, udp bool) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(request); err != nil || len(m.Questions) != 1 {
		return nil
	}
	limit := 512
	for _, a := range m.Additionals {
		if a.Header.Type == dnsmessage.TypeOPT {
			limit = int(a.Header.Class)
		}
	}
	question := m.Questions[0]
	m.Additionals = nil
	m.Response, m.RecursionAvailable = true, true
	name := question.Name
	m.RCode = dnsmessage.RCodeNameError
	for range 10 { // aliases
		key := strings.ToLower(name.String())
		if z.special[key] == "SILENT" {
			return nil
		}
		if z.special[key] == "FAIL" || z.special[key] == "FAIL "+strings.TrimPrefix(question.Type.String(), "Type") {
			m.RCode = dnsmessage.RCodeServerFailure
			break
		}
		var alias *dnsmessage.CNAMEResource
		for _, r := range z.records[key] {
			m.RCode = dnsmessage.RCodeSuccess
			if r.kind == question.Type || r.kind == dnsmessage.TypeCNAME {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: name, Type: r.kind, Class: dnsmessage.ClassINET, TTL: 60}, Body: r.body})
			}
			if c, ok := r.body.(*dnsmessage.CNAMEResource); ok {
				alias = c
			}
		}
		if alias == nil || question.Type == dnsmessage.TypeCNAME {
			break
		}
		name = alias.CNAME
	}
	answer, err := m.Pack()
	if err == nil && udp && len(answer) > limit {
		m.Answers, m.Truncated = nil, true
		answer, err = m.Pack()
	}
	if err != nil {
		panic(err)
	}
	return answer
}
