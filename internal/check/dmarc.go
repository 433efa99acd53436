package check

import "strings"

// dmarc reads the DMARC policy that holds for a domain, and says what it
// means.
func (d *names) dmarc(domain string) {
	policyOf, inherited := domain, false
	for {
		where := "_dmarc." + policyOf + " TXT"
		texts, err := d.resolver.LookupTXT(d.ctx, "_dmarc."+policyOf)
		if err != nil && !notFound(err) {
			d.unseen(where, "", "%v", err)
			return
		}
		var records []string
		for _, text := range texts {
			if version, _, _ := strings.Cut(text, ";"); strings.ReplaceAll(version, " ", "") == "v=DMARC1" {
				records = append(records, text)
			}
		}
		switch {
		case len(records) > 1:
			d.found(Warning, where, "leave one", "there are %d DMARC records: they count for nothing", len(records))
			return
		case len(records) == 1:
			d.policy(where, domain, records[0], inherited)
			return
		}
		_, parent, _ := strings.Cut(policyOf, ".")
		if !strings.Contains(parent, ".") {
			d.found(Note, "_dmarc."+domain+" TXT", "", "no DMARC policy")
			return
		}
		policyOf, inherited = parent, true
	}
}

// policy explains a DMARC record, RFC 7489 section 6.3.
func (d *names) policy(where, domain, record string, inherited bool) {
	tags := map[string]string{}
	for part := range strings.SplitSeq(record, ";") {
		name, value, ok := strings.Cut(part, "=")
		if name = strings.ToLower(strings.TrimSpace(name)); ok {
			tags[name] = strings.TrimSpace(value)
		} else if name != "" {
			d.found(Warning, where, "write name=value; between them", "%q is no tag", part)
		}
	}
	name := "p"
	if inherited && tags["sp"] != "" {
		name = "sp"
	}
	meaning := map[string]string{
		"none": "is only reported", "quarantine": "goes among the spam", "reject": "is refused",
	}[strings.ToLower(tags[name])]
	if meaning == "" {
		d.found(Warning, where, "write p=none, p=quarantine or p=reject", "%s=%s is no policy: the record counts for nothing", name, tags[name])
		return
	}
	aligned := "and its subdomains"
	if strings.EqualFold(tags["aspf"], "s") {
		aligned = "alone"
	}
	d.found(Note, where, "",
		"%s=%s: mail From: %s that neither SPF nor DKIM vouches for %s; rewritten senders vouch for From: %s %s, and for no mail that is forwarded, which needs its DKIM signature",
		name, tags[name], domain, meaning, domain, aligned)
}
