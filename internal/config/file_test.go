package config

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

const settingsDir = "../../testdata/settings"

// forms are the settings files of testdata/settings/forms.txtar, and some that
// a text file cannot hold.
func forms(t testing.TB) []txtar.File {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join(settingsDir, "forms.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := archive.Files
	if len(files) < 200 {
		t.Fatalf("only %d files in forms.txtar", len(files))
	}
	for _, f := range []struct{ name, content string }{
		{"plain/no newline at the end", "SRS_DOMAIN=a"},
		{"plain/quoted without newline", "RUN_AS=x\nSRS_DOMAIN='a'"},
		{"plain/empty without newline", "SRS_DOMAIN="},
		{"plain/bytes that are no UTF-8", "# \xff\xfe\nSRS_EXCLUDE_DOMAINS=\"\xff\x80\x81\x88\"\n"},
		{"plain/long", "SRS_EXCLUDE_DOMAINS=\"" + strings.Repeat("a.example ", 10000) + "\"\n"},
		{"shell/carriage returns", "SRS_DOMAIN=example.com\r\nSRS_SEPARATOR==\r\n"},
		{"shell/quoted with carriage return", "SRS_DOMAIN=\"example.com\"\r\n"},
		{"shell/empty line with carriage return", "\r\nSRS_DOMAIN=example.com\n"},
		{"shell/comment with carriage return", "# a\r\nSRS_DOMAIN=b\n"},
		{"shell/comment, return, assignment", "# a\rSRS_DOMAIN=b\n"},
		{"shell/byte order mark", "\xef\xbb\xbfSRS_DOMAIN=a\nRUN_AS=b\n"},
		{"shell/vertical tab", "SRS_DOMAIN=a\v\n"},
		{"shell/no-break space", "SRS_DOMAIN=a\u00a0\n"},
		{"shell/next line", "SRS_DOMAIN=a\u0085RUN_AS=b\n"},
		{"shell/bell in quotes", "SRS_DOMAIN='a\ab'\n"},
		{"shell/open double quote", "SRS_DOMAIN=\"a\n"},
		{"shell/open single quote", "SRS_DOMAIN=a\nRUN_AS='b"},
		{"shell/open substitution", "SRS_DOMAIN=$(echo a\n"},
		{"shell/open backquote", "SRS_DOMAIN=`echo a\n"},
		{"shell/long", "SRS_EXCLUDE_DOMAINS=\"$X" + strings.Repeat("a.example\n", 10000) + "\"\n"},
	} {
		files = append(files, txtar.File{Name: f.name, Data: []byte(f.content)})
	}
	whole, err := filepath.Glob(filepath.Join(settingsDir, "good", "*"))
	if err != nil || len(whole) < 5 {
		t.Fatalf("%v %v", whole, err)
	}
	for _, path := range whole {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, txtar.File{Name: "good/" + filepath.Base(path), Data: data})
	}
	return files
}

// TestReadsWhatTheShellSets reads every form with this package and with the shell itself.
func TestReadsWhatTheShellSets(t *testing.T) {
	p := newPlace(t)
	for _, f := range forms(t) {
		file := p.write(t, "settings", string(f.Data))
		if kind, _, _ := strings.Cut(f.Name, "/"); kind != "good" {
			if _, line := plain(f.Data); (line == 0) != (kind == "plain") {
				t.Errorf("%s: first line for a shell is %d", f.Name, line)
			}
		}
		compare(t, p, "/bin/sh", file, f.Name)
	}
}

// TestOtherShells evaluates everything with shells that serve as /bin/sh
// elsewhere. bash is there wherever Debian is; the others where installed.
func TestOtherShells(t *testing.T) {
	tried := 0
	for _, shell := range []string{"/bin/bash", "/bin/busybox", "/bin/mksh"} {
		if _, err := os.Stat(shell); err != nil {
			continue
		}
		tried++
		t.Run(filepath.Base(shell), func(t *testing.T) {
			p := newPlace(t)
			t.Parallel()                  // now: a script still open for writing when another test forks could not be run
			p.loader.Shell = p.path("sh") // its name makes bash POSIX's shell
			if err := os.Symlink(shell, p.loader.Shell); err != nil {
				t.Fatal(err)
			}
			for _, f := range forms(t) {
				if strings.Contains(f.Name, "UTF-8") || bytes.Contains(f.Data, []byte(":=")) || bytes.Contains(f.Data, []byte("=(")) {
					continue // mksh maps such bytes; what the others are set to, shellSets' -a does not export
				}
				compare(t, p, p.loader.Shell, p.write(t, "settings", string(f.Data)), f.Name)
			}
		})
	}
	if tried == 0 {
		t.Error("no other shell is installed")
	}
}

func compare(t *testing.T, p *place, shell, file, name string) {
	t.Helper()
	want, ok := shellSets(t, shell, file)
	got, _, err := weRead(p, file)
	data, _ := os.ReadFile(file)
	switch {
	case ok && err != nil:
		t.Errorf("%s: %.200q\nshell: %.300v\nhere:  %.300v", name, data, want, err)
	case !ok && err == nil:
		t.Errorf("%s: %.200q\nshell ends\nhere: %v", name, data, got)
	case ok && !maps.Equal(got, want):
		t.Errorf("%s: %.200q\nshell: %.300v\nhere:  %.300v", name, data, want, got)
	}
}

// FuzzSettings holds the reading of plain files against the shell. Only plain
// files reach the shell: anything else could be any command.
func FuzzSettings(f *testing.F) {
	for _, file := range forms(f) {
		f.Add(file.Data, false)
	}
	for i := range 32 {
		f.Add([]byte(strings.Repeat(string(rune('a'+i))+"\x01\x7f\x30", 5)), true)
	}
	p := newPlace(f)
	f.Fuzz(func(t *testing.T, data []byte, generate bool) {
		if generate {
			data = generated(data)
		}
		if _, line := plain(data); line != 0 || len(data) > 4096 {
			return
		}
		file := filepath.Join(t.TempDir(), "settings")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		compare(t, p, "/bin/sh", file, "fuzz")
	})
}

// generated makes of each byte a piece of a settings file, mostly plain.
func generated(seed []byte) []byte {
	pieces := []string{
		"SRS_DOMAIN=", "SRS_EXCLUDE_DOMAINS=", "SRS_SEPARATOR=", "RUN_AS=", "export ", "export\t", "CHROOT=", "SRS_NONSENSE=",
		"\n", "\n", "\n", "\n\n", " ", "\t", "#", "# x", "'", "'", "\"", "\"", "''", "\"\"", "'a b'\n", "\"a b\"\n", "a", "b.c", "=", ":", "-", "+", "/",
		",", "%", "@", "_", "0", "é", "日", "\xff", "\x81", "{", "}", "*", "?", "~", "!", ";", "|", "a#b", " #", "SRS_DOMAIN", "x=y", "x: y", "\\", "$", "\r",
	}
	var out []byte
	for _, b := range seed {
		out = append(out, pieces[int(b)%len(pieces)]...)
	}
	return out
}
