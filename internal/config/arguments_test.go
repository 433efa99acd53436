package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseArguments(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", "[] map[] []"},
		{"a@b c@d", "[] map[] [a@b c@d]"},
		{"-dexample.com -s secret a@b", "[-d example.com -s secret] map[] [a@b]"},
		{"a@b -46t1 --json c@d", "[-4 -6 -t 1] map[json:[]] [a@b c@d]"},
		{"--resolver 127.0.0.1 --resolver=::1 -X -Xa,b", "[-X -Xa,b] map[resolver:[127.0.0.1 ::1]] []"},
		{"--env-file f --env-file=g", "[--env-file=f --env-file=g] map[] []"},
		{"-- -d --json", "[] map[] [-d --json]"},
		{"a -- -d", "[] map[] [a -d]"},
		{"-", "[] map[] [-]"},
		{"- --json", "[] map[json:[]] [-]"},
		{"-s --json", "[-s --json] map[] []"},
		{"-h", "error: help requested"},
		{"a -v", "error: version requested"},
		{"a --jso", "error: unrecognized option '--jso' (--help lists all)"},
		{"--json=x", "error: option '--json' takes no argument"},
		{"--resolver", "error: option '--resolver' requires an argument"},
		{"a -y", "error: invalid option -- 'y' (--help lists all)"},
	} {
		a, err := ParseArguments(strings.Fields(test.args), "json", "resolver=")
		got := fmt.Sprint(a.Flags, a.Own, a.Operands)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.args, got, test.want)
		}
	}
}

// TestArgumentsAgain holds that the daemon's flags mean the same after they
// went through a command's arguments.
func TestArgumentsAgain(t *testing.T) {
	args := []string{"-46De", "-t1", "-d", "", "-X", "-Xa b", "-l::1", "--log=stderr", "--env-file", "--log", "-p", "-x", "-A"}
	want, err := parseFlags(args)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseArguments(args)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseFlags(a.Flags)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestCommandAt(t *testing.T) {
	for args, want := range map[string]int{
		"": -1, "check": 0, "-d example.com check": 2, "-dexample.com -e check --json": 2, "-s check": -1,
		"-- check": -1, "-h check": -1, "-y check": -1, "-e": -1, "config": 0, "chek": -1, "x check": -1, "-s config check": 2,
	} {
		if got := CommandAt(strings.Fields(args), "check", "config"); got != want {
			t.Errorf("%s: %d, want %d", args, got, want)
		}
	}
}
