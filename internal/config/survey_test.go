package config

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

// TestSurvey holds that looking on goes on where the start stops, and that
// the start says the first thing.
func TestSurvey(t *testing.T) {
	for _, test := range []struct {
		args     string
		settings string
		wrong    []string // beginnings
		secrets  bool
	}{
		{args: "-d example.com -s $T/secret", secrets: true},
		{args: "-d exa(mple -s $T/secret -f nonsense -t x", secrets: true,
			wrong: []string{"-d exa(mple:", "-f nonsense:", "-t x:"}},
		{args: "-e", wrong: []string{"You must set a home domain", "You must set a secret"}},
		{args: "-d example.com -s $T/none -f 1 -r 1",
			wrong: []string{"forward port (command line) and reverse port", "Cannot open file with secret"}},
		{args: "-4 -l ::1 -d example.com -s $T/empty", wrong: []string{"-4 and the listen address ::1", "You must set a secret"}},
		{args: "-y", wrong: []string{"invalid option"}},
	} {
		p := newPlace(t)
		p.write(t, "empty", "")
		args := strings.Fields(strings.ReplaceAll(test.args, "$T", p.dir))
		c, wrong := p.loader.Survey(args, nil)
		if len(wrong) != len(test.wrong) {
			t.Fatalf("%s: %v", test.args, wrong)
		}
		for i, err := range wrong {
			if !strings.HasPrefix(err.Error(), test.wrong[i]) {
				t.Errorf("%s: %v, want %s", test.args, err, test.wrong[i])
			}
			if about := strings.Contains(test.wrong[i], "secret"); errors.Is(err, ErrSecrets) != about {
				t.Errorf("%s: %v is about secrets: %v", test.args, err, !about)
			}
		}
		if c != nil && (len(c.Secrets) > 0) != test.secrets {
			t.Errorf("%s: %v", test.args, c.Secrets)
		}
		if c != nil && (c.ForwardPort == "" || c.HashLength != 4) {
			t.Errorf("%s: no defaults in place of what is wrong: %+v", test.args, c)
		}
		_, err := p.load(args, nil)
		if len(wrong) > 0 && (err == nil || err.Error() != wrong[0].Error()) || len(wrong) == 0 && err != nil {
			t.Errorf("%s: the start says %v, not %v", test.args, err, wrong)
		}
	}
}

func TestSurveyKeepsTheCause(t *testing.T) {
	p := newPlace(t)
	_, wrong := p.loader.Survey([]string{"-d", "example.com", "-s", p.path("none")}, nil)
	if len(wrong) != 1 || !errors.Is(wrong[0], fs.ErrNotExist) {
		t.Error(wrong)
	}
}

func TestWays(t *testing.T) {
	for _, test := range []struct {
		addr   string
		family int
		want   string
	}{
		{"", 0, "127.0.0.1:1 [::1]:1"}, {"", 4, "127.0.0.1:1"}, {"", 6, "[::1]:1"}, {"192.0.2.1", 0, "192.0.2.1:1"},
		{"0.0.0.0", 0, "127.0.0.1:1"}, {"::", 0, "127.0.0.1:1 [::1]:1"}, {"::", 6, "[::1]:1"}, {"localhost", 0, "localhost:1"},
	} {
		c := Config{ListenAddr: test.addr, Family: test.family, ForwardPort: "1", ReversePort: "2"}
		want := Way{Network: "tcp", Forward: strings.Fields(test.want)}
		for _, address := range want.Forward {
			want.Reverse = append(want.Reverse, strings.TrimSuffix(address, "1")+"2")
		}
		if got := c.Ways(); !reflect.DeepEqual(got, []Way{want}) {
			t.Errorf("%q %d: %v, want %v", test.addr, test.family, got, want)
		}
	}
	for endpoint, want := range map[string]Way{
		"unix:/a":             {true, "unix", []string{"/a"}, []string{"/a"}},
		"inet:1":              {true, "tcp", []string{"127.0.0.1:1", "[::1]:1"}, []string{"127.0.0.1:1", "[::1]:1"}},
		"inet:localhost:1":    {true, "tcp", []string{"127.0.0.1:1", "[::1]:1"}, []string{"127.0.0.1:1", "[::1]:1"}},
		"inet:0.0.0.0:1":      {true, "tcp", []string{"127.0.0.1:1"}, []string{"127.0.0.1:1"}},
		"inet:[2001:db8::]:1": {true, "tcp", []string{"[2001:db8::]:1"}, []string{"[2001:db8::]:1"}},
	} {
		c := Config{}
		c.Socketmap, _ = ParseEndpoint(endpoint)
		if got := c.Ways(); !reflect.DeepEqual(got, []Way{want}) {
			t.Errorf("%s: %v, want %v", endpoint, got, want)
		}
	}
	if got := (&Config{}).Ways(); got != nil {
		t.Error(got)
	}
}
