package check

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"blitiri.com.ar/go/spf"
	"golang.org/x/net/idna"
)

// dns looks at what other hosts see of the SRS domain and of the domains whose
// senders stay.
func (r *run) dns() {
	if r.Config.Domain == "" {
		return // the settings have said it
	}
	domain, err := asciiName(r.Config.Domain)
	if err != nil {
		r.found(Error, r.Config.Domain, "set "+r.name("Domain")+" to a domain name", "the SRS domain cannot be in the DNS: %v", err)
		return
	}
	resolver, err := newResolver(r.Resolver)
	if err != nil {
		r.unseen("DNS", "give --resolver=ADDR", "%v", err)
		return
	}
	d := &names{r, resolver}
	if _, err := resolver.LookupMX(r.ctx, domain); err != nil && !notFound(err) {
		r.unseen("DNS", "give --resolver=ADDR, or leave this out with --skip=dns", "cannot ask for %s: %v", domain, err)
		return
	}
	addresses := r.sending()
	d.bounces(domain, addresses)
	d.spf(domain, true, addresses)
	d.dmarc(domain)
	seen := map[string]bool{domain: true}
	others := slices.Concat(r.Config.Excluded, r.host.domains)
	for i, other := range others {
		other, err := asciiName(other)
		if err != nil || strings.HasPrefix(other, ".") || seen[other] {
			continue
		}
		seen[other] = true
		if r.over() {
			r.unseen("DNS", "give more --time", "out of time: %d domains were not looked at", len(others)-i)
			return
		}
		d.spf(other, false, addresses)
	}
}

// over tells whether time is, also in the moment before the context says so.
func (r *run) over() bool {
	deadline, limited := r.ctx.Deadline()
	return r.ctx.Err() != nil || limited && !time.Now().Before(deadline)
}

// asciiName is a domain as the DNS has it, in lower case and RFC 5890's
// A-labels. Underscores may stand in it.
func asciiName(domain string) (string, error) {
	profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))
	return profile.ToASCII(strings.TrimSuffix(domain, "."))
}

// names are the domains in the DNS.
type names struct {
	*run
	resolver *resolver
}

// sending are the addresses that this host sends mail from.
func (r *run) sending() []netip.Addr {
	if len(r.Addresses) > 0 {
		return r.Addresses
	}
	all := r.host.addresses
	has := map[int]bool{}
	for _, a := range all {
		has[a.BitLen()] = true
	}
	for _, a := range ownAddresses() {
		if !has[a.BitLen()] && (r.host.families == nil || r.host.families[family(a)]) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		r.unseen("interfaces", "give --address=ADDR", "no address that others see: SPF was not evaluated")
	}
	return all
}

// family is 4 or 6.
func family(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 6
}

// bounces looks whether they arrive.
func (d *names) bounces(domain string, addresses []netip.Addr) {
	where := domain + " MX"
	exchangers, err := d.resolver.LookupMX(d.ctx, domain)
	if notFound(err) {
		_, err := d.resolver.LookupIPAddr(d.ctx, domain)
		switch {
		case notFound(err):
			d.found(Error, where, "give the SRS domain an MX record that leads here", "the domain has neither MX nor address: bounces go nowhere, and many hosts refuse such a sender")
		case err != nil:
			d.unseen(where, "", "%v", err)
		default:
			d.found(OK, where, "", "no MX, but an address: bounces arrive there")
		}
		return
	}
	reached, here := 0, false
	for _, mx := range exchangers {
		host := strings.TrimSuffix(mx.Host, ".")
		if host == "" {
			d.found(Error, where, "give the SRS domain an MX record that leads here", "the null MX says that the domain takes no mail: bounces go nowhere")
			return
		}
		found, err := d.resolver.LookupIPAddr(d.ctx, host)
		switch {
		case netipIs(host):
			d.found(Error, where, "write a host name", "%s is an address, not a host name: nobody can send there", host)
		case notFound(err):
			d.found(Warning, where, "give it an address, or take it out", "%s has no address", host)
		case err != nil:
			d.unseen(where, "", "%v", err)
			reached++ // perhaps
		default:
			reached++
		}
		for _, a := range found {
			ip, _ := netip.AddrFromSlice(a.IP)
			here = here || slices.Contains(addresses, ip.Unmap())
		}
	}
	switch {
	case reached == 0:
		d.found(Error, where, "give the SRS domain an MX record that leads here", "no exchanger has an address: bounces go nowhere")
	case !here && len(addresses) > 0:
		d.found(Note, where, "", "the exchangers are other hosts: they have to pass bounces on to this one")
	default:
		d.found(OK, where, "", "bounces arrive")
	}
}

// spf looks at a domain's SPF record. Of the SRS domain, pass is wanted for
// each of the addresses; what is wrong with another is no more than a warning.
func (d *names) spf(domain string, srs bool, addresses []netip.Addr) {
	where := domain + " TXT"
	most := Warning
	if srs {
		most = Error
	}
	found, meant, err := records(d.ctx, d.resolver, domain)
	if err != nil && !notFound(err) {
		d.unseen(where, "", "%v", err)
		return
	}
	before := len(d.findings)
	for _, text := range meant {
		d.found(most, where, `begin it with "v=spf1 "`, "%.60q is no SPF record", text)
	}
	switch {
	case len(found) > 1:
		d.found(most, where, "put them together into one", "there are %d SPF records: receivers refuse them all (permerror)", len(found))
		return
	case len(found) == 0 && len(meant) > 0:
		return
	case len(found) == 0 && srs:
		d.found(Error, where, `write "v=spf1 mx -all", or what fits this host`, "the SRS domain has no SPF record: all the rewriting is for nothing")
		return
	case len(found) == 0:
		d.found(Note, where, "", "no SPF record; senders of this domain stay as they are")
		return
	}
	terms, problems := lintSPF(found[0])
	w := &spfWalk{ctx: d.ctx, resolver: d.resolver, problems: problems}
	w.record(terms, []string{domain})
	if w.lookups > spfLookups {
		w.say(Error, "replace include: and a: by ip4: and ip6:", fmt.Sprintf("evaluation takes %s%d lookups, and 10 are allowed: receivers refuse the record (permerror)",
			map[bool]string{true: "more than "}[w.lookups > enough], min(w.lookups, enough)))
	}
	if w.voids > spfVoid {
		w.say(Error, "take out what finds nothing", fmt.Sprintf("%d lookups find nothing, and 2 are allowed: receivers refuse the record (permerror)", w.voids))
	}
	for _, p := range w.problems {
		d.found(min(p.level, most), where, p.do, "%s", p.what)
	}
	if w.unseen != nil {
		d.unseen(where, "", "%v", w.unseen)
	}
	for _, a := range addresses {
		d.evaluate(domain, srs, a)
	}
	if d.better(before) {
		d.found(OK, where, "", "the SPF record is right")
	}
}

// evaluate asks what a receiver of mail from address makes of the record.
func (d *names) evaluate(domain string, srs bool, address netip.Addr) {
	where := domain + " TXT"
	result, err := spf.CheckHostWithSender(net.IP(address.AsSlice()), domain, "postmaster@"+domain, spf.WithResolver(d.resolver), spf.WithContext(d.ctx))
	switch {
	case result == spf.Pass && srs:
		d.found(OK, where, "", "SPF passes for mail from %s", address)
	case result == spf.Pass:
	case result == spf.TempError:
		d.unseen(where, "", "SPF cannot be evaluated for %s: %v", address, err)
	case srs:
		d.found(Error, where, fmt.Sprintf("add ip%d:%s", family(address), address), "SPF says %s for mail from %s, which this host sends from: the rewriting is for nothing (%v)", result, address, err)
	case result == spf.Fail || result == spf.SoftFail:
		d.found(Warning, where, "let this host send in its name, or rewrite its senders", "SPF says %s for mail from %s, and its senders stay as they are", result, address)
	}
}
