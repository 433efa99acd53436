package rewrite

import (
	"fmt"
	"slices"
	"strings"
)

// An AliasMap finds where mail to a recipient goes, as virtual(5) and
// aliases(5) say it. The error says that it could not be asked.
type AliasMap = func(key string) (value string, found bool, err error)

// maxFollowed is how many addresses are looked up for one message.
const maxFollowed = 10000

// leadElsewhere tells whether mail to one of these recipients, which are local,
// goes on to another host. When that cannot be found out it does: rewritten in
// vain is better than refused by the next host.
func (e *Envelopes) leadElsewhere(p *Policy, recipients []string) bool {
	if e.o.Aliases == nil {
		return false
	}
	maps, done := e.o.Aliases()
	defer done()
	seen := map[string]bool{}
	for ahead := slices.Clone(recipients); len(ahead) > 0; ahead = ahead[1:] {
		address := strings.ToLower(ahead[0])
		if seen[address] {
			continue
		}
		seen[address] = true
		if !e.isLocal(address) {
			return true
		}
		if len(seen) > maxFollowed {
			p.log(Warning, []byte("aliases lead on without end, so the sender is rewritten"))
			return true
		}
		for _, ask := range maps {
			results, err := follow(ask, address)
			if err != nil {
				p.log(Warning, fmt.Appendf(nil, "aliases are not known, so the sender is rewritten: %v", err))
				return true
			}
			for _, result := range results {
				if strings.HasPrefix(result, ":include:") {
					return true // a list, which only its owner may read
				}
			}
			ahead = append(ahead, results...)
		}
	}
	return false
}

// follow returns where a map has mail to address go. It asks as virtual(5)
// does; the first that is found counts.
func follow(ask AliasMap, address string) ([]string, error) {
	local, domain := address, ""
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		local, domain = address[:at], address[at:]
	}
	user := local
	if plus := strings.IndexByte(local, '+'); plus > 0 {
		user = local[:plus]
	}
	asked := ""
	for _, key := range []string{address, user + domain, local, user, domain} {
		if key == "" || key == asked {
			continue
		}
		asked = key
		value, found, err := ask(key)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		results := destinations(value)
		for i, result := range results {
			if strings.HasPrefix(result, "@") {
				results[i] = local + result // one domain in the place of another
			}
		}
		return results, nil
	}
	return nil, nil
}

// destinations takes the right-hand side of an alias apart. Commands and files,
// which are here, are left out.
func destinations(value string) (results []string) {
	var word strings.Builder
	quoted := false
	end := func() {
		result := strings.TrimSuffix(strings.TrimPrefix(word.String(), "<"), ">")
		word.Reset()
		if bare := strings.TrimPrefix(result, `"`); bare != "" && bare[0] != '|' && bare[0] != '/' {
			results = append(results, result)
		}
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && i+1 < len(value):
			word.WriteString(value[i : i+2])
			i++
		case c == '"':
			quoted = !quoted
			word.WriteByte(c)
		case !quoted && strings.IndexByte(", \t\r\n", c) >= 0:
			end()
		default:
			word.WriteByte(c)
		}
	}
	end()
	return results
}
