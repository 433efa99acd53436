package config

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestFlags(t *testing.T) {
	tests := []struct {
		args []string
		want string // name and value of each use, or the error
	}{
		{nil, ""},
		{[]string{"-t1"}, "-t=1"},
		{[]string{"-t", "1"}, "-t=1"},
		{[]string{"-dexample.com"}, "-d=example.com"},
		{[]string{"-d", "a@b"}, "-d=a@b"},
		{[]string{"-d", "-e"}, "-d=-e"},
		{[]string{"-d", "--"}, "-d=--"},
		{[]string{"-d", ""}, "-d="},
		{[]string{"-a="}, "-a=="},
		{[]string{"-a", "="}, "-a=="},
		{[]string{"-a-"}, "-a=-"},
		{[]string{"-46De"}, "-4=4 -6=6 -D=D -e=e"},
		{[]string{"-4Dt5"}, "-4=4 -D=D -t=5"},
		{[]string{"-AeXa,b"}, "-A=A -e=e -X=a,b"},
		{[]string{"-X"}, "-X="},
		{[]string{"-Xa,b", "-X", "-Xc"}, "-X=a,b -X= -X=c"},
		{[]string{"-X="}, "-X=="},
		{[]string{"-X", "a"}, "extra argument on command line: a"},
		{[]string{"-X", "-4"}, "-X= -4=4"},
		{[]string{"-X a\tb"}, "-X= a\tb"},
		{[]string{"-4", "--"}, "-4=4"},
		{[]string{"--", "-4"}, "extra argument on command line: -4"},
		{[]string{"-4", "x", "-z"}, "extra argument on command line: x"},
		{[]string{"-"}, "extra argument on command line: -"},
		{[]string{""}, "extra argument on command line: "},
		{[]string{"a\nb"}, `extra argument on command line: "a\nb"`},
		{[]string{"-4-"}, "invalid option -- '-' (--help lists all)"},
		{[]string{"-z"}, "invalid option -- 'z' (--help lists all)"},
		{[]string{"-4z"}, "invalid option -- 'z' (--help lists all)"},
		{[]string{"-é"}, "invalid option -- 'é' (--help lists all)"},
		{[]string{"-d"}, "option requires an argument -- 'd'"},
		{[]string{"-4d"}, "option requires an argument -- 'd'"},
		{[]string{"--env-file", "f", "--env-file=g", "--env-file="}, "--env-file=f --env-file=g --env-file="},
		{[]string{"--env-file"}, "option '--env-file' requires an argument"},
		{[]string{"--env", "f"}, "unrecognized option '--env' (--help lists all)"},
		{[]string{"--log=stderr"}, "--log=stderr"},
		{[]string{"--log", "syslog"}, "--log=syslog"},
		{[]string{"--nonsense=1"}, "unrecognized option '--nonsense' (--help lists all)"},
		{[]string{"--=1"}, "unrecognized option '--' (--help lists all)"},
		{[]string{"--d=x"}, "unrecognized option '--d' (--help lists all)"},
		{[]string{"--4"}, "unrecognized option '--4' (--help lists all)"},
		{[]string{"--help=x"}, "option '--help' takes no argument"},
		{[]string{"--domain", "x"}, "unrecognized option '--domain' (--help lists all)"},
		{[]string{"-h", "-z"}, "help requested"},
		{[]string{"--help"}, "help requested"},
		{[]string{"-4v", "x"}, "version requested"},
		{[]string{"--version", "--help"}, "version requested"},
		{[]string{"-z", "-h"}, "invalid option -- 'z' (--help lists all)"},
		// NixOS, containers, docker-mailserver.
		{[]string{"-s/run/s", "-dx.org", "-a=", "-f10001", "-r10002", "-t1800", "-Xa,b"}, "-s=/run/s -d=x.org -a== -f=10001 -r=10002 -t=1800 -X=a,b"},
		{[]string{"-l0.0.0.0", "-e"}, "-l=0.0.0.0 -e=e"},
		{[]string{"-e", "-p", "/var/run/postsrsd.pid"}, "-e=e -p=/var/run/postsrsd.pid"},
	}
	for _, test := range tests {
		if got := flagsString(test.args); got != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.args, got, test.want)
		}
	}
}

func flagsString(args []string) string {
	uses, err := parseFlags(args)
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, u := range uses {
		all = append(all, u.name+"="+u.value)
	}
	return strings.Join(all, " ")
}

// FuzzFlags holds the flags against getopt(1), which is the system's getopt_long(3).
func FuzzFlags(f *testing.F) {
	for _, seed := range []string{"-t1", "-d\na@b", "-46De", "-X\n-Xa,b", "-4\n--\n-x", "--env-file\nf\n--log=x", "-a=\n-a\n=", "-", "\n", "--d=x", "--help=x", "-4-", "--=x", "-=x", "---", "-X=-4"} {
		f.Add(seed)
	}
	short, long := "+", []string{}
	for _, s := range Settings {
		colons := ""
		switch {
		case s.Optional:
			colons = "::"
		case s.Arg != "":
			colons = ":"
		}
		if s.Short != "" {
			short += s.Short + colons
		}
		if s.Long != "" {
			long = append(long, s.Long+colons)
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsRune(line, 0) || len(line) > 1000 {
			return
		}
		args := strings.Split(line, "\n")
		uses, err := parseFlags(args)
		if errors.Is(err, ErrHelp) || errors.Is(err, ErrVersion) {
			return // they stop reading
		}
		for _, arg := range args {
			name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
			for _, l := range long {
				if strings.HasPrefix(arg, "--") && name != "" && strings.HasPrefix(l, name) && strings.TrimRight(l, ":") != name {
					return // getopt_long takes abbreviations
				}
			}
		}
		cmd := exec.Command("getopt", append([]string{"-q", "-s", "sh", "-o", short, "-l", strings.Join(long, ","), "--"}, args...)...)
		out, theirs := cmd.Output()
		words := unquote(t, string(out))
		if strings.HasPrefix(fmt.Sprint(err), "extra argument on command line") {
			if theirs != nil {
				t.Fatalf("%q: getopt refuses what here is an extra argument", args)
			}
			return
		}
		if (err != nil) != (theirs != nil) {
			t.Fatalf("%q: here %v, getopt %v %s", args, err, theirs, out)
		}
		if err != nil {
			return
		}
		var want []string
		for _, u := range uses {
			want = append(want, u.name)
			if u.setting.Arg != "" {
				want = append(want, u.value)
			}
		}
		if want = append(want, "--"); !slices.Equal(words, want) {
			t.Fatalf("%q: here %q, getopt %q", args, want, words)
		}
	})
}

// unquote splits what getopt -s sh prints.
func unquote(t *testing.T, s string) (words []string) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimLeft(s, " ") {
		word := ""
		for s != "" && s[0] != ' ' {
			switch s[0] {
			case '\'':
				end := strings.IndexByte(s[1:], '\'')
				if end < 0 {
					t.Fatalf("getopt's quotes: %s", s)
				}
				word, s = word+s[1:1+end], s[end+2:]
			case '\\':
				word, s = word+s[1:2], s[2:]
			default:
				word, s = word+s[:1], s[1:]
			}
		}
		words = append(words, word)
	}
	return words
}
