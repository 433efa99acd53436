package rewrite_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postsrsd/internal/rewrite"
	"postsrsd/srs"
)

func newPolicy(t testing.TB, excluded []string, log rewrite.Log) *rewrite.Policy {
	t.Helper()
	codec, err := srs.New(srs.Options{
		Domain:  "example.com",
		Secrets: [][]byte{[]byte("tops3cr3t")},
		Now:     func() time.Time { return time.Unix(1577880000, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return rewrite.New(codec, excluded, []string{"own.example", ".own.example"}, log)
}

func TestLog(t *testing.T) {
	var lines []string
	policy := newPolicy(t, []string{"excluded.com"}, func(severity int, line []byte) {
		lines = append(lines, fmt.Sprintf("%d %s", severity, line))
	})
	for _, test := range []struct {
		lookup  func(dst, key []byte) ([]byte, error)
		address string
		want    string
	}{
		{policy.Forward, "test@otherdomain.com", "6 srs_forward: <test@otherdomain.com> rewritten as <SRS0=vmyz=2W=otherdomain.com=test@example.com>"},
		{policy.Forward, "a@excluded.com", "6 srs_forward: <a@excluded.com> not rewritten: Domain excluded by policy"},
		{policy.Forward, "SRS0=vmyz=2W=otherdomain.com=test@example.com", "5 srs_forward: <SRS0=vmyz=2W=otherdomain.com=test@example.com> not rewritten: Valid SRS address for <test@otherdomain.com>"},
		{policy.Forward, "test@example.com", ""},
		{policy.Forward, "a@own.example", ""},
		{policy.Forward, "SRS1=x@y", "6 srs_forward: <SRS1=x@y> not rewritten: No host in SRS1 address."},
		{policy.Reverse, "SRS0=vmyz=2W=otherdomain.com=test@example.com", "6 srs_reverse: <SRS0=vmyz=2W=otherdomain.com=test@example.com> rewritten as <test@otherdomain.com>"},
		{policy.Reverse, "SRS0=vmyy=2W=otherdomain.com=test@example.com", "6 srs_reverse: <SRS0=vmyy=2W=otherdomain.com=test@example.com> not rewritten: Hash invalid in SRS address."},
		{policy.Reverse, "test@example.com", ""},
	} {
		lines = nil
		test.lookup(nil, []byte(test.address))
		if got := strings.Join(lines, "\n"); got != test.want {
			t.Errorf("%s\n got %s\nwant %s", test.address, got, test.want)
		}
	}
}

func TestSocketmapWords(t *testing.T) {
	policy := newPolicy(t, []string{"excluded.com"}, func(int, []byte) {})
	for _, test := range []struct{ sender, want, err string }{
		{sender: "test@otherdomain.com", want: "SRS0=vmyz=2W=otherdomain.com=test@example.com"},
		{sender: "test@example.com", err: "Need not rewrite local domain."},
		{sender: "a@Excluded.com", err: "Need not rewrite local domain."},
		{sender: "a@OWN.example", err: "Need not rewrite local domain."},
		{sender: "a@b.own.example", err: "Need not rewrite local domain."},
		{sender: "a@notown.example", want: "SRS0=WuWn=2W=notown.example=a@example.com"},
		{sender: "SRS0=x@own.example", err: "Need not rewrite local domain."},
		{sender: "mail.own.example", err: "No domain."},
		{sender: "postmaster", err: "No domain."},
		{sender: `""`, err: "No domain."},
		{sender: "SRS0=vmyz=2W=otherdomain.com=test@example.com", err: "Already rewritten"},
		{sender: "SRS1=x@y", err: "No host in SRS1 address."},
	} {
		got, err := policy.ForwardSocketmap(nil, []byte(test.sender))
		if words := fmt.Sprint(err); string(got) != test.want || test.err != "" && words != test.err {
			t.Errorf("%s: %s, %v", test.sender, got, err)
		}
	}
}

// TestOwnDomainsOnTCP holds that a sender of ours ends Postfix's chain of maps,
// as one in the codec's domain does.
func TestOwnDomainsOnTCP(t *testing.T) {
	policy := newPolicy(t, nil, func(int, []byte) {})
	for _, sender := range []string{"a@own.example", "a@b.own.example", "a@example.com"} {
		if got, err := policy.ForwardTCP(nil, []byte(sender)); string(got) != sender || err != nil {
			t.Errorf("%s: %s, %v", sender, got, err)
		}
	}
}

func TestExclusions(t *testing.T) {
	policy := newPolicy(t, []string{"excluded.com", ".dots.org", ".", "Mixed.Case", ".a@b"}, func(int, []byte) {})
	for sender, want := range map[string]bool{
		"a@excluded.com":                  true,
		"a@EXCLUDED.com":                  true,
		"@excluded.com":                   true,
		"excluded.com":                    false,
		"a@sub.excluded.com":              false,
		"a@xexcluded.com":                 false,
		"a@dots.org":                      false,
		"a@sub.dots.org":                  true,
		"a@a.b.dots.org":                  true,
		"a@.dots.org":                     true,
		"x.dots.org":                      true,
		".dots.org":                       false,
		"a.dots.org@other.net":            false,
		"a@mixed.case":                    true,
		"a@other.net.":                    true, // the entry "." is a suffix, too
		"":                                false,
		"a@" + strings.Repeat("x.", 4000): true,
		"a@" + strings.Repeat(".x", 4000): false,
	} {
		_, err := policy.Forward(nil, []byte(sender))
		if got := err == rewrite.ErrExcluded; got != want {
			t.Errorf("%.40s excluded: %v, want %v", sender, got, want)
		}
	}
}

// BenchmarkExclusions is to show no difference between none and 100 000.
func BenchmarkExclusions(b *testing.B) {
	for _, n := range []int{0, 1, 100_000} {
		entries := make([]string, n)
		for i := range entries {
			entries[i] = fmt.Sprintf("domain%d.example", i)
			if i%2 == 0 {
				entries[i] = "." + entries[i]
			}
		}
		policy := newPolicy(b, entries, func(int, []byte) {})
		sender, out := []byte("somebody@mail.otherdomain.com"), make([]byte, 0, 1024)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				policy.Forward(out, sender)
			}
		})
	}
}
