package rewrite_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// entries is a store, or one that does not work.
type entries struct {
	kept   map[string]string
	broken bool
}

func (e *entries) Put(key, address []byte) error {
	if e.broken {
		return errors.New("broken")
	}
	e.kept[string(key)] = string(address)
	return nil
}

func (e *entries) Get(dst, key []byte) ([]byte, bool, error) {
	if e.broken {
		return dst, false, errors.New("broken")
	}
	address, found := e.kept[string(key)]
	return append(dst, address...), found, nil
}

const (
	key   = "DCJGDE6N24LCRT41A4T0G1UIF0DTKKQJ"
	alias = "SRS0=bxzH=2W=1=" + key + "@example.com"
)

// TestAliases holds what is stored, what is embedded, and what comes back.
func TestAliases(t *testing.T) {
	// 64 octets are SRS0=WuWn=2W=, the domain, an equals sign and the rest.
	fits := strings.Repeat("u", 64-len("SRS0=xxxx=2W=otherdomain.com=")) + "@otherdomain.com"
	type outcome struct {
		sender, database, auto, broken string // the result's beginning, or the refusal
	}
	for _, test := range []outcome{
		{"test@otherdomain.com", "alias", "SRS0=vmyz=2W=otherdomain.com=test@example.com", "SRS0=vmyz=2W=otherdomain.com=test@example.com"},
		{fits, "alias", "SRS0=", "SRS0="},
		{"u" + fits, "alias", "alias", "SRS0="},
		{`"a b"@otherdomain.com`, "alias", `"SRS0=`, `"SRS0=`},
		{`"SRS0=a"@otherdomain.com`, "SRS1=", "SRS1=", "SRS1="},
		{"ü@otherdomain.com", "alias", "SRS0=", "SRS0="},
		{strings.Repeat("u", 1000) + "@otherdomain.com", "alias", "alias", "Buffer too small."},
		{"a@b=c.example", "alias", "alias", "Not rewritten: the sender's domain holds an equals sign."},
		{`""@otherdomain.com`, "Not rewritten: the sender's local part is empty.", "Not rewritten: the sender's local part is empty.", "Not rewritten: the sender's local part is empty."},
		{"SRS0=xxxx=2W=a.example=u@b.example", "SRS1=", "SRS1=", "SRS1="},
		{"SRS0=" + fits, "SRS1=", "SRS1=", "SRS1="},
		{"SRS1=xxxx=b.example==xxxx=2W=a.example=u@c.example", "SRS1=", "SRS1=", "SRS1="},
		{"SRS1=x@y", "No host in SRS1 address.", "No host in SRS1 address.", "No host in SRS1 address."},
		{"SRS0=vmyz=2W=otherdomain.com=test@example.com", "Already rewritten", "Already rewritten", "Already rewritten"},
		{"test@example.com", "Need not rewrite local domain.", "Need not rewrite local domain.", "Need not rewrite local domain."},
		{"a@own.example", "Need not rewrite local domain.", "Need not rewrite local domain.", "Need not rewrite local domain."},
		{"a@excluded.com", "Domain excluded by policy", "Domain excluded by policy", "Domain excluded by policy"},
		{"postmaster", "No at sign in sender address", "No at sign in sender address", "No at sign in sender address"},
		{"", "No at sign in sender address", "No at sign in sender address", "No at sign in sender address"},
	} {
		for mode, want := range map[string]string{"database": test.database, "auto": test.auto, "broken": test.broken} {
			store := &entries{kept: map[string]string{}, broken: mode == "broken"}
			policy := newPolicy(t, []string{"excluded.com"}, func(int, []byte) {})
			policy.Use(store, mode == "auto")
			result, err := policy.Forward([]byte("<"), []byte(test.sender))
			got := strings.TrimPrefix(string(result), "<")
			if err != nil {
				got = err.Error()
				if string(result) != "<" {
					t.Errorf("%s: %s: %q beside the error", mode, test.sender, result)
				}
			}
			if strings.Contains(got, "=2W=1=") {
				if len(got) != len(alias) || len(store.kept) != 1 {
					t.Errorf("%s: %s: %s, kept %v", mode, test.sender, got, store.kept)
				}
				if again, err := policy.Forward(nil, []byte(got)); err == nil || err.Error() != "Already rewritten" {
					t.Errorf("%s: %s: %s, %v", mode, got, again, err)
				}
				for _, form := range []string{got, strings.ToLower(got)} { // smtpd folds case
					if back, err := policy.Reverse([]byte("<"), []byte(form)); string(back) != "<"+test.sender || err != nil {
						t.Errorf("%s: %s: %s, %v", mode, form, back, err)
					}
				}
				got = "alias"
			} else if len(store.kept) > 0 {
				t.Errorf("%s: %s: %s, and yet kept %v", mode, test.sender, got, store.kept)
			}
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s: %s, want %s", mode, test.sender, got, want)
			}
		}
	}
}

// TestAliasFormat holds PostSRSd 2.x's format.
func TestAliasFormat(t *testing.T) {
	var log []string
	policy := newPolicy(t, nil, func(severity int, line []byte) { log = append(log, fmt.Sprintf("%d %s", severity, line)) })
	store := &entries{kept: map[string]string{}}
	policy.Use(store, false)
	if got, err := policy.ForwardTCP(nil, []byte("test@otherdomain.com")); string(got) != alias || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if want := map[string]string{key + "@1": "test@otherdomain.com"}; !maps.Equal(store.kept, want) {
		t.Errorf("kept %v, want %v", store.kept, want)
	}
	policy.Reverse(nil, []byte(alias))
	clear(store.kept)
	policy.Reverse(nil, []byte(alias))
	want := []string{
		"6 srs_forward: <test@otherdomain.com> rewritten as <" + alias + ">",
		"6 srs_reverse: <" + alias + "> rewritten as <test@otherdomain.com>",
		"6 srs_reverse: <" + alias + "> not rewritten: Unknown alias.",
	}
	if strings.Join(log, "\n") != strings.Join(want, "\n") {
		t.Errorf("\n got %q\nwant %q", log, want)
	}
}

// TestAliasRefusals reverses aliases that lead nowhere.
func TestAliasRefusals(t *testing.T) {
	with := newPolicy(t, nil, func(int, []byte) {})
	with.Use(&entries{kept: map[string]string{}}, false)
	without := newPolicy(t, nil, func(int, []byte) {})
	broken := newPolicy(t, nil, func(int, []byte) {})
	broken.Use(&entries{broken: true}, false)
	for _, test := range []struct{ stored, with, without, broken string }{
		{key + "@1", "Unknown alias.", "No database for alias.", "Not looked up: the database of aliases does not answer."},
		{strings.ToLower(key) + "@1", "Unknown alias.", "No database for alias.", "Not looked up: the database of aliases does not answer."},
		{key[1:] + "@1", "", "", ""}, // no alias
		{key + "0@1", "", "", ""},
		{key[1:] + "W@1", "", "", ""},
		{key + "@2", "", "", ""},
		{key + "@1.example", "", "", ""},
	} {
		signed, err := without.Forward(nil, []byte(test.stored))
		if err != nil {
			t.Fatal(err)
		}
		for policy, want := range map[interface {
			Reverse(dst, recipient []byte) ([]byte, error)
		}]string{with: test.with, without: test.without, broken: test.broken} {
			got, err := policy.Reverse([]byte("<"), signed)
			if want == "" && (err != nil || string(got) != "<"+test.stored) || want != "" && (err == nil || err.Error() != want || string(got) != "<") {
				t.Errorf("%s: %s, %v; want %q", signed, got, err, want)
			}
		}
	}
	// A forged one is not looked up.
	if _, err := broken.Reverse(nil, []byte(strings.Replace(alias, "=2W", "x=2W", 1))); err == nil || err.Error() != "Hash invalid in SRS address." {
		t.Error(err)
	}
}
