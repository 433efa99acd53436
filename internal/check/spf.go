package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A problem is something wrong with an SPF record, as RFC 7208 has it.
type problem struct {
	level    Level
	do, what string
}

// A term is a mechanism or modifier of an SPF record.
type term struct {
	text      string
	qualifier byte   // of a mechanism: + - ~ ?; 0 for a modifier
	name      string // in lower case
	value     string // what follows : or =, without prefix lengths
	prefix    string // /n, //n or /n//n
}

const (
	spfLength  = 450 // octets that a record should not exceed, section 3.4
	spfLookups = 10  // section 4.6.4
	spfVoid    = 2
)

// isSPF tells whether a text is an SPF record, section 4.5.
func isSPF(text string) bool {
	text = strings.ToLower(text)
	return text == "v=spf1" || strings.HasPrefix(text, "v=spf1 ")
}

// meantSPF tells whether a text that is no SPF record was hardly meant to be
// anything else.
func meantSPF(text string) bool {
	start := strings.ToLower(strings.NewReplacer(" ", "", "\t", "", `"`, "", "'", "").Replace(text))
	switch {
	case strings.HasPrefix(start, "spf2.0/"): // Sender ID, RFC 4406
		return false
	case strings.HasPrefix(start, "v=spf"), strings.HasPrefix(start, "spf1"), strings.HasPrefix(start, "spf="):
		return true
	}
	return len(start) >= 6 && distance(start[:6], "v=spf1") <= 2
}

// lintSPF takes a record apart and says what is wrong with its text alone.
// Terms that are wrong are not among those returned.
func lintSPF(record string) (terms []term, problems []problem) {
	say := func(level Level, do, what string, a ...any) {
		problems = append(problems, problem{level, do, fmt.Sprintf(what, a...)})
	}
	for _, c := range record {
		if c < ' ' || c >= 0x7f {
			say(Error, "write ASCII, with spaces between the terms", "the record holds %q: receivers refuse it whole (permerror)", c)
			break
		}
	}
	if len(record) > spfLength {
		say(Warning, "shorten it, or move a part into an include:", "the record has %d octets, more than the %d that surely fit into an answer", len(record), spfLength)
	}
	seen := map[string]bool{}
	for i, text := range strings.Split(record, " ") {
		if i == 0 || text == "" {
			continue // the version
		}
		if seen[text] && !strings.Contains(text, "=") {
			say(Note, "", "%s stands there twice", text)
		}
		seen[text] = true
		t, wrong := parseTerm(text)
		problems = append(problems, wrong...)
		if len(wrong) == 0 || wrong[0].level < Error {
			terms = append(terms, t)
		}
	}
	problems = append(problems, lintTerms(terms)...)
	return terms, problems
}

// lintTerms says what is wrong with the terms together.
func lintTerms(terms []term) (problems []problem) {
	say := func(level Level, do, what string, a ...any) {
		problems = append(problems, problem{level, do, fmt.Sprintf(what, a...)})
	}
	all, modifiers := -1, map[string]int{}
	for i, t := range terms {
		switch {
		case t.qualifier == 0:
			if modifiers[t.name]++; modifiers[t.name] == 2 && (t.name == "redirect" || t.name == "exp") {
				say(Error, "leave one", "%s= stands there twice: receivers refuse the record whole (permerror)", t.name)
			}
		case all >= 0:
			say(Warning, "put it before "+terms[all].text, "%s stands after %s and is never looked at", t.text, terms[all].text)
		case t.name == "all":
			all = i
		}
	}
	switch {
	case all >= 0 && modifiers["redirect"] > 0:
		say(Warning, "leave one of them", "redirect= has no effect beside %s", terms[all].text)
	case all < 0 && modifiers["redirect"] == 0:
		say(Warning, `end it with "-all" or "~all"`, "the record ends without all: it says nothing about everyone else")
	}
	if all >= 0 {
		switch terms[all].qualifier {
		case '+':
			say(Error, `write "-all" or "~all"`, "%s: everyone may send in this name", terms[all].text)
		case '?':
			say(Note, "", "?all says nothing about everyone else")
		}
	}
	return problems
}

var modifierText = pattern(`^([A-Za-z][A-Za-z0-9._-]*)=(.*)$`)

var mechanisms = []string{"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"}

// parseTerm reads one term, section 12.
func parseTerm(text string) (term, []problem) {
	wrong := func(do, what string, a ...any) (term, []problem) {
		return term{}, []problem{{Error, do, fmt.Sprintf(what, a...) + ": receivers refuse the record whole (permerror)"}}
	}
	if m := modifierText().FindStringSubmatch(text); m != nil {
		t := term{text: text, name: strings.ToLower(m[1]), value: m[2]}
		switch {
		case t.name == "redirect" || t.name == "exp":
			if why := notDomainSpec(t.value); why != "" {
				return wrong("", "%s: %s", text, why)
			}
		case slices.Contains(mechanisms, t.name) || t.name == "ipv4" || t.name == "ipv6":
			return t, []problem{{Error, "write " + t.name + ":" + t.value, text + " is taken for a modifier that nobody knows, and ignored"}}
		case t.name == "v":
			return t, []problem{{Warning, "leave one record", text + " within the record has no effect"}}
		default:
			if why := badMacro(t.value, true); why != "" {
				return wrong("", "%s: %s", text, why)
			}
			return t, []problem{{Note, "", text + " is a modifier that nobody knows, and ignored"}}
		}
		return t, nil
	}
	t := term{text: text, qualifier: '+'}
	rest := text
	if strings.ContainsRune("+-~?", rune(rest[0])) {
		t.qualifier, rest = rest[0], rest[1:]
	}
	t.name = rest
	if i := strings.IndexAny(rest, ":/"); i >= 0 {
		t.name, rest = rest[:i], rest[i:]
	} else {
		rest = ""
	}
	t.name = strings.ToLower(t.name)
	colon := strings.HasPrefix(rest, ":")
	t.value = strings.TrimPrefix(rest, ":")
	switch t.name {
	case "all":
		if rest != "" {
			return wrong("write all", "%s: all takes nothing", text)
		}
		return t, nil
	case "ip4", "ip6":
		return parseNetwork(t, colon)
	case "a", "mx":
		return parseHost(t, colon)
	case "include", "exists":
		if !colon {
			return wrong("", "%s: %s needs a domain behind a colon", text, t.name)
		}
	case "ptr":
		if !colon && rest != "" || colon && t.value == "" {
			return wrong("", "%s: ptr takes a domain behind a colon, or nothing", text)
		}
		if why := notDomainSpec(t.value); colon && why != "" {
			return wrong("", "%s: %s", text, why)
		}
		return t, []problem{{Warning, "name the hosts with a: or ip4:", text + ": ptr is slow, and not to be used"}}
	case "ipv4", "ipv6":
		return wrong("write "+strings.Replace(t.name, "v", "", 1)+":"+t.value, "%s: there is no %s", text, t.name)
	case "redirect", "exp":
		return wrong("write "+t.name+"="+t.value, "%s: there is no mechanism %s", text, t.name)
	default:
		return wrong(meantTerm(t, text), "%s: there is no mechanism %s", text, t.name)
	}
	if why := notDomainSpec(t.value); why != "" {
		return wrong("", "%s: %s", text, why)
	}
	return t, nil
}

// meantTerm is what an unknown mechanism was probably meant to be.
func meantTerm(t term, text string) string {
	bare := strings.TrimLeft(text, "+-~?")
	if p, err := netip.ParsePrefix(bare); err == nil || netipIs(bare) {
		if strings.Contains(bare, ":") || err == nil && p.Addr().Is6() {
			return "write ip6:" + bare
		}
		return "write ip4:" + bare
	}
	for _, name := range mechanisms {
		if len(name) > 2 && distance(t.name, name) <= len(name)/3 && t.name != "" {
			return "write " + name
		}
	}
	return "take it out"
}

func netipIs(s string) bool { _, err := netip.ParseAddr(s); return err == nil }

// parseNetwork checks ip4 and ip6.
func parseNetwork(t term, colon bool) (term, []problem) {
	wrong := func(do, what string, a ...any) (term, []problem) {
		return term{}, []problem{{Error, do, t.text + ": " + fmt.Sprintf(what, a...) + ": receivers refuse the record whole (permerror)"}}
	}
	address, length, prefixed := strings.Cut(t.value, "/")
	ip, err := netip.ParseAddr(address)
	bits := map[string]int{"ip4": 32, "ip6": 128}[t.name]
	other := map[string]string{"ip4": "ip6", "ip6": "ip4"}[t.name]
	switch {
	case !colon || address == "":
		return wrong("", "%s needs an address behind a colon", t.name)
	case err != nil || ip.Zone() != "":
		return wrong("", "%q is no address", address)
	case ip.BitLen() != bits:
		return wrong("write "+other+":"+t.value, "this is an address for %s", other)
	}
	if n, err := strconv.ParseUint(length, 10, 8); prefixed && (err != nil || int(n) > bits || strconv.FormatUint(n, 10) != length) {
		return wrong("", "the prefix length is a number from 0 to %d", bits)
	} else if prefixed && n < 8 && t.qualifier == '+' {
		return t, []problem{{Warning, "write the networks that send", t.text + " lets a large part of the internet send in this name"}}
	}
	return t, nil
}

var prefixText = pattern(`^(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?$`)

// parseHost checks a and mx.
func parseHost(t term, colon bool) (term, []problem) {
	wrong := func(what string, a ...any) (term, []problem) {
		return term{}, []problem{{Error, "", t.text + ": " + fmt.Sprintf(what, a...) + ": receivers refuse the record whole (permerror)"}}
	}
	// A slash within a macro is a delimiter.
	if i := strings.LastIndexByte(t.value, '}') + 1; strings.Contains(t.value[i:], "/") {
		i += strings.IndexByte(t.value[i:], '/')
		t.value, t.prefix = t.value[:i], t.value[i:]
	}
	if colon {
		if why := notDomainSpec(t.value); why != "" {
			return wrong("%s", why)
		}
	}
	m := prefixText().FindStringSubmatch(t.prefix)
	if m == nil {
		return wrong("prefix lengths are written /0 to /32 and //0 to //128")
	}
	four, _ := strconv.Atoi(m[1])
	six, _ := strconv.Atoi(m[2])
	if four > 32 || six > 128 {
		return wrong("prefix lengths are written /0 to /32 and //0 to //128")
	}
	if t.qualifier == '+' && (m[1] != "" && four < 8 || m[2] != "" && six < 8) {
		return t, []problem{{Warning, "write the networks that send", t.text + " lets a large part of the internet send in this name"}}
	}
	return t, nil
}

var (
	macro    = pattern(`%(?:[%_-]|\{([A-Za-z])([0-9]*)r?[.+,/_=-]*\})`)
	macroEnd = pattern(`%(?:[%_-]|\{[^}]*\})$`)
	topLabel = pattern(`\.[A-Za-z0-9]*[A-Za-z0-9-]*[A-Za-z-][A-Za-z0-9-]*\.?$`)
)

// badMacro says what is wrong with the macros in a string; explaining allows
// those that only exp's text may have.
func badMacro(s string, explaining bool) string {
	for _, m := range macro().FindAllStringSubmatch(s, -1) {
		switch letter := strings.ToLower(m[1]); {
		case letter == "":
		case strings.Contains("crt", letter) && !explaining:
			return m[0] + " is for explanations only"
		case !strings.Contains("slodiphcrtv", letter):
			return m[0] + " is no macro"
		case strings.Trim(m[2], "0") == "" && m[2] != "":
			return m[0] + " keeps no part"
		}
	}
	if strings.Contains(macro().ReplaceAllString(s, ""), "%") {
		return "a % that begins no macro is written %%"
	}
	return ""
}

// notDomainSpec says why s is no domain-spec, "" when it is: a name with a dot
// in it, whose last label is no number, or that ends in a macro.
func notDomainSpec(s string) string {
	switch why := badMacro(s, false); {
	case why != "":
		return why
	case s == "":
		return "the domain is missing"
	case strings.ContainsAny(s, `:/"`) && !macro().MatchString(s):
		return fmt.Sprintf("%q is no domain", s)
	case !macroEnd().MatchString(s) && !topLabel().MatchString(s):
		return fmt.Sprintf("%q is no full domain name", s)
	case strings.Contains(s, ".."):
		return fmt.Sprintf("%q is no domain", s)
	}
	return ""
}
