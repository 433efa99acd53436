package srs_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"postsrsd/srs"
)

var newYear2020 = time.Unix(1577880000, 0)

func options() srs.Options {
	return srs.Options{
		Domain:  "example.com",
		Secrets: [][]byte{[]byte("tops3cr3t")},
		Now:     func() time.Time { return newYear2020 },
	}
}

func mustNew(t testing.TB, o srs.Options) *srs.Codec {
	t.Helper()
	codec, err := srs.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		change func(*srs.Options)
		want   error
		text   string
	}{
		{func(o *srs.Options) { o.Domain = "" }, srs.ErrDomain, `srs: bad domain ""`},
		{func(o *srs.Options) { o.Domain = "a b" }, srs.ErrDomain, `srs: bad domain "a b"`},
		{func(o *srs.Options) { o.Domain = "a@b" }, srs.ErrDomain, `srs: bad domain "a@b"`},
		{func(o *srs.Options) { o.Separator = 'x' }, srs.ErrSeparator, `srs: bad separator 'x': want one of = + -`},
		{func(o *srs.Options) { o.HashLength = 28 }, srs.ErrHashLength, `srs: bad hash length 28: want 1 to 27`},
		{func(o *srs.Options) { o.HashLength = -1 }, srs.ErrHashLength, `srs: bad hash length -1: want 1 to 27`},
		{func(o *srs.Options) { o.HashMinimum = 5 }, srs.ErrHashLength, `srs: bad hash length: minimum 5, want 1 to 4`},
		{func(o *srs.Options) { o.MaxAge = 1023 }, srs.ErrMaxAge, `srs: bad maximum age 1023 days: want 1 to 1022`},
		{func(o *srs.Options) { o.Now = nil }, srs.ErrClock, `srs: no clock`},
	} {
		o := options()
		test.change(&o)
		_, err := srs.New(o)
		if !errors.Is(err, test.want) || err.Error() != test.text {
			t.Errorf("New = %v, want %s", err, test.text)
		}
	}
}

// TestForward has what the golden rows do not: quoting, and our own refusals.
func TestForward(t *testing.T) {
	codec := mustNew(t, options())
	for _, test := range []struct {
		sender, want string
		err          error
	}{
		{sender: `a@b@example.org`, want: `"SRS0=oxcf=2W=example.org=a@b"@example.com`},
		{sender: `"a@b"@example.org`, want: `"SRS0=oxcf=2W=example.org=a@b"@example.com`},
		{sender: `"a b"@example.org`, want: `"SRS0=C+l1=2W=example.org=a b"@example.com`},
		{sender: `"quoted"@example.org`, want: `SRS0=h4+3=2W=example.org=quoted@example.com`},
		{sender: `user@[192.0.2.1]`, want: `"SRS0=AZQw=2W=[192.0.2.1]=user"@example.com`},
		{sender: `back\slash@example.org`, want: `"SRS0=E3f7=2W=example.org=back\\slash"@example.com`},
		{sender: `u..v@example.org`, want: `SRS0=V2cN=2W=example.org=u..v@example.com`},
		{sender: `"u..v"@example.org`, want: `"SRS0=V2cN=2W=example.org=u..v"@example.com`},
		{sender: `"SRS0=abcd=2W=x.org=u"@example.org`, want: `SRS1=/jnC=example.org==abcd=2W=x.org=u@example.com`},
		{sender: `SRS0@x.com`, want: `SRS0=o3GU=2W=x.com=SRS0@example.com`},
		{sender: `SRS1@x.com`, want: `SRS0=9Awl=2W=x.com=SRS1@example.com`},
		{sender: `user@a=b.example`, err: srs.ErrEqualsInHost},
		{sender: `SRS0=x@a=b.example`, err: srs.ErrEqualsInHost},
		{sender: `""@example.org`, err: srs.ErrEmptyLocalPart},
		{sender: `""`, err: srs.ErrNoAtSign},
		{sender: `"a@b"`, err: srs.ErrNoAtSign},
		{sender: strings.Repeat("x", 986) + "@example.org", want: ""},
		{sender: strings.Repeat("x", 987) + "@example.org", err: srs.ErrTooLong},
	} {
		got, err := codec.Forward(test.sender)
		if err != test.err || test.want != "" && got != test.want {
			t.Errorf("Forward(%s) = %s, %v; want %s, %v", test.sender, got, err, test.want, test.err)
		}
	}
}

func TestReverse(t *testing.T) {
	codec := mustNew(t, options())
	for _, test := range []struct {
		address, want string
		err           error
	}{
		{address: `"SRS0=C+l1=2W=example.org=a b"@example.com`, want: `"a b"@example.org`},
		{address: `SRS0=C+l1=2W=example.org=a b@example.com`, want: `"a b"@example.org`},
		{address: `SRS0=G2lL=2W=example.org="a b"@example.com`, want: `"a b"@example.org`}, // 1.x
		{address: `SRS0=x+cx=2W=b"@example.org="a@example.com`, want: `"a@b"@example.org`}, // 1.x
		{address: `SRS0=2SJh=2W=[IPv6:2001:db8::1]=user@example.com`, want: `user@[IPv6:2001:db8::1]`},
		{address: `"SRS0=4fvw=2W=example.org=a\"b"@example.com`, want: `"a\"b"@example.org`}, // pysrs
		{address: `"SRS0=V2cN=2W=example.org=u..v"@example.com`, want: `"u..v"@example.org`},
		{address: `SRS0=vmyz=2W=otherdomain.com=test@a@b`, err: srs.ErrHashInvalid},
		{address: `SRS0=vmyz7BwaV7BFsJiaZTJeJaQF2Ys=2W=otherdomain.com=test@example.com`, want: `test@otherdomain.com`},
		{address: `SRS0=vmyz7BwaV7BFsJiaZTJeJaQF2YsA=2W=otherdomain.com=test@example.com`, err: srs.ErrHashInvalid},
		{address: `SRS0=vmyzZZZZ=2W=otherdomain.com=test@example.com`, err: srs.ErrHashInvalid},
		{address: `SRS0=vmyz=` + strings.Repeat("2W", 1<<19) + `=otherdomain.com=test@example.com`, err: srs.ErrExpired},
		{address: `SRS0@example.com`, err: srs.ErrNotSRS},
		{address: `SRS@example.com`, err: srs.ErrNotSRS},
		{address: `"`, err: srs.ErrNotSRS},
		{address: `""`, err: srs.ErrNotSRS},
		{address: ``, err: srs.ErrNotSRS},
	} {
		got, err := codec.Reverse(test.address)
		if err != test.err || got != test.want {
			t.Errorf("Reverse(%.80s) = %s, %v; want %s, %v", test.address, got, err, test.want, test.err)
		}
	}
}

// TestCaseFolding sends what smtpd sends: the whole address under full case
// folding, in which a sharp s becomes two.
func TestCaseFolding(t *testing.T) {
	codec := mustNew(t, options())
	for _, test := range []struct{ sender, folded, want string }{
		{"Jörg@Example.org", "jörg@example.org", "jörg@example.org"},
		{"JÖRG@STRAßE.example", "jörg@strasse.example", "jörg@strasse.example"},
		{"\u212Aelvin@example.org", "kelvin@example.org", "kelvin@example.org"},
	} {
		signed, err := codec.Forward(test.sender)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := codec.Reverse(signed); got != test.sender {
			t.Errorf("Reverse(%s) = %s, %v", signed, got, err)
		}
		_, host := mailbox(test.sender)
		_, foldedHost := mailbox(test.folded)
		local, _ := mailbox(test.sender)
		foldedLocal, _ := mailbox(test.folded)
		asked := strings.Replace(signed, host+"="+local, foldedHost+"="+foldedLocal, 1)
		asked = strings.ToLower(asked)
		if got, err := codec.Reverse(asked); got != test.want {
			t.Errorf("Reverse(%s) = %s, %v; want %s", asked, got, err, test.want)
		}
	}
	// 1.x knew ASCII letters only.
	signed := "SRS0=05UY=2W=EXAMPLE.ORG=JÖRG@example.com"
	if got, err := codec.Reverse(signed); got != "JÖRG@EXAMPLE.ORG" {
		t.Errorf("Reverse(%s) = %s, %v", signed, got, err)
	}
	// Octets that are no UTF-8 are signed and verified as they are.
	signed, err := codec.Forward("\xff\xfe@example.org")
	if got, err2 := codec.Reverse(signed); got != "\xff\xfe@example.org" {
		t.Errorf("Reverse(%q) = %q, %v, %v", signed, got, err, err2)
	}
}

func TestSecrets(t *testing.T) {
	old := options()
	rotated := options()
	rotated.Secrets = [][]byte{[]byte("new"), []byte("tops3cr3t")}
	signed, _ := mustNew(t, old).Forward("test@otherdomain.com")
	if got, err := mustNew(t, rotated).Reverse(signed); got != "test@otherdomain.com" {
		t.Errorf("after rotation Reverse(%s) = %s, %v", signed, got, err)
	}
	fresh, _ := mustNew(t, rotated).Forward("test@otherdomain.com")
	if _, err := mustNew(t, old).Reverse(fresh); err != srs.ErrHashInvalid {
		t.Errorf("the old secret verifies the new one's address: %v", err)
	}
	none := options()
	none.Secrets = nil
	if _, err := mustNew(t, none).Forward("a@b"); err != srs.ErrNoSecrets {
		t.Errorf("Forward without secrets: %v", err)
	}
	if _, err := mustNew(t, none).Reverse(signed); err != srs.ErrHashInvalid {
		t.Errorf("Reverse without secrets: %v", err)
	}
}

func TestAlphabets(t *testing.T) {
	url := options()
	url.URLSafe = true
	written, _ := mustNew(t, url).Forward("a b@example.org")
	if want := `"SRS0=C-l1=2W=example.org=a b"@example.com`; written != want {
		t.Errorf("URL-safe: %s, want %s", written, want)
	}
	for _, codec := range []*srs.Codec{mustNew(t, url), mustNew(t, options())} {
		for _, hash := range []string{"C-l1", "C+l1", "c-L1"} {
			address := `"SRS0=` + hash + `=2W=example.org=a b"@example.com`
			if _, err := codec.Reverse(address); err != nil {
				t.Errorf("Reverse(%s): %v", address, err)
			}
		}
	}
}

// TestAge walks a stamp through the whole cycle of 1024 days.
func TestAge(t *testing.T) {
	o := options()
	var now time.Time
	o.Now = func() time.Time { return now }
	codec := mustNew(t, o)
	for _, start := range []time.Time{newYear2020, time.Unix(-86400*3000, 0), time.Unix(1024*86400-1, 0)} {
		now = start
		signed, err := codec.Forward("test@otherdomain.com")
		if err != nil {
			t.Fatal(err)
		}
		for day := range 1024 {
			now = start.AddDate(0, 0, day)
			_, err := codec.Reverse(signed)
			if valid := day <= 21; valid != (err == nil) {
				t.Fatalf("signed %v, after %d days: %v", start, day, err)
			}
		}
	}
}

func TestNewSecret(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		secret := srs.NewSecret(24)
		if _, err := base64.StdEncoding.DecodeString(secret); err != nil || len(secret) != 24 || seen[secret] {
			t.Fatalf("NewSecret gave a bad or an old one of %d characters: %v", len(secret), err)
		}
		seen[secret] = true
	}
}

func TestAppendLeavesDstOnError(t *testing.T) {
	codec := mustNew(t, options())
	dst := []byte("kept")
	for _, f := range []func([]byte, []byte) ([]byte, error){codec.AppendForward, codec.AppendReverse} {
		for _, bad := range []string{"", "x", "SRS0=a=2W=b=c@d", strings.Repeat("x", 2000) + "@y=z"} {
			if got, err := f(dst, []byte(bad)); err != nil && !bytes.Equal(got, dst) {
				t.Errorf("%q: %q, %v", bad, got, err)
			}
		}
	}
}

func benchmark(b *testing.B, f func(dst, address []byte) ([]byte, error), address string) {
	in, out := []byte(address), make([]byte, 0, 1024)
	if _, err := f(out, in); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		f(out, in)
	}
}

func BenchmarkForward(b *testing.B) {
	benchmark(b, mustNew(b, options()).AppendForward, "test@otherdomain.com")
}

func BenchmarkReverse(b *testing.B) {
	benchmark(b, mustNew(b, options()).AppendReverse, "SRS0=vmyz=2W=otherdomain.com=test@example.com")
}

// BenchmarkHMAC is what the two above are measured against: one HMAC-SHA1 of
// the same octets, with the key set up before.
func BenchmarkHMAC(b *testing.B) {
	mac, text, sum := hmac.New(sha1.New, []byte("tops3cr3t")), []byte("2wotherdomain.comtest"), make([]byte, 0, 20)
	b.ReportAllocs()
	for b.Loop() {
		mac.Reset()
		mac.Write(text)
		mac.Sum(sum)
	}
}

var oneAlphabet = strings.NewReplacer("-", "+", "_", "/")

// TestTampering changes each character behind the tag into every other one.
func TestTampering(t *testing.T) {
	o := options()
	o.HashLength, o.HashMinimum = 27, 27 // so that chance verifies nothing
	codec := mustNew(t, o)
	for _, sender := range []string{"Test+user@otherdomain.com", "SRS0=a=b=c=d@otherdomain.com", `"a b"@[192.0.2.1]`} {
		signed, err := codec.Forward(sender)
		if err != nil {
			t.Fatal(err)
		}
		hash := strings.IndexByte(signed, '=') + 1
		for i := hash; i < strings.LastIndexByte(signed, '@'); i++ {
			for c := range 256 {
				tampered := []byte(signed)
				tampered[i] = byte(c)
				a, b := signed, string(tampered)
				if i < hash+27 {
					a, b = oneAlphabet.Replace(a), oneAlphabet.Replace(b)
				}
				same := strings.EqualFold(a, b)
				if got, err := codec.Reverse(string(tampered)); err == nil && !same {
					t.Errorf("%q verifies as %q, made of %q", tampered, got, signed)
				}
			}
		}
	}
}
