package check

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"postsrsd/internal/config"
	"postsrsd/internal/dnstest"
)

func zones(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("testdata/zones")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// spfCase is a record of testdata/spf with what is to be found.
type spfCase struct {
	record string
	line   int
	want   []string
}

func spfCases(t testing.TB) []spfCase {
	t.Helper()
	text, err := os.ReadFile("testdata/spf")
	if err != nil {
		t.Fatal(err)
	}
	var cases []spfCase
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "  "):
			last := &cases[len(cases)-1]
			last.want = append(last.want, strings.TrimSpace(line))
		default:
			cases = append(cases, spfCase{record: line, line: n})
		}
	}
	if len(cases) < 75 {
		t.Fatalf("only %d records", len(cases))
	}
	return cases
}

func newNames(t testing.TB, o Options, zone string) *names {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	resolver, err := newResolver(dnstest.Serve(t, zone))
	if err != nil {
		t.Fatal(err)
	}
	if o.Config == nil {
		o.Config = &config.Config{Domain: "test.example"}
	}
	return &names{&run{Options: o, ctx: ctx, group: DNS}, resolver}
}

func (f Finding) String() string {
	return fmt.Sprintf("%v %s: %s: %s", f.Level, f.Where, f.What, f.Do)
}

// TestSPFRecords publishes every record and looks at it from outside.
func TestSPFRecords(t *testing.T) {
	base := zones(t)
	for _, c := range spfCases(t) {
		d := newNames(t, Options{}, base+"\ntest.example A 192.0.2.1\ntest.example MX 1 mail-a.example.com\ntest.example TXT "+c.record+"\n")
		d.spf("test.example", true, nil)
		var got []string
		for _, f := range d.findings {
			if f.Level > OK {
				got = append(got, f.String())
			}
		}
		for _, want := range c.want {
			level, words, _ := strings.Cut(want, " ")
			i := slices.IndexFunc(got, func(line string) bool { return strings.HasPrefix(line, level+" ") && strings.Contains(line, words) })
			if i < 0 {
				t.Errorf("testdata/spf:%d: %s\nwant %s", c.line, c.record, want)
				continue
			}
			got = slices.Delete(got, i, i+1)
		}
		if len(got) > 0 {
			t.Errorf("testdata/spf:%d: %s\nunexpected: %q", c.line, c.record, got)
		}
	}
}

// TestSPFOfOthers holds that nobody else's record is an error here.
func TestSPFOfOthers(t *testing.T) {
	for _, c := range spfCases(t) {
		d := newNames(t, Options{}, zones(t)+"\ntest.example TXT "+c.record+"\n")
		d.spf("test.example", false, nil)
		for _, f := range d.findings {
			if f.Level > Warning {
				t.Errorf("%s: %v", c.record, f)
			}
		}
	}
}

func FuzzSPF(f *testing.F) {
	for _, c := range spfCases(f) {
		f.Add(c.record)
	}
	f.Fuzz(func(t *testing.T, record string) {
		terms, problems := lintSPF(record)
		for _, p := range problems {
			if p.what == "" || len(p.what) > 3*len(record)+200 {
				t.Errorf("%q: %+v", record, p)
			}
		}
		if len(terms) > len(record) {
			t.Errorf("%q: %d terms", record, len(terms))
		}
		meantSPF(record)
	})
}

// TestSPFEvaluation has RFC 7208's example hosts send.
func TestSPFEvaluation(t *testing.T) {
	for _, test := range []struct{ record, address, want string }{
		{"v=spf1 a -all", "192.0.2.1", "ok SPF passes for mail from 192.0.2.1"},
		{"v=spf1 mx -all", "192.0.2.129", "ok SPF passes"},
		{"v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "ok SPF passes"},
		{"v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.132", "error SPF says fail for mail from 192.0.2.132"},
		{"v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "error SPF says fail for mail from 192.0.2.65, which this host sends from: the rewriting is for nothing (matched all): add ip4:192.0.2.65"},
		{"v=spf1 mx ~all", "2001:db8::1", "error SPF says softfail for mail from 2001:db8::1"},
		{"v=spf1 ip6:2001:db8::/64 -all", "2001:db8::1", "ok SPF passes"},
		{"v=spf1 mx ?all", "192.0.2.1", "error SPF says neutral"},
		{"v=spf1 ipv4:192.0.2.1 -all", "192.0.2.1", "error SPF says permerror"},
		{"v=spf1 redirect=good.example", "192.0.2.129", "ok SPF passes"},
		{"v=spf1 ptr:example.com -all", "192.0.2.65", "ok SPF passes"},
		{"v=spf1 a:fail.example -all", "192.0.2.1", "warning SPF cannot be evaluated for 192.0.2.1"},
	} {
		d := newNames(t, Options{}, zones(t)+"\ntest.example A 192.0.2.1\ntest.example MX 1 mail-a.example.com\ntest.example TXT "+test.record+"\n")
		d.spf("test.example", true, []netip.Addr{netip.MustParseAddr(test.address)})
		wants(t, test.record, d.findings, test.want)
	}
}

// wants fails unless a finding has the level and the words.
func wants(t *testing.T, name string, findings []Finding, want string) {
	t.Helper()
	level, words, _ := strings.Cut(want, " ")
	if !slices.ContainsFunc(findings, func(f Finding) bool { return f.Level.String() == level && strings.Contains(f.String(), words) }) {
		t.Errorf("%s: %v\nwant %s", name, findings, want)
	}
}

const soundZone = `
srs.example         MX  10 mail.srs.example
mail.srs.example    A   192.0.2.25
srs.example         TXT v=spf1 mx -all
srs.example         TXT another=text
_dmarc.srs.example  TXT v=DMARC1; p=reject; rua=mailto:postmaster@srs.example
other.example       TXT v=spf1 ip4:192.0.2.25 -all
`

// TestDNS has what is found beyond one record.
func TestDNS(t *testing.T) {
	for _, test := range []struct {
		name   string
		change string // "+line" and "-beginning of lines" of soundZone
		want   []string
	}{
		{name: "sound", want: []string{"ok srs.example MX: bounces arrive", "ok SPF passes for mail from 192.0.2.25",
			"note _dmarc.srs.example TXT: p=reject: mail From: srs.example that neither SPF nor DKIM vouches for is refused; rewritten senders vouch for From: srs.example and its subdomains,",
			"ok other.example TXT: the SPF record is right"}},
		{name: "no MX", change: "-srs.example         MX\n+srs.example A 192.0.2.25\n+srs.example TXT v=spf1 a -all\n-srs.example         TXT v=",
			want: []string{"ok no MX, but an address"}},
		{name: "nowhere", change: "-srs.example         MX", want: []string{"error the domain has neither MX nor address"}},
		{name: "null MX", change: "-srs.example         MX\n+srs.example MX 0 .", want: []string{"error the null MX says"}},
		{name: "MX without address", change: "-mail.srs.example", want: []string{"warning mail.srs.example has no address", "error no exchanger has an address"}},
		{name: "one MX without address", change: "+srs.example MX 20 gone.example", want: []string{"warning gone.example has no address", "ok bounces arrive"}},
		{name: "MX that is an address", change: "+srs.example MX 20 192.0.2.7", want: []string{"error 192.0.2.7 is an address, not a host name"}},
		{name: "MX elsewhere", change: "-mail.srs.example\n+mail.srs.example A 192.0.2.99", want: []string{"note the exchangers are other hosts", "error SPF says fail for mail from 192.0.2.25"}},
		{name: "no SPF", change: "-srs.example         TXT", want: []string{"error the SRS domain has no SPF record: all the rewriting is for nothing"}},
		{name: "two SPF records", change: "+srs.example TXT v=spf1 -all", want: []string{"error there are 2 SPF records"}},
		{name: "one and one that was meant to be", change: "+srs.example TXT v=sfp1 -all", want: []string{`error "v=sfp1 -all" is no SPF record`, "ok SPF passes"}},
		{name: "other without SPF", change: "-other.example", want: []string{"note other.example TXT: no SPF record; senders of this domain stay as they are"}},
		{name: "other that refuses", change: "-other.example\n+other.example TXT v=spf1 -all",
			want: []string{"warning other.example TXT: SPF says fail for mail from 192.0.2.25, and its senders stay as they are"}},
		{name: "other that is wrong", change: "-other.example\n+other.example TXT v=spf1 ipv4:192.0.2.25 -all", want: []string{"warning other.example TXT: ipv4:192.0.2.25"}},
		{name: "DMARC of the parent", change: "-_dmarc.srs\n+_dmarc.srs.example TXT x\n+_dmarc.example TXT v=DMARC1; p=none", want: []string{"note no DMARC policy"}},
		{name: "DMARC strict", change: "-_dmarc.srs\n+_dmarc.srs.example TXT v=DMARC1; p=quarantine; aspf=s", want: []string{"note p=quarantine: mail From: srs.example that neither SPF nor DKIM vouches for goes among the spam; rewritten senders vouch for From: srs.example alone,"}},
		{name: "DMARC twice", change: "+_dmarc.srs.example TXT v=DMARC1; p=none", want: []string{"warning there are 2 DMARC records"}},
		{name: "DMARC without policy", change: "-_dmarc.srs\n+_dmarc.srs.example TXT v=DMARC1; rua=mailto:a@b.example", want: []string{"warning p= is no policy"}},
		{name: "DMARC with commas", change: "-_dmarc.srs\n+_dmarc.srs.example TXT v=DMARC1; p=none; reject", want: []string{`warning " reject" is no tag`}},
		{name: "long answer over TCP", change: "+srs.example TXT " + strings.Repeat("x", 1500), want: []string{"ok SPF passes"}},
		{name: "long record", change: "-srs.example         TXT v=\n+srs.example TXT v=spf1 mx " + strings.Repeat("ip4:192.0.2.200 ", 30) + "-all",
			want: []string{"warning the record has 494 octets", "ok SPF passes"}},
		{name: "servers that fail", change: "+srs.example FAIL", want: []string{"warning DNS: cannot ask for srs.example: lookup srs.example on 127.0.0.1"}},
		{name: "servers that fail for one", change: "+other.example FAIL", want: []string{"warning other.example TXT: lookup other.example"}},
		{name: "servers that fail for an exchanger", change: "-mail.srs.example\n+mail.srs.example FAIL", want: []string{"warning srs.example MX: lookup mail.srs.example"}},
		{name: "servers that fail for the address", change: "-srs.example         MX\n+srs.example FAIL A", want: []string{"warning srs.example MX: lookup srs.example"}},
		{name: "servers that fail for SPF", change: "+srs.example FAIL TXT", want: []string{"warning srs.example TXT: lookup srs.example"}},
		{name: "servers that fail within SPF", change: "-srs.example         TXT v=\n+srs.example TXT v=spf1 include:a.example -all\n+a.example FAIL",
			want: []string{"warning srs.example TXT: lookup a.example", "warning srs.example TXT: SPF cannot be evaluated for 192.0.2.25"}},
		{name: "servers that fail for DMARC", change: "+_dmarc.srs.example FAIL", want: []string{"warning _dmarc.srs.example TXT: lookup _dmarc.srs.example"}},
	} {
		o := Options{
			Config:    &config.Config{Domain: "SRS.example", Excluded: []string{"Other.example", ".sub.example", "srs.example"}},
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25")},
			Resolver:  dnstest.Serve(t, change(soundZone, test.change)),
			Skip:      map[string]bool{Settings: true, Postfix: true},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		findings := Run(ctx, o)
		cancel()
		for _, want := range test.want {
			wants(t, test.name, findings, want)
		}
		for _, f := range findings {
			if test.name == "sound" && f.Level > Note {
				t.Errorf("on a sound host: %v", f)
			}
			if strings.HasPrefix(f.Where, ".") {
				t.Errorf("what is no domain was looked up: %v", f)
			}
			if f.Unseen && !strings.Contains(test.name, "fail") {
				t.Errorf("%s: %v", test.name, f)
			}
		}
	}
}

// TestDNSNames holds under which name a domain is looked up.
func TestDNSNames(t *testing.T) {
	for domain, name := range map[string]string{
		"B\u00fccher.example": "xn--bcher-kva.example", "_srs.Example.": "_srs.example", "stra\u00dfe.example": "xn--strae-oqa.example",
	} {
		findings := Run(t.Context(), Options{
			Config:    &config.Config{Domain: domain},
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.25")},
			Resolver:  dnstest.Serve(t, name+" A 192.0.2.25\n"+name+" TXT v=spf1 a -all\n"),
			Skip:      map[string]bool{Settings: true, Postfix: true},
		})
		wants(t, domain, findings, "ok "+name+" TXT: SPF passes for mail from 192.0.2.25")
	}
	findings := Run(t.Context(), Options{Config: &config.Config{Domain: "xn--\u00fc.example"}, Resolver: "127.0.0.1:1", Skip: map[string]bool{Settings: true, Postfix: true}})
	wants(t, "no name", findings, "error the SRS domain cannot be in the DNS")
}

// change takes lines out of text and adds some.
func change(text, changes string) string {
	for c := range strings.Lines(changes) {
		c = strings.TrimSuffix(c, "\n")
		if line, ok := strings.CutPrefix(c, "+"); ok {
			text += line + "\n"
			continue
		}
		var kept strings.Builder
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, c[1:]) {
				kept.WriteString(line)
			}
		}
		text = kept.String()
	}
	return text
}

// TestDNSSilent holds that a server that does not answer costs the time limit
// at most, and that this is said.
func TestDNSSilent(t *testing.T) {
	for _, zone := range []string{
		"srs.example SILENT\n",
		"srs.example MX 1 m.srs.example\nm.srs.example SILENT\n",
		"srs.example MX 1 m.srs.example\nm.srs.example A 192.0.2.1\nsrs.example TXT v=spf1 a:m.srs.example -all\no1.example SILENT\no2.example SILENT",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		start := time.Now()
		findings := Run(ctx, Options{
			Config:    &config.Config{Domain: "srs.example", Excluded: []string{"o1.example", "o2.example", "o3.example"}},
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
			Resolver:  dnstest.Serve(t, zone),
			Skip:      map[string]bool{Settings: true, Postfix: true},
		})
		cancel()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%q took %v", zone, took)
		}
		if !slices.ContainsFunc(findings, func(f Finding) bool { return f.Unseen }) || Status(findings) == 0 {
			t.Errorf("%q: %v", zone, findings)
		}
		if strings.Contains(zone, "o1") {
			wants(t, "out of time", findings, "warning domains were not looked at: give more --time")
		}
	}
}

// TestForgedAnswers holds that what does not answer the question is not taken,
// and that an answer that is none ends in an error.
func TestForgedAnswers(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := func(s string) []dnsmessage.Resource {
		return []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("a.example."), Class: dnsmessage.ClassINET},
			Body: &dnsmessage.TXTResource{TXT: []string{s}}}}
	}
	go func() {
		request := make([]byte, 4096)
		for {
			n, client, err := conn.ReadFrom(request)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(request[:n]) != nil {
				continue
			}
			m.Additionals = nil
			for _, forge := range []func(m *dnsmessage.Message){
				func(m *dnsmessage.Message) { m.ID++ },
				func(m *dnsmessage.Message) { m.Response = false },
				func(m *dnsmessage.Message) { m.Questions = nil },
				func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeA },
				func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("b.example.") },
				func(m *dnsmessage.Message) { m.Answers = text("right") },
			} {
				forged := m
				forged.Questions = slices.Clone(m.Questions)
				forged.Response, forged.Answers = true, text("forged")
				forge(&forged)
				packed, err := forged.Pack()
				if err != nil {
					panic(err)
				}
				conn.WriteTo(packed[:len(packed)-1], client)
				conn.WriteTo(packed, client)
			}
		}
	}()
	r, err := newResolver(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.LookupTXT(t.Context(), "A.example")
	if err != nil || len(got) != 1 || got[0] != "right" {
		t.Errorf("%q, %v", got, err)
	}
	for _, name := range []string{"..", "a..b", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 200)} {
		if _, err := r.LookupTXT(t.Context(), name); !notFound(err) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestResolverServers(t *testing.T) {
	for server, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "::1": "[::1]:53", "[::1]:5353": "[::1]:5353", "dns.example": "dns.example:53", "dns.example:54": "dns.example:54",
	} {
		if r, err := newResolver(server); err != nil || r.String() != want {
			t.Errorf("%s: %v, %v", server, r, err)
		}
	}
}

func TestReverseName(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1":        "1.2.0.192.in-addr.arpa.",
		"::ffff:192.0.2.1": "1.2.0.192.in-addr.arpa.",
		"2001:db8::1":      "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
	} {
		if got := reverseName(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// TestNoAddress looks for the addresses that this host sends from where it has
// none but loopback: in a network of its own.
func TestNoAddress(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can have a network of its own")
		return
	}
	const inside = "POSTSRSD_TEST_INSIDE"
	if os.Getenv(inside) == "" {
		own := exec.Command("unshare", "-n", "sh", "-c", `ip link set lo up && exec "$@"`, "sh", os.Args[0], "-test.run=^TestNoAddress$", "-test.v")
		own.Env = append(os.Environ(), inside+"=1")
		if out, err := own.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestNoAddress") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	findings := Run(t.Context(), Options{
		Config:   &config.Config{Domain: "srs.example"},
		Resolver: dnstest.Serve(t, soundZone),
		Skip:     map[string]bool{Settings: true, Postfix: true},
	})
	wants(t, "loopback alone", findings, "warning interfaces: no address that others see: SPF was not evaluated: give --address=ADDR")
}
