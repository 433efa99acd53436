package config

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// refused loads a settings file that must not be accepted and returns the error
// with the directory as $T.
func (p *place) refused(t *testing.T, file string) string {
	t.Helper()
	c, err := p.load([]string{"--env-file", file}, nil)
	if err == nil {
		t.Fatalf("accepted: %+v", c)
	}
	return strings.ReplaceAll(err.Error(), p.dir, "$T")
}

// gone waits until a process that a settings file has noted in a file is no
// more, or only a zombie that init has not reaped.
func (p *place) gone(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(p.path(name))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d (%s) lives on", pid, name)
}

func TestShellWithoutEnd(t *testing.T) {
	for name, body := range map[string]string{
		"busy":            "while :; do :; done",
		"asleep":          "sleep 1000",
		"deaf":            "trap '' TERM INT HUP; while :; do sleep 1000; done",
		"in substitution": "SRS_DOMAIN=$(sleep 1000)",
		"forking":         "sleep 1000 | sleep 1000 | cat",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.loader.Patience = 300 * time.Millisecond
			file := p.write(t, "settings", "echo $$ >"+p.path("pid")+"\n"+body+"\n")
			if got, want := p.refused(t, file), "$T/settings: /bin/sh did not end within 300ms"; got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			p.gone(t, "pid")
		})
	}
}

func TestShellWithoutMeasure(t *testing.T) {
	for name, body := range map[string]string{
		"output":     "yes | head -c 1000000000",
		"complaints": "yes | head -c 1000000000 >&2",
		"both":       "yes >&2 & yes",
		"value":      "SRS_EXCLUDE_DOMAINS=$(yes | head -c 2000000)",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			file := p.write(t, "settings", body+"\n")
			if got, want := p.refused(t, file), "$T/settings: /bin/sh writes more than 1048576 bytes"; got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
	t.Run("memory", func(t *testing.T) {
		p := newPlace(t)
		file := p.write(t, "settings", "SRS_EXCLUDE_DOMAINS=$(yes | head -c 1000000000)\n")
		// dash says "Out of space" or crashes.
		if got := p.refused(t, file); !strings.HasPrefix(got, "$T/settings: it ends the shell before its last line (") {
			t.Error(got)
		}
	})
}

// TestShellLeftovers starts although the file leaves a process behind, which does not stay.
func TestShellLeftovers(t *testing.T) {
	p := newPlace(t)
	file := p.write(t, "settings", "SRS_DOMAIN=x\nSRS_SECRET="+p.path("secret")+"\nsleep 1000 &\necho $! >"+p.path("pid")+"\n")
	if c := p.mustLoad(t, []string{"--env-file", file}, nil); c.Domain != "x" {
		t.Errorf("%+v", c)
	}
	p.gone(t, "pid")
}

// TestShellLeaksNothing counts descriptors and goroutines.
func TestShellLeaksNothing(t *testing.T) {
	p := newPlace(t)
	good := p.write(t, "good", "SRS_DOMAIN=$(echo x)\nSRS_SECRET="+p.path("secret")+"\n")
	bad := p.write(t, "bad", "exit 1\n")
	count := func() (int, int) {
		open, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(open), runtime.NumGoroutine()
	}
	p.mustLoad(t, []string{"--env-file", good}, nil)
	files, goroutines := count()
	for range 20 {
		p.mustLoad(t, []string{"--env-file", good}, nil)
		p.refused(t, bad)
		p.loader.Shell = "/nonexistent/sh"
		p.refused(t, bad)
		p.loader.Shell = ""
	}
	if f, g := count(); f > files || g > goroutines {
		t.Errorf("descriptors %d, then %d; goroutines %d, then %d", files, f, goroutines, g)
	}
}

func TestNoShell(t *testing.T) {
	p := newPlace(t)
	plain := p.write(t, "plain", "SRS_DOMAIN=x\nSRS_SECRET="+p.path("secret")+"\n")
	file := p.write(t, "settings", "# a\nSRS_DOMAIN=x\nRUN_AS=$(id -un)\n")
	p.loader.Shell = "/nonexistent/sh"
	want := "$T/settings:3: only a shell can read this line, and /nonexistent/sh cannot be run (no such file or directory): write plain NAME=value"
	if got := p.refused(t, file); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	p.mustLoad(t, []string{"--env-file", plain}, nil)
	p.mustLoad(t, []string{"--env-file", plain, "--env-file", p.path("none")}, nil)
	// A file that needs the shell is not skipped as if it were missing.
	if _, err := p.load([]string{"--env-file", plain, "--env-file", file}, nil); err == nil {
		t.Error("the shell's file was skipped")
	}
	p.loader.Shell = plain
	want = "$T/settings:3: only a shell can read this line, and $T/plain cannot be run (permission denied): write plain NAME=value"
	if got := p.refused(t, file); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// TestShellSurroundings looks at what a settings file finds.
func TestShellSurroundings(t *testing.T) {
	p := newPlace(t)
	p.write(t, "default", "SRS_SECRET="+p.path("secret")+`
SRS_EXCLUDE_DOMAINS="$(env | sed 's/=.*//' | grep -v -e PWD -e SHLVL -e '^_$') $(wc -c) $SRS_EXTRA_OPTIONS"
`)
	c := p.mustLoad(t, nil, []string{"PATH=/usr/bin:/bin", "SECRET=x", "SRS_TIMEOUT=5", "BASH_ENV=/etc/x", "SRS_SECRET=/x"})
	if got := strings.Join(c.Excluded, " "); got != "PATH 0" {
		t.Errorf("%q", got)
	}
}

func TestFileNames(t *testing.T) {
	for _, name := range []string{"a b", "it's", "$HOME", "a\nb", "-e", "`id`", "日本"} {
		p := newPlace(t)
		p.write(t, name, "SRS_DOMAIN=$(echo x)\nSRS_SECRET="+p.path("secret")+"\n")
		t.Chdir(p.dir)
		if c := p.mustLoad(t, []string{"--env-file", name}, nil); c.Domain != "x" || c.Sources["Domain"].Path != name {
			t.Errorf("%q: %+v", name, c)
		}
	}
}

// TestWhoMayWrite goes through owners and modes of settings files, with shell in them and without.
func TestWhoMayWrite(t *testing.T) {
	const (
		anyone   = "$T/d/settings: anyone may change it (mode 0666): chmod go-w it"
		group    = "$T/d/settings: its group may change it (mode 0664): chmod g-w it"
		other    = "$T/d/settings: belongs to user id 12345, who can change it: give it to root"
		refusal  = "$T/d/settings:1: only a shell can read this line, and "
		replaced = refusal + "anyone may replace the file, in $T/d (mode 0777): chmod o-w it"
	)
	tests := []struct {
		name         string
		file, dir    os.FileMode
		owner        int
		plain, shell string // warning or, with shell in it, refusal
	}{
		{name: "sound", file: 0o644, dir: 0o755},
		{name: "private", file: 0o600, dir: 0o700},
		{name: "anyone", file: 0o666, dir: 0o755, plain: anyone, shell: refusal + "anyone may change the file (mode 0666): chmod o-w it"},
		{name: "group", file: 0o664, dir: 0o755, plain: group, shell: group},
		{name: "other owner", file: 0o644, dir: 0o755, owner: 12345, plain: other, shell: other},
		{name: "open directory", file: 0o644, dir: 0o777, shell: replaced},
		{name: "sticky directory", file: 0o644, dir: 0o777 | os.ModeSticky},
		{name: "group's directory", file: 0o644, dir: 0o775},
	}
	for _, test := range tests {
		for _, shell := range []bool{false, true} {
			p := newPlace(t)
			dir := p.path("d")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			content, want := "SRS_DOMAIN=x\n", test.plain
			if shell {
				content, want = "SRS_DOMAIN=$(echo x)\n", test.shell
			}
			file := p.write(t, "d/settings", content+"SRS_SECRET="+p.path("secret")+"\n")
			for _, err := range []error{os.Chown(file, test.owner, -1), os.Chmod(file, test.file), os.Chmod(dir, test.dir)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			// The link's directory is sound: what counts is where it leads.
			link := p.path("link")
			if err := os.Symlink(file, link); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{file, link} {
				var got string
				c, err := p.load([]string{"--env-file", name}, nil)
				if err != nil {
					got = err.Error()
				} else {
					got = strings.Join(c.Warnings, "\n")
				}
				got = strings.ReplaceAll(strings.ReplaceAll(got, link, file), p.dir, "$T")
				if refused := strings.HasPrefix(want, refusal); got != want || refused != (err != nil) {
					t.Errorf("%s, shell %v, %s:\n got %s\nwant %s", test.name, shell, filepath.Base(name), got, want)
				}
			}
		}
	}
}

// TestPipes hands over named pipes, with a writer and without.
func TestPipes(t *testing.T) {
	p := newPlace(t)
	pipe := p.path("pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecrets(pipe); !errors.Is(err, noSecret) {
		t.Errorf("without a writer: %v", err)
	}
	feed := func(content string) {
		w, err := os.OpenFile(pipe, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.WriteString(content)
		time.AfterFunc(50*time.Millisecond, func() { w.Close() })
	}
	feed("0123456789abcdef\n")
	if c, err := p.load([]string{"-dx", "-s", pipe}, nil); err != nil || len(c.Secrets) != 1 {
		t.Errorf("secret: %v", err)
	}
	feed("SRS_DOMAIN=x\nSRS_SECRET=" + p.path("secret") + "\n")
	if c, err := p.load([]string{"--env-file", pipe}, nil); err != nil || c.Domain != "x" {
		t.Errorf("plain settings: %v", err)
	}
	feed("SRS_DOMAIN=$(echo x)\n")
	if got, want := p.refused(t, pipe), "$T/pipe:1: only a shell can read this line, and it is no regular file, which a shell could read again"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}
