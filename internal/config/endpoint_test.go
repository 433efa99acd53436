package config

import "testing"

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]Endpoint{
		"unix:/run/srs":        {Path: "/run/srs"},
		"unix:/a:b c":          {Path: "/a:b c"},
		"inet:10003":           {Port: "10003"},
		"inet:*:10003":         {Port: "10003"},
		"inet::10003":          {Port: "10003"},
		"inet:localhost:10003": {Host: "localhost", Port: "10003"},
		"inet:127.0.0.1:smtp":  {Host: "127.0.0.1", Port: "25"},
		"inet:[::1]:10003":     {Host: "::1", Port: "10003"},
		"inet:[::]:1":          {Host: "::", Port: "1"},
	} {
		got, err := ParseEndpoint(in)
		if got != want || err != nil {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
		if again, err := ParseEndpoint(got.String()); again != got || err != nil {
			t.Errorf("%s written as %s: %+v, %v", in, got, again, err)
		}
	}
	for _, in := range []string{"", "unix", "unix:", "unix:/", "unix:a", "unix:/a/", "unix:/a\x00", "inet", "inet:", "inet:0", "inet:65536", "inet:-1", "inet:a b:1", "inet:a:b:1",
		"inet:[::1]", "inet:[::1:1", "tcp:1", "UNIX:/a", "local:/a", "inet6:1"} {
		if got, err := ParseEndpoint(in); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
}
