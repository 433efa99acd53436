package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

const maxComplaints = 20 // lines of what the shell complains of that become warnings

// evaluate lets the shell source a settings file and returns the variables that hold then.
//
// The defaults are shell variables before the file begins, as in the launcher.
// The file's standard output goes nowhere; what it writes to standard error
// becomes warnings, as the launcher starts in spite of it. The values come back
// NUL-terminated on descriptor 3, which is closed while the file runs. The
// commands that report are parsed before the file is read and begin with a
// special built-in utility, so neither aliases, functions, IFS, PATH nor shell
// options of the file reach them. A file that ends the shell (exit, exec, set
// -e and a failure, a syntax error) makes the launcher end and the start here
// fail: the report lacks its end. The whole process group is killed afterwards.
func (ld *loading) evaluate(path string, line int, before map[string]given) (map[string]string, error) {
	absolute, err := filepath.Abs(path) // a dot command without a slash searches PATH
	if err != nil {
		return nil, err
	}
	var script strings.Builder
	script.WriteString("ulimit -d 262144 2>/dev/null\nSRS_EXCLUDE_DOMAINS= SRS_EXTRA_OPTIONS=\n")
	domain, haveDomain := before["SRS_DOMAIN"]
	if !haveDomain {
		domain.value, _ = ld.askPostfix() // whether that matters is seen when the files are read
	}
	fmt.Fprintf(&script, "SRS_DOMAIN=%s\n", quote(domain.value))
	for name, v := range before {
		fmt.Fprintf(&script, "%s=%s\n", name, quote(v.value))
	}
	fmt.Fprintf(&script, "{\n{ . %s\n} 3>&-\nunset -f printf || :\nPATH=%s\n", quote(absolute), quote(ld.searchPath()))
	for _, s := range Settings {
		if v := s.Variable; v != "" && (s.Scope == Everywhere || s.Scope == FileOnly) {
			fmt.Fprintf(&script, "case ${%s+x} in x) printf '%s=%%s\\0' \"$%s\" >&3;; esac\n", v, v, v)
		}
	}
	script.WriteString("printf '\\0end\\0' >&3\n}\n")

	out, err := ld.run(ld.Shell, "-c", script.String())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s:%d: only a shell can read this line, and %s cannot be run (%w): write plain NAME=value",
			printable(path), line, ld.Shell, reason(err))
	case err != nil:
		return nil, fmt.Errorf("%s: %w", printable(path), err)
	}
	complaints := placed(out.stderr, path, absolute)
	report, complete := bytes.CutSuffix(out.report, []byte("\x00end\x00"))
	if !complete {
		return nil, unfinished(path, out.state, complaints)
	}
	for i, c := range complaints {
		if i == maxComplaints {
			ld.warn("%s: %d more complaints of %s", printable(path), len(complaints)-i, ld.Shell)
			break
		}
		ld.warn("%s", c)
	}
	values := map[string]string{}
	for entry := range bytes.SplitSeq(report, []byte{0}) {
		if name, value, ok := strings.Cut(string(entry), "="); ok {
			values[name] = value
		}
	}
	for name := range before {
		values[name] += "" // one that the file has unset is empty, as on the launcher's command line
	}
	if !haveDomain && values["SRS_DOMAIN"] == domain.value {
		delete(values, "SRS_DOMAIN") // Postfix's, not the file's
	}
	return values, nil
}

// quote makes one word of the shell's of s.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// complaint takes apart how shells name the place of what they complain of:
// "sh: 3: FILE: text" (dash), "FILE: line 3: text" (bash, busybox), "FILE[3]:
// text" (ksh).
var complaint = regexp.MustCompile(`^(?:[^ :]+: )?(?:([0-9]+): )?\x00(?:\[([0-9]+)\])?: (?:line ([0-9]+): )?(.*)$`)

// placed makes of what the shell wrote to standard error lines that begin with
// file and, where it is known, line.
func placed(stderr []byte, path, absolute string) []string {
	var lines []string
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		text, place := line, printable(path)
		if m := complaint.FindStringSubmatch(strings.Replace(line, absolute, "\x00", 1)); m != nil {
			text, place = strings.ReplaceAll(m[4], "\x00", absolute), place+":"+m[1]+m[2]+m[3]
		}
		lines = append(lines, place+": "+printable(text))
	}
	return lines
}

// unfinished words the error of a file that ended its shell.
func unfinished(path, state string, complaints []string) error {
	for _, c := range complaints {
		if syntaxError.MatchString(c) {
			return errors.New(c)
		}
	}
	last := ""
	if n := len(complaints); n > 0 {
		last = "; its last complaint: " + complaints[n-1]
	}
	return fmt.Errorf("%s: it ends the shell before its last line (%s): take exit, exec, set -e and the like out%s", printable(path), state, last)
}

var syntaxError = regexp.MustCompile(`(?i)syntax error|unexpected|unterminated|unmatched|bad substitution|bad function name`)

// askPostfix finds the domain that the launcher takes when none is set. It asks
// once; the error says why there is none.
func (ld *loading) askPostfix() (string, error) {
	p := &ld.postfix
	if !p.asked {
		p.asked = true
		p.domain, p.err = ld.postconf()
	}
	return p.domain, p.err
}

func (ld *loading) postconf() (string, error) {
	out, err := ld.run(ld.Postconf, "-h", "mydomain")
	if err != nil {
		return "", fmt.Errorf("%s -h mydomain cannot be asked: %w", ld.Postconf, reason(err))
	}
	domain := strings.TrimSpace(string(out.stdout))
	if domain == "" {
		why, _, _ := strings.Cut(strings.TrimSpace(string(out.stderr)), "\n")
		if why != "" {
			why = ": " + printable(why)
		}
		return "", fmt.Errorf("%s -h mydomain gives none (%s)%s", ld.Postconf, out.state, why)
	}
	return domain, nil
}
