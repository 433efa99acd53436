package config

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// said is a Config without where its values come from and what was said of
// them.
func said(c *Config) Config {
	only := *c
	only.Sources, only.Unknown, only.Warnings = nil, nil, nil
	return only
}

// roundTrip loads args, writes the settings file, and holds that it is read
// back as the same Config, and by the shell as the same values.
func roundTrip(t testing.TB, p *place, args, environ []string) {
	t.Helper()
	c, err := p.load(args, environ)
	if err != nil {
		return
	}
	text, err := c.SettingsFile()
	if strings.ContainsAny(c.PIDFile, " \t") {
		if err == nil {
			t.Errorf("%q: a settings file cannot say this, and did:\n%s", args, text)
		}
		return
	}
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	file := p.write(t, "written", text)
	back, err := p.load([]string{"--env-file", file}, nil)
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, text)
	}
	if want, got := said(c), said(back); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q:\nwant %#v\ngot  %#v\n%s", args, want, got, text)
	}
	set, ok := shellSets(t, "/bin/sh", file)
	if !ok {
		t.Fatalf("the shell ends in\n%s", text)
	}
	for _, s := range Settings {
		if s.Name == "" || s.Variable == "" || s.Scope == EnvironmentOnly || s.Scope == Always {
			continue
		}
		if want := c.Text(s.Name); set[s.Variable] != want {
			t.Fatalf("the shell reads %s as %q, not %q:\n%s", s.Variable, set[s.Variable], want, text)
		}
	}
}

// TestSettingsFile has values that a shell takes for something else.
func TestSettingsFile(t *testing.T) {
	p := newPlace(t)
	p.write(t, "it's $(a) \"secret\"", "0123456789abcdef")
	for _, args := range [][]string{
		{"-d", "example.com", "-s", "$T/secret"},
		{"-d", "example.com", "-s", "$T/it's $(a) \"secret\""},
		{"-d", "a@b", "-s", "$T/secret", "-a", "+", "-n", "8", "-N", "6", "-A", "-4", "-D", "--log=stderr", "-p", "/run/a b"},
		{"-d", "a@b", "-s", "$T/secret", "-6", "-l", "::1", "-f", "smtp", "-r", "25252", "-t", "0", "-p", "/run/$HOME'`x`"},
		{"-d", "a", "-s", "$T/secret", "-Xa,b.example;.c '\\''d' \"e $f `g` A B.Example # !x * ~", "-X", "-u", "", "-c", ""},
		{"-d", "a", "-s", "$T/secret", "-c", "/a\nb\t'c'\\", "-u", "-x"},
		{"-d", "a", "-s", "$T/secret", "-c", "\xff\xfe\x01\x7f日本"},
	} {
		roundTrip(t, p, args, nil)
	}
	roundTrip(t, p, []string{"-e"}, []string{"SRS_DOMAIN=a", "SRS_SECRET=$T/secret", "SRS_ALPHABET=-_", "SRS_PID_FILE=/x", "SRS_CONNECTION_LIMIT=7"})
	roundTrip(t, p, nil, nil)
}

// TestSettingsFileProperty holds the same for settings nobody thought of.
func TestSettingsFileProperty(t *testing.T) {
	p := newPlace(t)
	tried := 0
	for seed := range uint64(150) {
		args := randomArgs(rand.New(rand.NewPCG(seed, 1)))
		if _, err := p.load(args, nil); err == nil {
			tried++
		}
		roundTrip(t, p, args, nil)
	}
	if tried < 75 {
		t.Errorf("only %d of the settings are right", tried)
	}
}

func FuzzSettingsFile(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	p := newPlace(f)
	f.Fuzz(func(t *testing.T, a, b uint64) {
		roundTrip(t, p, randomArgs(rand.New(rand.NewPCG(a, b))), nil)
	})
}

// randomArgs is a command line with most settings in it, many of them strange.
func randomArgs(r *rand.Rand) []string {
	text := func(most int) string {
		const strange = "ab.-_'\"\\$`#!*?~;&|<>(){}[]=:,@%^ \t\n\x01\x7f\xff\u00a0日"
		var b strings.Builder
		for range r.IntN(most + 1) {
			b.WriteByte(strange[r.IntN(len(strange))])
		}
		return b.String()
	}
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	args := []string{"-d", pick("a", "example.com", "x@b.example", "日本.example"), "-s", "$T/secret"}
	for _, flag := range [][]string{
		{"-a", pick("=", "+", "-x")}, {"-n", fmt.Sprint(r.IntN(28))}, {"-N", fmt.Sprint(r.IntN(28))}, {"-A"}, {"-D"}, {"-" + pick("4", "6")},
		{"-X" + text(40)}, {"-X" + text(40)}, {"-l", pick("", "localhost", text(3))}, {"-f", fmt.Sprint(1 + r.IntN(65535))}, {"-r", pick("smtp", "7")},
		{"-t", fmt.Sprint(r.IntN(10000))}, {"-c", text(20)}, {"-u", text(20)}, {"-p", strings.ReplaceAll(text(20), "\n", "")},
		{"--log=" + pick("", "stderr", "syslog")},
	} {
		if r.IntN(2) == 0 {
			args = append(args, flag...)
		}
	}
	return args
}
