package check

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// domainLists are the parameters that say for which domains Postfix takes
// mail from anyone.
var domainLists = []string{"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"}

// acceptance looks whether Postfix takes mail to the SRS domain.
func (p *postfix) acceptance() {
	r := p.run
	domain := strings.ToLower(r.Config.Domain)
	if domain == "" {
		return
	}
	before := len(r.findings)
	for _, name := range domainLists {
		if p.contains(name, domain) {
			r.found(OK, p.main(name), "", "Postfix takes bounces to %s", domain)
			return
		}
	}
	if len(r.findings) == before {
		r.found(Error, p.main("mydestination"), "add it to mydestination, or to virtual_alias_domains",
			"Postfix does not take mail to the SRS domain %s: bounces are refused", domain)
	}
}

// contains tells whether a list of domains has domain. A table that cannot be
// asked is a finding.
func (p *postfix) contains(name, domain string) bool {
	names := []string{domain}
	if slices.Contains(items(p.parameters["parent_domain_matches_subdomains"]), name) {
		for rest := domain; strings.Contains(rest, "."); names = append(names, rest) {
			_, rest, _ = strings.Cut(rest, ".")
		}
	}
	for _, item := range items(p.parameters[name]) {
		not := strings.HasPrefix(item, "!")
		item = strings.TrimLeft(item, "!")
		in := false
		switch {
		case strings.HasPrefix(item, "/"):
			in = slices.ContainsFunc(p.lines(name, item), func(line string) bool { return slices.Contains(names, strings.ToLower(line)) })
		case strings.Contains(item, ":"):
			for _, key := range names {
				_, err := p.postmap(key, item)
				if err != nil && err != errNotFound {
					p.run.unseen(p.main(name), "", "%s cannot be asked for %s: %v", item, key, err)
				}
				in = in || err == nil
			}
		default:
			in = slices.Contains(names, strings.ToLower(item))
		}
		if in {
			return !not
		}
	}
	return false
}

// lines are the entries of a file that stands in a list.
func (p *postfix) lines(name, path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		p.run.unseen(p.main(name), "", "%v", err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			all = append(all, items(line)...)
		}
	}
	return all
}

// local looks at the domains that are delivered here: their senders need not
// be rewritten.
func (p *postfix) local() {
	r := p.run
	host := strings.ToLower(p.parameters["myhostname"])
	seen := map[string]bool{host: true, strings.ToLower(r.Config.Domain): true}
	var rewritten []string
	list := "Excluded"
	if r.Config.Conf != "" {
		list = "Domains"
	}
	for _, name := range domainLists[:3] {
		for _, domain := range p.listed(name) {
			domain = strings.ToLower(domain)
			if seen[domain] || !strings.Contains(domain, ".") || strings.HasPrefix(domain, "localhost.") || strings.ContainsAny(domain, "@*!/[") {
				continue
			}
			seen[domain] = true
			r.host.domains = append(r.host.domains, domain)
			if r.rewrites("postmaster@" + domain) {
				rewritten = append(rewritten, domain)
			}
		}
	}
	if n := len(rewritten); n > 0 {
		more := ""
		if n > 5 {
			more = " …"
		}
		r.found(Warning, source(r.Config, list), "add to "+r.name(list)+": "+strings.Join(rewritten[:min(n, 5)], " ")+more,
			"%d of the domains that are delivered here are not excluded: their senders are rewritten, and their own SPF counts for nothing", n)
	}
	bouncer := p.parameters["double_bounce_sender"] + "@" + host
	if host != "" && r.rewrites(bouncer) {
		r.found(Note, source(r.Config, list), "add to "+r.name(list)+": "+host, "%s is rewritten: Postfix no longer knows its own probes and double bounces by it", bouncer)
	}
}

func (r *run) rewrites(address string) bool {
	if r.Forward == nil {
		return false
	}
	_, err := r.Forward(address)
	return err == nil
}

// listed are the domains of a list, those of tables too where they can list
// their keys.
func (p *postfix) listed(name string) []string {
	var all []string
	for _, item := range items(p.parameters[name]) {
		switch {
		case strings.HasPrefix(item, "/"):
			all = append(all, p.lines(name, item)...)
		case !strings.Contains(item, ":"):
			all = append(all, item)
		default:
			keys, err := p.run.program("postmap", "-s", item)
			if err != nil && err != errNotFound {
				p.run.found(Note, p.main(name), "see that they are excluded", "the domains of %s cannot be listed", item)
				continue
			}
			for line := range strings.Lines(keys) {
				key, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
				all = append(all, key)
			}
		}
	}
	return all
}

// sendingAddresses are those that smtp(8) is told to send from. Where that is
// said for one family alone, the interfaces decide for the other.
func (p *postfix) sendingAddresses() []netip.Addr {
	var all []netip.Addr
	for _, f := range []struct {
		bind string
		bits int
	}{{"smtp_bind_address", 32}, {"smtp_bind_address6", 128}} {
		candidates := []string{p.parameters[f.bind]}
		if candidates[0] == "" {
			candidates = items(p.parameters["inet_interfaces"])
		}
		for _, text := range candidates {
			if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && a.BitLen() == f.bits && !a.IsLoopback() {
				all = append(all, a)
			}
		}
	}
	return all
}

// sharedSpace is behind a provider's address translation, RFC 6598.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// ownAddresses are the addresses of the interfaces that strangers see.
func ownAddresses() []netip.Addr {
	interfaces, _ := net.InterfaceAddrs()
	var all []netip.Addr
	for _, i := range interfaces {
		prefix, err := netip.ParsePrefix(i.String())
		if a := prefix.Addr(); err == nil && a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a) {
			all = append(all, a)
		}
	}
	return all
}
