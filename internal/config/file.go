package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/joho/godotenv"
)

// The settings file is what the launcher of PostSRSd 1.x sources: shell. Most
// are plain: every line is blank, a comment or an assignment of a bare word or
// of one pair of quotes that holds nothing special. godotenv reads those.
// Whatever else there is, /bin/sh evaluates (shell.go), as the launcher did;
// what counts as plain is narrow on purpose, so that the two readers never
// differ.

const maxSettings = 1 << 20 // bytes of a settings file

var (
	ignoredLine = regexp.MustCompile(`^[ \t]*(?:#[^\x00\r]*)?$`)
	plainLine   = regexp.MustCompile(`^[ \t]*(?:export[ \t]+)?((?:SRS|POSTSRSD)_[A-Z0-9_]+|RUN_AS|CHROOT)=` +
		`(?:[0-9A-Za-z_./:,@%+=-]*` +
		`|'[^'\\\x00-\x08\x0a-\x1f\x7f]*'` +
		`|"[^"$\x60\\\x00-\x08\x0a-\x1f\x7f]*")[ \t]*$`)
	anyAssignment = regexp.MustCompile(`^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=`)
)

// plain looks through a settings file. lines has the last line that begins with
// an assignment to each variable; shell is the first line that only a shell can
// read, 0 when there is none.
func plain(data []byte) (lines map[string]int, shell int) {
	lines = map[string]int{}
	n := 0
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		n++
		if m := anyAssignment.FindSubmatch(line); m != nil {
			lines[string(m[1])] = n
		}
		if shell == 0 && !ignoredLine.Match(line) && !plainLine.Match(line) {
			shell = n
		}
	}
	return lines, shell
}

func unreadable(path string, err error) error {
	return fmt.Errorf("cannot read the settings file %s: %w", printable(path), reason(err))
}

// missing says whether a file is not there.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// readSettings reads one settings file, open at f, and returns the variables
// that it sets. before is what holds without the file, which shell in it can
// refer to.
func (ld *loading) readSettings(path string, f *os.File, before map[string]given) (map[string]given, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, unreadable(path, err)
	}
	data, err := readOpen(f, maxSettings)
	if err != nil {
		return nil, unreadable(path, err)
	}

	lines, shell := plain(data)
	var values map[string]string
	if shell == 0 {
		if values, err = godotenv.UnmarshalBytes(data); err != nil {
			return nil, fmt.Errorf("%s: %w", printable(path), err)
		}
	} else {
		if err := trustworthy(path, info); err != nil {
			return nil, fmt.Errorf("%s:%d: only a shell can read this line, and %w", printable(path), shell, err)
		}
		if values, err = ld.evaluate(path, shell, before); err != nil {
			return nil, err
		}
	}
	ld.judge(path, info, data)

	set := map[string]given{}
	for name, value := range values {
		s := byVariable(name)
		line, named := lines[name]
		if s == nil || s.Scope == EnvironmentOnly || s.Scope == Always || !named && value == before[name].value {
			continue
		}
		if shell != 0 {
			line = 0 // the shell may have taken another way
		}
		set[name] = given{value, Source{Kind: File, Name: name, Path: path, Line: line}}
	}
	ld.pointOutKeys(path, data)
	for _, name := range slices.SortedFunc(maps.Keys(lines), func(a, b string) int { return lines[a] - lines[b] }) {
		switch s := byVariable(name); {
		case s == nil:
			ld.unknown = append(ld.unknown, Unknown{name, path, lines[name]})
		case s.Scope == EnvironmentOnly || s.Scope == Always:
			ld.warn("%s:%d: %s has no effect in a settings file", printable(path), lines[name], name)
		}
	}
	return set, nil
}

// keyLine is a line of a postsrsd.conf that is no assignment in shell: with a
// hyphen in its key or a space behind it.
var keyLine = regexp.MustCompile(`^[ \t]*([a-z]+(?:-[a-z]+)+|[a-z]+[ \t])[ \t]*\+?=`)

// pointOutKeys warns of what belongs in a postsrsd.conf. It keeps no daemon
// from starting, as it did not with 1.x.
func (ld *loading) pointOutKeys(path string, data []byte) {
	n := 0
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		n++
		m := keyLine.FindSubmatch(line)
		if m == nil {
			continue
		}
		key := strings.TrimSpace(string(m[1]))
		s := byKey(key)
		if s == nil && !slices.Contains(inert, key) {
			continue
		}
		instead := ""
		if s != nil && s.Variable != "" && s.Scope != EnvironmentOnly {
			instead = ": set " + s.Variable
		}
		ld.warn("%s:%d: %s belongs in a postsrsd.conf and has no effect here%s", printable(path), n, key, instead)
	}
}

// judge warns of a settings file that others than root and the caller may
// change, and of line ends that end up in values.
func (ld *loading) judge(path string, info fs.FileInfo, data []byte) {
	ld.judgeOwner(path, info)
	if n := bytes.Index(data, []byte("\r\n")); n >= 0 {
		ld.warn("%s:%d: a carriage return stands before the line's end and counts as part of the line",
			printable(path), 1+bytes.Count(data[:n], []byte("\n")))
	}
}

func (ld *loading) judgeOwner(path string, info fs.FileInfo) {
	path = printable(path)
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 && int(owner) != os.Geteuid() {
		ld.warn("%s: belongs to user id %d, who can change it: give it to root", path, owner)
	}
	switch perm := info.Mode().Perm(); {
	case !info.Mode().IsRegular():
	case perm&0o002 != 0:
		ld.warn("%s: anyone may change it (mode %04o): chmod go-w it", path, perm)
	case perm&0o020 != 0:
		ld.warn("%s: its group may change it (mode %04o): chmod g-w it", path, perm)
	}
}

// trustworthy refuses a file that anyone may write, or put another in place of:
// shell in it would run as root.
func trustworthy(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is no regular file, which a shell could read again")
	}
	if perm := info.Mode().Perm(); perm&0o002 != 0 {
		return fmt.Errorf("anyone may change the file (mode %04o): chmod o-w it", perm)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	resolved, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		return reason(err)
	}
	for _, p := range []string{absolute, resolved} {
		for p != filepath.Dir(p) {
			p = filepath.Dir(p)
			dir, err := os.Stat(p)
			if err != nil {
				return fmt.Errorf("%s: %w", p, reason(err))
			}
			if dir.Mode().Perm()&0o002 != 0 && dir.Mode()&fs.ModeSticky == 0 {
				return fmt.Errorf("anyone may replace the file, in %s (mode %04o): chmod o-w it", printable(p), dir.Mode().Perm())
			}
		}
	}
	return nil
}

// printable is a path or argument for one line of text: as it is unless it
// holds what could be taken for another line.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}
