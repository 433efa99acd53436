package privilege

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// status is what /proc says of one thread. Two threads with the same rights compare equal.
type status struct {
	uid, gid                               [4]int // real, effective, saved, file system
	groups                                 string // numbers, separated by a space
	capInh, capPrm, capEff, capBnd, capAmb uint64
	noNewPrivs                             bool
}

const effective = 1

func four(n int) [4]int { return [4]int{n, n, n, n} }

func (s status) can(capability uint) bool { return s.capEff>>capability&1 != 0 }

func (s status) privileged() bool {
	return s.uid[0] == 0 || s.uid[1] == 0 || s.uid[2] == 0 || s.capPrm != 0
}

// parseStatus reads /proc/PID/task/TID/status, see proc_pid_status(5). Every
// line that fills a field must be there.
func parseStatus(text []byte) (status, error) {
	var s status
	found := 0
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(value)
		var err error
		switch name {
		case "Uid":
			s.uid, err = parseIDs(fields)
		case "Gid":
			s.gid, err = parseIDs(fields)
		case "Groups":
			s.groups = strings.Join(fields, " ")
		case "CapInh":
			s.capInh, err = parseSet(fields)
		case "CapPrm":
			s.capPrm, err = parseSet(fields)
		case "CapEff":
			s.capEff, err = parseSet(fields)
		case "CapBnd":
			s.capBnd, err = parseSet(fields)
		case "CapAmb":
			s.capAmb, err = parseSet(fields)
		case "NoNewPrivs":
			s.noNewPrivs = len(fields) == 1 && fields[0] == "1"
		default:
			continue
		}
		if err != nil {
			return status{}, fmt.Errorf("%s: %w", name, err)
		}
		found++
	}
	if found != 9 {
		return status{}, fmt.Errorf("%d of 9 lines about privileges found", found)
	}
	return s, nil
}

func parseIDs(fields []string) (ids [4]int, err error) {
	if len(fields) != 4 {
		return ids, errors.New("not four numbers")
	}
	for i, f := range fields {
		if ids[i], err = strconv.Atoi(f); err != nil {
			return ids, err
		}
	}
	return ids, nil
}

func parseSet(fields []string) (uint64, error) {
	if len(fields) != 1 {
		return 0, errors.New("not one number")
	}
	return strconv.ParseUint(fields[0], 16, 64)
}

// differs says in which line s is not as wanted, or nothing.
func (s status) differs(want status) string {
	for _, f := range []struct {
		name      string
		got, want any
	}{
		{"Uid", s.uid, want.uid},
		{"Gid", s.gid, want.gid},
		{"Groups", s.groups, want.groups},
		{"CapInh", s.capInh, want.capInh},
		{"CapPrm", s.capPrm, want.capPrm},
		{"CapEff", s.capEff, want.capEff},
		{"CapBnd", s.capBnd, want.capBnd},
		{"CapAmb", s.capAmb, want.capAmb},
		{"NoNewPrivs", s.noNewPrivs, want.noNewPrivs},
	} {
		if f.got != f.want {
			return fmt.Sprintf("%s is %v and should be %v", f.name, f.got, f.want)
		}
	}
	return ""
}
