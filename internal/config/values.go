package config

// The setters of Settings. Each gets the value that won, or its setting's
// default where that is empty; what they refuse is worded without the place,
// which the caller puts before or after it.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// refusal is an error in PostSRSd 1.x's own words, which come first in the line
// that the administrator reads.
type refusal string

func (r refusal) Error() string { return string(r) }

// Is makes ErrSecrets of the two refusals that are about secrets.
func (r refusal) Is(target error) bool {
	return target == ErrSecrets && (r == noSecret || r == noSecretFile)
}

const (
	noDomain     = refusal("You must set a home domain (-d)")
	noSecret     = refusal("You must set a secret (-s)")
	noSecretFile = refusal("Cannot open file with secret")
	badSeparator = refusal("SRS separator character must be one of '=+-'")
)

func setDomain(c *Config, v string) error {
	v = v[strings.LastIndexByte(v, '@')+1:]
	if why := notDomain(v); v != "" && why != "" {
		return errors.New("the SRS domain " + why)
	}
	c.Domain = v
	return nil
}

// notDomain says why d cannot stand after an @, "" when it can.
// Internationalized names may be written as they are.
func notDomain(d string) string {
	for _, r := range d {
		switch {
		case r == utf8.RuneError, r <= ' ', r == 0x7f,
			r < 0x7f && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.'):
			return fmt.Sprintf("must not hold %q", r)
		}
	}
	if len(d) > 255 {
		return "must not have more than 255 bytes"
	}
	if strings.Contains("."+d+".", "..") {
		return "must not begin or end with a dot or have two in a row"
	}
	return ""
}

func setSecretFile(c *Config, v string) error { c.SecretFile = v; return nil }

// setSeparator takes the first character and leaves the rest, as 1.x does.
func setSeparator(c *Config, v string) error {
	if v == "" || !strings.ContainsRune("=+-", rune(v[0])) {
		return badSeparator
	}
	c.Separator = v[0]
	return nil
}

func setAlphabet(c *Config, v string) error {
	switch v {
	case "+/", "-_":
		c.Alphabet = v
		return nil
	}
	return errors.New("give +/ or -_")
}

// number makes a setter for a whole number from least to most.
func number(least, most int, field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil || n < least || n > most {
			return fmt.Errorf("give a number from %d to %d", least, most)
		}
		*field(c) = n
		return nil
	}
}

// hashNumber makes a setter for a number of characters of the hash, of which 0
// is 4. An over-large minimum is judged with the length.
func hashNumber(field func(*Config) *int) func(*Config, string) error {
	const longest = 27 // the base64 characters of HMAC-SHA1's 20 bytes
	set := number(0, longest, field)
	return func(c *Config, v string) error {
		if err := set(c, v); err != nil {
			return fmt.Errorf("give a number from 1 to %d", longest)
		}
		if *field(c) == 0 {
			*field(c) = 4
		}
		return nil
	}
}

// addExcluded adds the domains of one list to those of earlier ones.
func addExcluded(c *Config, v string) error {
	seen := map[string]bool{}
	for _, d := range c.Excluded {
		seen[strings.ToLower(d)] = true
	}
	for _, d := range strings.FieldsFunc(v, isListSeparator) {
		if lower := strings.ToLower(d); !seen[lower] {
			seen[lower] = true
			c.Excluded = append(c.Excluded, d)
		}
	}
	return nil
}

// addDomains adds the domains of one list to those of earlier ones.
func addDomains(c *Config, v string) error {
	c.Domains = append(c.Domains, strings.FieldsFunc(v, isListSeparator)...)
	return nil
}

func isListSeparator(r rune) bool { return strings.ContainsRune(",; \t\r\n", r) }

func setListenAddr(c *Config, v string) error {
	if strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return errors.New("give one address or host name")
	}
	c.ListenAddr = v
	return nil
}

func setFamily(c *Config, v string) error {
	if v != "" {
		c.Family = int(v[0] - '0')
	}
	return nil
}

// fits says whether an address can be listened on with a family; a host name may.
func fits(addr string, family int) bool {
	a, err := netip.ParseAddr(addr)
	return err != nil || family == 0 || (family == 4) == a.Is4()
}

// port makes a setter for a port number or service name, or for no port.
func port(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		if v = strings.TrimSpace(v); v == "" {
			return nil
		}
		if n, err := net.LookupPort("tcp", v); err != nil || n == 0 {
			return errors.New("no such service: give a port number from 1 to 65535 or a name that /etc/services has")
		}
		*field(c) = v
		return nil
	}
}

func setIdleTimeout(c *Config, v string) error {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32)
	if err != nil || n < 0 {
		return errors.New("give a number of seconds, 0 for no limit")
	}
	c.IdleTimeout = time.Duration(n) * time.Second
	return nil
}

func requestLimit(c *Config, v string) error {
	least := 1024
	if c.Conf != "" {
		least = 512 // as 2.x has it, and has no key for
	}
	return number(least, 1<<20, func(c *Config) *int { return &c.RequestLimit })(c, v)
}

// endpoint makes a setter for an endpoint, or for none.
func endpoint(field func(*Config) *Endpoint) func(*Config, string) error {
	return func(c *Config, v string) (err error) {
		*field(c) = Endpoint{}
		if v != "" {
			*field(c), err = ParseEndpoint(v)
		}
		return err
	}
}

func setSocketMode(c *Config, v string) error {
	mode, err := strconv.ParseUint(v, 8, 32)
	if err != nil || mode > 0o777 || mode == 0 {
		return errors.New("give an octal mode such as 0660")
	}
	c.SocketMode = uint32(mode)
	return nil
}

func setSyslog(c *Config, on bool) {
	c.Log = "stderr"
	if on {
		c.Log = "syslog"
	}
}

func setLog(c *Config, v string) error {
	switch v {
	case "", "stderr", "syslog":
		c.Log = v
		return nil
	}
	return errors.New("give stderr or syslog")
}

func setFakeTime(c *Config, v string) error {
	if v == "" {
		return nil // the system's clock
	}
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err != nil || n < 0 || n > 253402300799 { // the year 9999
		return errors.New("give a Unix time in seconds")
	}
	c.FakeTime = time.Unix(n, 0).UTC()
	return nil
}
