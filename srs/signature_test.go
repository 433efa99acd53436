package srs_test

import (
	"testing"
	"time"

	"postsrsd/internal/golden"
	"postsrsd/srs"
)

func TestExplain(t *testing.T) {
	day := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	}
	o := options() // 2020-01-01, stamp 2W
	o.Secrets = [][]byte{[]byte("new"), []byte("tops3cr3t"), []byte("tops3cr3t")}
	codec := mustNew(t, o)
	for _, test := range []struct {
		address string
		want    srs.Signature
		err     error
	}{
		{"SRS0=vmyz=2W=otherdomain.com=test@example.com",
			srs.Signature{Tag: "SRS0", Domain: "example.com", Host: "otherdomain.com", Secret: 2, Signed: day(2020, 1, 1), DaysLeft: 21}, nil},
		{"srs0+VMYZ=2w=otherdomain.com=test",
			srs.Signature{Tag: "SRS0", Host: "otherdomain.com", Secret: 2, Signed: day(2020, 1, 1), DaysLeft: 21}, nil},
		{"SRS0=AAAA=2W=otherdomain.com=test@example.net",
			srs.Signature{Tag: "SRS0", Domain: "example.net", Host: "otherdomain.com", Signed: day(2020, 1, 1), DaysLeft: 21}, nil},
		// Too short a hash is nobody's.
		{"SRS0=vmy=2W=otherdomain.com=test@example.com",
			srs.Signature{Tag: "SRS0", Domain: "example.com", Host: "otherdomain.com", Signed: day(2020, 1, 1), DaysLeft: 21}, nil},
		// The last day, the day after it, and the longest ago there is: tomorrow.
		{"SRS0=AAAA=2B=h=u@d", srs.Signature{Tag: "SRS0", Domain: "d", Host: "h", Signed: day(2019, 12, 11), DaysLeft: 0}, nil},
		{"SRS0=AAAA=2A=h=u@d", srs.Signature{Tag: "SRS0", Domain: "d", Host: "h", Signed: day(2019, 12, 10), DaysLeft: -1}, nil},
		{"SRS0=AAAA=2X=h=u@d", srs.Signature{Tag: "SRS0", Domain: "d", Host: "h", Signed: day(2017, 3, 14), DaysLeft: 21 - 1023}, nil},
		{"SRS1=JIBX=thirddomain.com==opaque+string@example.com",
			srs.Signature{Tag: "SRS1", Domain: "example.com", Host: "thirddomain.com", Secret: 2}, nil},
		{`"SRS0=C+l1=2W=example.org=a b"@example.com`,
			srs.Signature{Tag: "SRS0", Domain: "example.com", Host: "example.org", Secret: 2, Signed: day(2020, 1, 1), DaysLeft: 21}, nil},
		// 1.x cut "b"@example.org="a"@... at the first @.
		{`SRS0=x+cx=2W=b"@example.org="a@example.com`,
			srs.Signature{Tag: "SRS0", Domain: "example.com", Host: "example.org", Secret: 2, Signed: day(2020, 1, 1), DaysLeft: 21}, nil},
		{"alice@example.org", srs.Signature{}, srs.ErrNotSRS},
		{`"alice"@example.org`, srs.Signature{}, srs.ErrNotSRS},
		{"SRS0=h@d", srs.Signature{}, srs.ErrNoSRS0Stamp},
		{"SRS1=h=i@d", srs.Signature{}, srs.ErrNoSRS1User},
		{"SRS0=h=222=h=u@d", srs.Signature{}, srs.ErrExpired},
		{"SRS0=h=21=h=u@d", srs.Signature{}, srs.ErrBadStamp},
		{"", srs.Signature{}, srs.ErrNotSRS},
	} {
		got, err := codec.Explain(test.address)
		if got != test.want || err != test.err {
			t.Errorf("Explain(%q) = %+v, %v\nwant %+v, %v", test.address, got, err, test.want, test.err)
		}
	}
}

// TestExplainsWhatItReverses goes through what others signed.
func TestExplainsWhatItReverses(t *testing.T) {
	signed := 0
	for _, file := range []string{"libraries.exact.tsv", "libraries.deviating.tsv"} {
		for _, row := range golden.Read(t, file) {
			codec := codecFor(t, row)
			for _, address := range []string{row.Input, row.Output} {
				_, err := codec.Reverse(address)
				signature, explained := codec.Explain(address)
				if err == nil {
					signed++
				}
				if err == nil && (explained != nil || signature.Secret != 1 || signature.DaysLeft < 0) {
					t.Errorf("%s: Explain(%q) = %+v, %v", row.Name, address, signature, explained)
				}
				if err == srs.ErrHashInvalid && signature.Secret != 0 {
					t.Errorf("%s: Explain(%q) = %+v", row.Name, address, signature)
				}
				if explained != nil && explained != err {
					t.Errorf("%s: Explain(%q): %v, Reverse: %v", row.Name, address, explained, err)
				}
			}
		}
	}
	if signed < 280 {
		t.Errorf("only %d signed addresses", signed)
	}
}
