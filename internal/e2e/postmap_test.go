//go:build postfix

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// testPostmap asks both tables with postmap -q, one key at a time and many from standard input.
func (s *site) testPostmap(t *testing.T) {
	forward, reverse := s.daemon.forwardMap(s.protocol), s.daemon.reverseMap(s.protocol)
	signed := s.sign(t, "user@example.org")
	quoted := s.sign(t, `"a b"@example.org`)

	for _, c := range []struct {
		name, table, key string
		want             string // what is found, question marks for the hash; empty: not found
	}{
		{"plain", forward, "user@example.org", "SRS0=????=2W=example.org=user@" + s.srsDomain},
		{"quoted", forward, `"a b"@example.org`, `"SRS0=????=2W=example.org=a b"@` + s.srsDomain},
		{"percent", forward, "50%25@example.org", "SRS0=????=2W=example.org=50%25@" + s.srsDomain},
		{"UTF-8", forward, "Jörg@example.org", "SRS0=????=2W=example.org=Jörg@" + s.srsDomain},
		{"excluded", forward, "user@excluded.test", ""},
		{"already rewritten", forward, signed, ""},
		{"no domain", forward, "user", ""},
		{"null sender as Postfix writes it", forward, `""`, ""},
		{"reversed", reverse, signed, "user@example.org"},
		{"reversed quoted", reverse, quoted, `"a b"@example.org`},
		{"reversed in small letters", reverse, strings.ToLower(signed), "user@example.org"},
		{"no SRS address", reverse, "user@" + s.srsDomain, ""},
		{"forged", reverse, "SRS0=AAAA=2W=example.org=user@" + s.srsDomain, ""},
		{"socketmap forward on the reverse port", lookupTable(socketmap, s.daemon.reversePort, "forward"),
			"user@example.org", signed},
		{"socketmap reverse on the forward port", lookupTable(socketmap, s.daemon.forwardPort, "reverse"),
			signed, "user@example.org"},
		{"domain alone", reverse, "@" + s.srsDomain, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, found := s.postfix.postmap(t, c.table, c.key, "")
			if found != (c.want != "") {
				t.Fatalf("postmap -q %s %s: found is %v", c.key, c.table, found)
			}
			if !matches(c.want, strings.TrimSuffix(out, "\n")) {
				t.Errorf("postmap -q %s %s printed %q, want %s", c.key, c.table, out, c.want)
			}
		})
	}

	for _, c := range []struct{ name, table, stdin, want string }{
		{
			"many forward", forward,
			"user@example.org\n\nuser@excluded.test\n\n\n\"a b\"@example.org\nuser\n",
			fmt.Sprintf("user@example.org\t%s\n\"a b\"@example.org\t%s\n", signed, quoted),
		},
		{
			"many reverse", reverse,
			"\n" + signed + "\nuser@example.org\n\n" + quoted + "\n\n",
			fmt.Sprintf("%s\tuser@example.org\n%s\t\"a b\"@example.org\n", signed, quoted),
		},
		{"blank lines alone", forward, "\n\n\n", ""},
		{"none found", reverse, "user@example.org\n\nuser@example.net\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, found := s.postfix.postmap(t, c.table, "-", c.stdin)
			if out != c.want || found != (c.want != "") {
				t.Errorf("postmap -q - %s printed %q, found %v, want %q", c.table, out, found, c.want)
			}
		})
	}
}
