// Package packaging_test holds what the packages say about the program against the program itself.
package packaging_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postsrsd/internal/config"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// flags are the program's flags as mdoc(7) and getopt name them: "d", "-env-file".
func flags() (all []string) {
	for _, s := range config.Settings {
		if s.Short != "" {
			all = append(all, s.Short)
		}
		if s.Long != "" {
			all = append(all, "-"+s.Long)
		}
	}
	return all
}

// items are the arguments of macro in the list items of a manual page: Fl in
// ".It Fl h , Fl -help" names h and -help.
func items(page, macro string) (all []string) {
	for _, line := range regexp.MustCompile(`(?m)^\.It (.*)$`).FindAllStringSubmatch(page, -1) {
		in := false
		for _, word := range strings.Fields(line[1]) {
			switch {
			case word == macro:
				in = true
			case word == ",":
			case regexp.MustCompile(`^(Ar|Cm|Dv|Ev|Fl|Ns|Op|Pa)$`).MatchString(word):
				in = false
			case in:
				all = append(all, word)
			}
		}
	}
	return all
}

// same reports what only one of two sets has.
func same(t *testing.T, what string, has, needs []string) {
	t.Helper()
	for _, s := range needs {
		if !slices.Contains(has, s) {
			t.Errorf("%s: %s is missing", what, s)
		}
	}
	for _, s := range has {
		if !slices.Contains(needs, s) {
			t.Errorf("%s: %s is not the program's", what, s)
		}
	}
}

func TestManualNamesEveryFlag(t *testing.T) {
	page := read(t, "man/postsrsd.8")
	same(t, "postsrsd.8", items(page, "Fl"), append(flags(), options(t)...))
	synopsis, _, _ := strings.Cut(page[strings.Index(page, ".Sh SYNOPSIS"):], ".Sh DESCRIPTION")
	clusters := regexp.MustCompile(`Fl ([46AD]+|h \| v)`).FindAllString(synopsis, -1)
	for _, flag := range flags() {
		if !regexp.MustCompile(`Fl `+regexp.QuoteMeta(flag)+`\b`).MatchString(synopsis) && !strings.Contains(strings.Join(clusters, " "), flag) &&
			flag != "-help" && flag != "-version" {
			t.Errorf("the synopsis has no -%s", flag)
		}
	}
}

// options are what the commands take beside the daemon's flags, as their own help tells.
func options(t *testing.T) (all []string) {
	t.Helper()
	for _, command := range []string{"secret", "forward", "reverse", "config", "check"} {
		help, err := exec.Command("go", "run", "../cmd/postsrsd", command, "-h").CombinedOutput()
		if err != nil {
			t.Fatalf("%s -h: %v\n%s", command, err, help)
		}
		for _, option := range regexp.MustCompile(`(?m)^    -(-[a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
			if !slices.Contains(all, option[1]) && option[1] != "-env-file" {
				all = append(all, option[1])
			}
		}
	}
	return all
}

func TestManualNamesEveryVariable(t *testing.T) {
	var inFile, elsewhere []string
	for _, s := range config.Settings {
		switch {
		case s.Variable == "":
		case s.Scope == config.EnvironmentOnly || s.Scope == config.Always:
			elsewhere = append(elsewhere, s.Variable)
		default:
			inFile = append(inFile, s.Variable)
		}
	}
	same(t, "postsrsd.5", items(read(t, "man/postsrsd.5"), "Ev"), inFile)
	same(t, "postsrsd.8", items(read(t, "man/postsrsd.8"), "Ev"),
		append(elsewhere, "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES", "MAIL_CONFIG"))
}

func TestManualNamesEveryKey(t *testing.T) {
	keys := []string{"debug", "seccomp"}
	for _, s := range config.Settings {
		if s.Key != "" {
			keys = append(keys, s.Key)
		}
	}
	same(t, "postsrsd.5", items(read(t, "man/postsrsd.5"), "Cm"), keys)
}

// A default that the manual gives is the one that holds where a settings file is read.
func TestManualGivesDefaults(t *testing.T) {
	page := read(t, "man/postsrsd.5")
	for _, s := range config.Settings {
		value := s.Launcher
		if value == "" {
			value = s.Default
		}
		if s.Variable == "" || s.Name == "" || s.Scope == config.EnvironmentOnly || value == "" {
			continue
		}
		_, item, _ := strings.Cut(page, ".It Ev "+s.Variable+"\n")
		item, _, _ = strings.Cut(item, "\n.It ")
		if _, said, ok := strings.Cut(item, "Default"); !ok || !strings.Contains(said, value) {
			t.Errorf("postsrsd.5: %s: the default is %s", s.Variable, value)
		}
	}
}

func TestManualNamesEverySignalAndFile(t *testing.T) {
	page := read(t, "man/postsrsd.8")
	same(t, "postsrsd.8", items(page, "Dv"), signals(t))
	for _, file := range []string{"/etc/default/postsrsd", "/etc/sysconfig/postsrsd"} {
		if !slices.Contains(items(page, "Pa"), file) {
			t.Errorf("postsrsd.8 does not list %s", file)
		}
	}
	for _, s := range config.Settings {
		if strings.HasPrefix(s.Launcher, "/") && !slices.Contains(items(page, "Pa"), s.Launcher) {
			t.Errorf("postsrsd.8 does not list %s", s.Launcher)
		}
	}
	// What the page lists beyond that, the packages bring.
	for _, file := range items(page, "Pa") {
		if strings.HasPrefix(file, "/usr/") && !strings.Contains(read(t, "nfpm.yaml"), "dst: "+file+"\n") {
			t.Errorf("postsrsd.8 lists %s, which no package has", file)
		}
	}
}

// signals are those that the daemon asks for and that are for the administrator to send.
func signals(t *testing.T) (all []string) {
	calls := regexp.MustCompile(`signal\.Notify\(signals,(.*)\)`).FindAllStringSubmatch(read(t, "../internal/supervisor/supervisor.go"), -1)
	if len(calls) != 1 {
		t.Fatalf("%d places where the daemon asks for signals, want one", len(calls))
	}
	for _, name := range regexp.MustCompile(`SIG[A-Z0-9]+`).FindAllString(calls[0][1], -1) {
		if name != "SIGPIPE" { // the kernel's
			all = append(all, name)
		}
	}
	return all
}

func TestCompletionsKnowEveryFlag(t *testing.T) {
	bash := read(t, "completion/postsrsd.bash")
	list := bash[strings.LastIndex(bash, "compgen -W '-4"):]
	list = list[strings.IndexByte(list, '\'')+1:]
	list, _, _ = strings.Cut(list, "'")
	var got []string
	for _, word := range strings.Fields(list) {
		got = append(got, word[1:])
	}
	same(t, "postsrsd.bash", got, flags())

	got = nil
	for line := range strings.Lines(read(t, "completion/postsrsd.fish")) {
		if !strings.Contains(line, "__fish_use_subcommand") {
			continue
		}
		for _, m := range regexp.MustCompile(` -(s|l) (\S+)`).FindAllStringSubmatch(line, -1) {
			if m[1] == "l" {
				m[2] = "-" + m[2]
			}
			got = append(got, m[2])
		}
	}
	same(t, "postsrsd.fish", got, flags())
}

// The template's active lines are the defaults themselves, so that deleting one changes nothing.
func TestTemplateSaysTheDefaults(t *testing.T) {
	for line := range strings.Lines(read(t, "settings")) {
		m := regexp.MustCompile(`^(#?)([A-Z_]+)=(.*)\n$`).FindStringSubmatch(line)
		if m == nil {
			continue
		}
		i := slices.IndexFunc(config.Settings, func(s config.Setting) bool { return s.Variable == m[2] })
		if i < 0 {
			t.Errorf("there is no variable %s", m[2])
			continue
		}
		s := config.Settings[i]
		if value := s.Launcher; m[1] == "" && value != m[3] {
			t.Errorf("%s is %q, the default %q", m[2], m[3], value)
		}
	}
}
