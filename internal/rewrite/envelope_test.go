package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postsrsd/srs"
)

// envelopes judges for example.com, with the lines that it logs.
func envelopes(t testing.TB, o EnvelopeOptions, excluded ...string) (*Envelopes, *[]string) {
	t.Helper()
	codec, err := srs.New(srs.Options{Domain: "example.com", Secrets: [][]byte{[]byte("tops3cr3t")}, Now: func() time.Time { return time.Unix(1577836860, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	lines := new([]string)
	p := New(codec, excluded, o.Own, func(severity int, line []byte) {
		*lines = append(*lines, fmt.Sprintf("%d %s", severity, line))
	})
	o.Domain = "example.com"
	return NewEnvelopes(p, o), lines
}

const (
	outside = "test@otherdomain.com"
	signed  = "SRS0=vmyz=2W=otherdomain.com=test@example.com"
	forged  = "SRS0=AAAA=2W=otherdomain.com=test@example.com"
)

func TestChange(t *testing.T) {
	rewritten := "6 Q: srs_forward: <" + outside + "> rewritten as <" + signed + ">"
	for _, test := range []struct {
		name       string
		o          EnvelopeOptions
		sender     string
		recipients []string
		more       bool
		want       string // the new sender, the new recipients where they differ
		lines      []string
	}{
		{name: "local", sender: outside, recipients: []string{"a@example.com", "b@EXAMPLE.com", "nobody"}},
		{name: "other domains of ours", o: EnvelopeOptions{Own: []string{"o.test", ".p.test"}}, sender: outside, recipients: []string{"a@o.test", "b@x.P.test"}},
		{name: "not ours", o: EnvelopeOptions{Own: []string{"o.test", ".p.test"}}, sender: outside, recipients: []string{"a@o.test", "b@p.test"}, want: signed, lines: []string{rewritten}},
		{name: "outside", sender: outside, recipients: []string{"a@x.test"}, want: signed, lines: []string{rewritten}},
		{name: "mixed", sender: outside, recipients: []string{"a@example.com", "a@x.test", "b@example.com"}, want: signed, lines: []string{rewritten}},
		{name: "local, rewritten all the same", o: EnvelopeOptions{RewriteLocal: true}, sender: outside, recipients: []string{"a@example.com"}, want: signed, lines: []string{rewritten}},
		{name: "more than are known", sender: outside, recipients: []string{"a@example.com"}, more: true, want: signed,
			lines: []string{"5 Q: recipients over the limit are left as they are", rewritten}},
		{name: "none", sender: outside},
		{name: "own sender", sender: "u@example.com", recipients: []string{"a@x.test"}},
		{name: "sender of another domain of ours", o: EnvelopeOptions{Own: []string{"o.test"}}, sender: "u@o.test", recipients: []string{"a@x.test"}},
		{name: "excluded sender", sender: "u@excluded.test", recipients: []string{"a@x.test"}, lines: []string{"6 Q: srs_forward: <u@excluded.test> not rewritten: Domain excluded by policy"}},
		{name: "excluded sender to here", sender: "u@excluded.test", recipients: []string{"a@example.com"}},
		{name: "sender without a domain", sender: "root", recipients: []string{"a@x.test"}, lines: []string{"6 Q: srs_forward: <root> not rewritten: No at sign in sender address"}},
		{name: "null sender", recipients: []string{"a@x.test"}},
		{name: "null sender, rewritten all", o: EnvelopeOptions{RewriteLocal: true}, recipients: []string{"a@x.test"}},
		{name: "already rewritten", sender: signed, recipients: []string{"a@x.test"},
			lines: []string{"5 Q: srs_forward: <" + signed + "> not rewritten: Valid SRS address for <" + outside + ">"}},
		{name: "bounce", recipients: []string{"a@example.com", signed, "b@x.test"}, want: " 1=" + outside,
			lines: []string{"6 Q: srs_reverse: <" + signed + "> rewritten as <" + outside + ">"}},
		{name: "reply to an SRS address", sender: outside, recipients: []string{signed}, want: signed + " 0=" + outside,
			lines: []string{"6 Q: srs_reverse: <" + signed + "> rewritten as <" + outside + ">", rewritten}},
		{name: "signed elsewhere", recipients: []string{"SRS0=AAAA=2W=a=b@x.test"}, lines: []string{"6 Q: srs_reverse: <SRS0=AAAA=2W=a=b@x.test> not rewritten: Hash invalid in SRS address."}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, lines := envelopes(t, test.o, "excluded.test")
			before := slices.Clone(test.recipients)
			got, recipients := e.Change("Q", test.sender, test.recipients, test.more)
			for i, r := range recipients {
				if r != test.recipients[i] {
					got += fmt.Sprintf(" %d=%s", i, r)
				}
			}
			if got != test.want || !slices.Equal(*lines, test.lines) || !slices.Equal(before, test.recipients) {
				t.Errorf("%q %q\nwant %q %q", got, *lines, test.want, test.lines)
			}
		})
	}
}

func TestRefuseRecipient(t *testing.T) {
	expired := strings.Replace(signed, "=2W=", "=2A=", 1)
	for _, test := range []struct {
		recipient string
		want      error
		line      string
	}{
		{"a@example.com", nil, ""},
		{"a", nil, ""},
		{signed, nil, ""},
		{strings.ToLower(signed), nil, ""},
		{forged, srs.ErrHashInvalid, "6 NOQUEUE: srs_reverse: <" + forged + "> not rewritten: Hash invalid in SRS address."},
		{expired, srs.ErrExpired, "6 NOQUEUE: srs_reverse: <" + expired + "> not rewritten: Time stamp out of date."},
		{"SRS1=AAAA=x.test==AAAA=2W=a=b@Example.COM", srs.ErrHashInvalid, "6 NOQUEUE: srs_reverse: <SRS1=AAAA=x.test==AAAA=2W=a=b@Example.COM> not rewritten: Hash invalid in SRS address."},
		{"SRS0=AAAA=2W=a=b@x.test", nil, ""},
		{"SRS0=AAAA=2W=a=b@own.test", nil, ""},
		{"SRS0=AAAA=2W=a=b", nil, ""},
		{"srs0@example.com", nil, ""},
	} {
		e, lines := envelopes(t, EnvelopeOptions{Own: []string{"own.test"}})
		if err := e.Refuse(test.recipient); err != test.want {
			t.Errorf("%s: %v, want %v", test.recipient, err, test.want)
		}
		if got := strings.Join(*lines, "\n"); got != test.line {
			t.Errorf("%s: %s, want %s", test.recipient, got, test.line)
		}
	}
}

// TestAliases follows aliases as virtual(5) and aliases(5) write them.
func TestAliases(t *testing.T) {
	first := map[string]string{
		"kept@example.com":     "u@example.com, v",
		"out@example.com":      "u, <a@x.test>",
		"chain@example.com":    "chain2@example.com",
		"chain2@example.com":   "chain3",
		"self@example.com":     "self@example.com",
		"loop@example.com":     "loop2",
		"loop2":                "loop@example.com",
		"user+ext@example.com": "a@x.test",
		"tag@example.com":      "a@x.test",
		"@catchall.test":       "a@x.test",
		"in@catchall.test":     "u@example.com",
		"@moved.test":          "@x.test",
		"@renamed.test":        "@example.com",
		"list@example.com":     ":include:/etc/list",
		"piped@example.com":    `|"vacation u@x.test", "|cat >> a@b", /var/mail/x@y, "/var/mail/a b@c"`,
		"quoted@example.com":   `"a b"@x.test`,
		"escaped@example.com":  `\u, u`,
		"nothing@example.com":  "",
		"two@example.com":      "u@example.com",
		"many@example.com":     strings.Repeat("u@example.com\n", 20000),
		"endless@example.com":  "x0",
	}
	second := map[string]string{"chain3": "b@x.test", "bare": "a@x.test", "two@example.com": "a@x.test", "v": "w"}
	asked := 0
	find := func(table map[string]string) AliasMap {
		return func(key string) (string, bool, error) {
			asked++
			if strings.HasPrefix(key, "fail") {
				return "", false, errors.New("tcp:[::1]:1: connection refused")
			}
			if n := 0; strings.HasPrefix(key, "x") {
				fmt.Sscanf(key, "x%d", &n)
				return fmt.Sprintf("x%d, x%d", n+1, n+2), true, nil
			}
			value, found := table[key]
			return value, found, nil
		}
	}
	closed := 0
	o := EnvelopeOptions{Own: []string{"catchall.test", "moved.test", "renamed.test"}, Aliases: func() ([]AliasMap, func()) {
		return []AliasMap{find(first), find(second)}, func() { closed++ }
	}}
	for recipient, elsewhere := range map[string]bool{
		"nobody@example.com": false, "kept@example.com": false, "out@example.com": true, "OUT@Example.com": true, "chain@example.com": true,
		"self@example.com": false, "loop@example.com": false, "user+ext@example.com": true, "user@example.com": false, "user+other@example.com": false,
		"tag+x+y@example.com": true, "any@catchall.test": true, "in@catchall.test": false, "any@moved.test": true, "any@renamed.test": false, "out@renamed.test": true,
		"bare@example.com": true, "bare+x@example.com": true, "bare": true, "list@example.com": true, "piped@example.com": false, "quoted@example.com": true,
		"escaped@example.com": false, "nothing@example.com": false, "two@example.com": true, "many@example.com": false, "+@example.com": false, "@example.com": false,
	} {
		e, lines := envelopes(t, o)
		if got, _ := e.Change("Q", outside, []string{"u@example.com", recipient}, false); (got != "") != elsewhere || len(*lines) > 1 {
			t.Errorf("%s: %q %q", recipient, got, *lines)
		}
	}
	for recipient, line := range map[string]string{
		"fail@example.com":    "4 Q: aliases are not known, so the sender is rewritten: tcp:[::1]:1: connection refused",
		"endless@example.com": "4 Q: aliases lead on without end, so the sender is rewritten",
	} {
		e, lines := envelopes(t, o)
		if got, _ := e.Change("Q", outside, []string{recipient}, false); got != signed || len(*lines) != 2 || (*lines)[0] != line {
			t.Errorf("%s: %q %q", recipient, got, *lines)
		}
	}

	// Nobody is asked without need.
	asked, closed = 0, 0
	e, _ := envelopes(t, o, "excluded.test")
	e.Change("Q", "", []string{"out@example.com"}, false)
	e.Change("Q", outside, []string{"out@example.com", "a@x.test"}, false)
	e.Change("Q", "u@example.com", []string{"fail@example.com"}, false)
	e.Change("Q", "u@excluded.test", []string{"fail@example.com"}, false)
	e.Change("Q", "u@moved.test", []string{"fail@example.com"}, false)
	if asked != 0 || closed != 0 {
		t.Errorf("%d questions", asked)
	}
	e.Change("Q", outside, []string{"nobody@example.com"}, false)
	if asked == 0 || closed != 1 {
		t.Errorf("%d questions, closed %d times", asked, closed)
	}
}

// TestRefuseAlias holds that an alias is refused if it leads nowhere, and not
// if nobody can tell.
func TestRefuseAlias(t *testing.T) {
	e, lines := envelopes(t, EnvelopeOptions{})
	known := mapStore{}
	e.policy.Use(known, false)
	alias, _ := e.Change("Q", outside, []string{"a@x.test"}, false)
	if len(known) != 1 || !strings.Contains(alias, "=1=") {
		t.Fatalf("%q, %v", alias, known)
	}
	if err := e.Refuse(alias); err != nil {
		t.Error(err)
	}
	if _, recipients := e.Change("Q", "", []string{alias}, false); recipients[0] != outside {
		t.Error(recipients)
	}
	clear(known)
	if err := e.Refuse(alias); err != ErrUnknownAlias {
		t.Error(err)
	}
	e.policy.Use(nil, false)
	if err := e.Refuse(alias); err != ErrNoDatabase {
		t.Error(err)
	}
	e.policy.Use(mapStore(nil), false)
	if err := e.Refuse(alias); err != nil {
		t.Errorf("refused while the store does not answer: %v", err)
	}
	if len(*lines) != 4 {
		t.Errorf("%q", *lines)
	}
}

// mapStore is a store that answers if it is not nil.
type mapStore map[string]string

func (s mapStore) Put(key, address []byte) error {
	s[string(key)] = string(address)
	return nil
}

func (s mapStore) Get(dst, key []byte) ([]byte, bool, error) {
	if s == nil {
		return dst, false, errors.New("no answer")
	}
	address, found := s[string(key)]
	return append(dst, address...), found, nil
}
