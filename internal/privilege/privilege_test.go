package privilege

import (
	"errors"
	"testing"
)

func TestLookup(t *testing.T) {
	for _, test := range []struct {
		name string
		want Identity
		err  string
	}{
		{name: "root", want: Identity{"root", 0, 0}},
		{name: "0", want: Identity{"0", 0, 0}},
		{name: "no-such-user", err: "No such user: no-such-user"},
		{name: "4000000000", err: "No such user: 4000000000"}, // no uid has that many bits
		{name: "2000000000", err: "No such user: 2000000000"},
		{name: "-1", err: "No such user: -1"},
		{name: "0x0", err: "No such user: 0x0"},
		{name: "", err: "No such user: "},
		{name: "root:x", err: "No such user: root:x"},
	} {
		got, err := Lookup(test.name)
		if test.err == "" {
			if err != nil || got != test.want {
				t.Errorf("%q: %+v, %v; want %+v", test.name, got, err, test.want)
			}
			continue
		}
		if !errors.Is(err, ErrNoSuchUser) || err.Error() != test.err {
			t.Errorf("%q: %+v, error %v; want %q", test.name, got, err, test.err)
		}
	}
}
