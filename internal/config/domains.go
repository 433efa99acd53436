package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const maxDomainsFile = 16 << 20 // bytes

// FileState tells one state of a file from any other: whatever writes to a
// file, or puts another in its place, changes it, unless both happen within one
// tick of the file system's clock. The zero value is that of no file.
type FileState struct {
	Device, Inode, Size uint64
	Modified, Changed   int64 // in ns since 1970
}

// settled is s, or the zero value when the file changed so lately that another
// change may show no difference.
func (s FileState) settled(now time.Time) FileState {
	const tick = 250 * time.Millisecond // longer than any clock's
	if now.Sub(time.Unix(0, s.Changed)) < tick {
		return FileState{}
	}
	return s
}

// StateOf looks at the file at path, and not at a symbolic link there.
func StateOf(path string) FileState {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	if errors.Is(err, fs.ErrPermission) { // see openFile
		var f *os.File
		if f, err = openFile(path); err == nil {
			err = unix.Fstat(int(f.Fd()), &st)
			f.Close()
		}
	}
	if err != nil {
		return FileState{}
	}
	return FileState{uint64(st.Dev), uint64(st.Ino), uint64(st.Size), st.Mtim.Nano(), st.Ctim.Nano()}
}

// readDomains reads a file of domains, one a line; # begins a comment.
func readDomains(path string) (domains []string, lines []int, err error) {
	data, err := readFile(path, maxDomainsFile)
	if err != nil {
		return nil, nil, err
	}
	n := 0
	for line := range strings.SplitSeq(string(data), "\n") {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			domains, lines = append(domains, line), append(lines, n)
		}
	}
	return domains, lines, nil
}

// addDomainsFile adds the domains of the file to those that are there.
func (ld *loading) addDomainsFile(c *Config) error {
	if c.DomainsFile == "" {
		return nil
	}
	c.DomainsFileState = StateOf(c.DomainsFile).settled(time.Now()) // before it is read: no change is missed
	domains, lines, err := readDomains(c.DomainsFile)
	if err != nil {
		return fmt.Errorf("%s: cannot read the file of domains: %w", c.Sources["DomainsFile"].said(c.DomainsFile), err)
	}
	var junk []int
	for i, d := range domains {
		if isPattern(d) {
			c.Domains = append(c.Domains, d)
		} else {
			junk = append(junk, i)
		}
	}
	if len(junk) > 0 {
		ld.warn("%s:%d: %s is no domain and stands for none (%d such in all)",
			printable(c.DomainsFile), lines[junk[0]], show(domains[junk[0]]), len(junk))
	}
	return nil
}

// isPattern tells whether d can be an entry of a list of domains.
func isPattern(d string) bool { return d != "." && notDomain(strings.TrimPrefix(d, ".")) == "" }

// firstDomain is the first entry that is a domain and not all below one.
func firstDomain(domains []string) string {
	for _, d := range domains {
		if isPattern(d) && !strings.HasPrefix(d, ".") {
			return d
		}
	}
	return ""
}
