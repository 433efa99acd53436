package srs_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"postsrsd/srs"
)

// FuzzRoundTrip holds that whatever is forwarded comes back as the same
// mailbox, that the result fits, and that one character changed in hash,
// stamp, host or user verifies no more.
func FuzzRoundTrip(f *testing.F) {
	for _, local := range []string{"user", "user+tag", `"a b"`, `"a@b"`, `"a\"b\\"`, `"a\b"`, "SRS0=a=b=c=d", "SRS1+x=y=-z", "=+-", "J\u00d6RG", `"`, `"..“`, `""`, `a"b"c`, "\xff", "srs0", "@"} {
		f.Add(local, "example.org", 3)
		f.Add(local, "[192.0.2.1]", 30)
		f.Add(local, "stra\u00dfe.example", 17)
	}
	o := options()
	o.HashLength, o.HashMinimum = 27, 27 // so that chance verifies nothing
	codec := mustNew(f, o)
	f.Fuzz(func(t *testing.T, local, host string, at int) {
		sender := local + "@" + host
		signed, err := codec.Forward(sender)
		if err != nil || signed == sender {
			return
		}
		if len(signed) > srs.MaxLength {
			t.Fatalf("Forward(%q) has %d octets", sender, len(signed))
		}
		back, err := codec.Reverse(signed)
		want := original(sender)
		if err != nil || !sameMailbox(back, want) {
			t.Fatalf("Forward(%q) = %q, back %q, %v; want %q", sender, signed, back, err, want)
		}
		again, err := codec.Reverse(strings.ToUpper(signed[:5]) + signed[5:])
		if err != nil || again != back {
			t.Fatalf("tag in capitals: %q, %v", again, err)
		}

		tampered := []byte(signed)
		first := strings.IndexAny(signed, "=+-") + 1
		last := strings.LastIndexByte(signed, '@')
		if at < 0 || first+at >= last {
			return
		}
		i := first + at
		tampered[i] = tampered[i] ^ 0x01
		if strings.EqualFold(signed, string(tampered)) {
			return
		}
		if got, err := codec.Reverse(string(tampered)); err == nil {
			t.Fatalf("%q verifies as %q, made of %q", tampered, got, signed)
		}
	})
}

// FuzzReverse holds that nothing but the hash decides: what verifies under one
// secret does not under another, and no input brings the codec down.
func FuzzReverse(f *testing.F) {
	f.Add([]byte("SRS0=vmyz=2W=otherdomain.com=test@example.com"))
	f.Add([]byte("SRS1=JIBX=thirddomain.com==opaque+string@example.com"))
	f.Add([]byte(`"SRS0=C+l1=2W=example.org=a b"@example.com`))
	f.Add([]byte(`SRS0=x+cx=2W=b"@example.org="a@example.com`))
	f.Add([]byte(`"SRS0===\"@`))
	ours := mustNew(f, srs.Options{Domain: "example.com", Secrets: [][]byte{[]byte("tops3cr3t")}, HashLength: 27, HashMinimum: 4, Now: func() time.Time { return newYear2020 }})
	theirs := mustNew(f, srs.Options{Domain: "example.com", Secrets: [][]byte{[]byte("other")}, HashLength: 27, HashMinimum: 27, Now: func() time.Time { return newYear2020 }})
	f.Fuzz(func(t *testing.T, address []byte) {
		before := bytes.Clone(address)
		got, err := ours.AppendReverse(nil, address)
		if !bytes.Equal(before, address) {
			t.Fatalf("Reverse changed its input %q", before)
		}
		if err != nil && len(got) > 0 || err == nil && len(got) == 0 {
			t.Fatalf("Reverse(%q) = %q, %v", address, got, err)
		}
		signature, explained := ours.Explain(string(address))
		if err == nil && (explained != nil || signature.Secret != 1 || signature.DaysLeft < 0) {
			t.Fatalf("Explain(%q) = %+v, %v", address, signature, explained)
		}
		if _, err := theirs.AppendReverse(nil, address); err == nil {
			t.Fatalf("another secret verifies %q", address)
		}
	})
}
