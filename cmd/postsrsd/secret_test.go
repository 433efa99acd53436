package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecret(t *testing.T) {
	for _, test := range []struct {
		name     string
		before   string // content of the file; "-": none
		link     bool   // the file is reached by a symbolic link
		args     []string
		status   int
		lengths  []int // of the lines afterwards
		mode     os.FileMode
		mentions string
	}{
		{name: "none", before: "-", lengths: []int{24}, mode: 0o600, mentions: "a new secret"},
		{name: "none, dangling link", before: "-", link: true, lengths: []int{24}, mode: 0o600},
		{name: "empty file", before: "", lengths: []int{24}, mode: 0o640},
		{name: "one is there", before: "0ld\n", status: 1, lengths: []int{3}, mode: 0o640, mentions: "--rotate"},
		{name: "one is there, if missing", before: "0ld\n", args: []string{"--if-missing"}, lengths: []int{3}, mode: 0o640},
		{name: "none, if missing", before: "-", args: []string{"--if-missing"}, lengths: []int{24}, mode: 0o600},
		{name: "rotate", before: "0ld\n0lder", args: []string{"--rotate"}, lengths: []int{24, 3, 5}, mode: 0o640, mentions: "21 days"},
		{name: "rotate through a link", before: "0ld", link: true, args: []string{"--rotate"}, lengths: []int{24, 3}, mode: 0o640},
		{name: "both", before: "0ld", args: []string{"--rotate", "--if-missing"}, status: 2, lengths: []int{3}, mode: 0o640, mentions: "Usage:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "secret")
			if test.before != "-" {
				writeFile(t, dir, "secret", test.before)
				os.Chmod(path, 0o640)
			}
			named := path
			if test.link {
				named = filepath.Join(dir, "link")
				if err := os.Symlink("secret", named); err != nil {
					t.Fatal(err)
				}
			}
			settings := writeFile(t, dir, "settings", "SRS_SECRET="+named+"\nSRS_SECRET_LENGTH=24\n")
			cmd := exec.Command(program, append([]string{"secret", "--env-file", settings}, test.args...)...)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != test.status || !strings.Contains(string(out), test.mentions) {
				t.Errorf("exit status %d, want %d: %s", got, test.status, out)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
			if len(lines) != len(test.lengths) {
				t.Fatalf("%d lines, want %d", len(lines), len(test.lengths))
			}
			for i, line := range lines {
				if len(line) != test.lengths[i] {
					t.Errorf("line %d has %d characters, want %d", i+1, len(line), test.lengths[i])
				}
				if strings.Contains(string(out), line) {
					t.Error("the output shows a secret")
				}
			}
			if info, _ := os.Stat(path); info.Mode().Perm() != test.mode {
				t.Errorf("mode %v, want %v", info.Mode().Perm(), test.mode)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".postsrsd-secret-*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
