package check

import (
	"context"
	"slices"
	"strings"
)

// spfWalk follows a record wherever a receiver may have to go to evaluate it.
type spfWalk struct {
	ctx      context.Context
	resolver *resolver
	lookups  int // terms that make a receiver ask the DNS
	voids    int // answers without a record
	problems []problem
	unseen   error // the first answer that did not come
}

// enough is how many lookups are followed.
const enough = 3 * spfLookups

// records returns the SPF records of a domain, and texts meant to be some.
func records(ctx context.Context, r *resolver, domain string) (spf, meant []string, err error) {
	texts, err := r.LookupTXT(ctx, domain)
	for _, text := range texts {
		switch {
		case isSPF(text):
			spf = append(spf, text)
		case meantSPF(text):
			meant = append(meant, text)
		}
	}
	return spf, meant, err
}

func (w *spfWalk) say(level Level, do, what string) {
	w.problems = append(w.problems, problem{level, do, what})
}

// void counts an answer without a record, and notes one that did not come.
func (w *spfWalk) void(t term, what string, err error) {
	switch {
	case notFound(err):
		w.voids++
		w.say(Warning, "take it out", t.text+" finds "+what)
	case err != nil && w.unseen == nil:
		w.unseen = err
	}
}

// record goes through the terms of one record. path are the domains that led
// here, itself the last.
func (w *spfWalk) record(terms []term, path []string) {
	domain := path[len(path)-1]
	all := slices.ContainsFunc(terms, func(t term) bool { return t.qualifier != 0 && t.name == "all" })
	for _, t := range terms {
		if t.qualifier != 0 && t.name == "all" {
			return
		}
		target := t.value
		if target == "" {
			target = domain
		}
		switch t.name {
		case "include", "a", "mx", "ptr", "exists":
		case "redirect":
			if all {
				continue
			}
		default:
			continue
		}
		if w.lookups++; w.lookups > enough || strings.Contains(target, "%") {
			continue // macros are known only with a sender at hand
		}
		switch t.name {
		case "a", "exists":
			_, err := w.resolver.LookupIPAddr(w.ctx, target)
			w.void(t, "no address", err)
		case "mx":
			w.mx(t, target)
		case "include", "redirect":
			w.follow(t, target, path)
		}
	}
}

func (w *spfWalk) mx(t term, target string) {
	exchangers, err := w.resolver.LookupMX(w.ctx, target)
	w.void(t, "no MX", err)
	if len(exchangers) > spfLookups {
		w.say(Error, "name the hosts with ip4:", t.text+" has more than 10 exchangers: receivers refuse the record whole (permerror)")
	}
}

// follow goes on with the record that an include or redirect leads to.
func (w *spfWalk) follow(t term, target string, path []string) {
	name := strings.ToLower(strings.TrimSuffix(target, "."))
	if slices.Contains(path, name) {
		w.say(Error, "take it out", t.text+" leads back to where it comes from: receivers refuse the record whole (permerror)")
		return
	}
	spf, _, err := records(w.ctx, w.resolver, target)
	w.void(t, "nothing", err)
	switch {
	case err != nil && !notFound(err):
		return
	case len(spf) == 0:
		w.say(Error, "take it out, or write what was meant", t.text+": there is no SPF record: receivers refuse this one whole (permerror)")
		return
	case len(spf) > 1:
		w.say(Error, "have its owner leave one", t.text+": there are several SPF records: receivers refuse this one whole (permerror)")
		return
	}
	terms, problems := lintSPF(spf[0])
	for _, p := range problems {
		if p.level == Error {
			w.say(p.level, p.do, t.text+": "+p.what)
		}
	}
	w.record(terms, append(slices.Clone(path), name))
}
