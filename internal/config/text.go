package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Text is the value of a setting, by its name in Settings, as the setting
// reads it: what it sets, set again, is the same. It is empty for one that is
// off or has nothing.
func (c *Config) Text(name string) string {
	flag := func(on bool) string {
		if on {
			return "on"
		}
		return ""
	}
	switch name {
	case "Domain":
		return c.Domain
	case "SecretFile":
		return c.SecretFile
	case "SecretLength":
		return strconv.Itoa(c.SecretLength)
	case "Separator":
		return string(rune(c.Separator))
	case "HashLength":
		return strconv.Itoa(c.HashLength)
	case "HashMin":
		return strconv.Itoa(c.HashMin)
	case "Alphabet":
		return c.Alphabet
	case "AlwaysRewrite":
		return flag(c.AlwaysRewrite)
	case "Excluded":
		return strings.Join(c.Excluded, " ")
	case "Domains":
		return strings.Join(c.Domains, " ")
	case "DomainsFile":
		return c.DomainsFile
	case "DomainsFileWatch":
		if c.DomainsFileWatch {
			return "on"
		}
		return "off"
	case "Socketmap":
		return c.Socketmap.String()
	case "Metrics":
		return c.Metrics.String()
	case "SocketMode":
		return fmt.Sprintf("%04o", c.SocketMode)
	case "SocketOwner":
		return c.SocketOwner
	case "ListenAddr":
		return c.ListenAddr
	case "ForwardPort":
		return c.ForwardPort
	case "ReversePort":
		return c.ReversePort
	case "Family":
		if c.Family == 0 {
			return ""
		}
		return strconv.Itoa(c.Family)
	case "IdleTimeout":
		return strconv.FormatInt(int64(c.IdleTimeout/time.Second), 10)
	case "ConnectionLimit":
		return strconv.Itoa(c.ConnectionLimit)
	case "RequestLimit":
		return strconv.Itoa(c.RequestLimit)
	case "Chroot":
		return c.Chroot
	case "User":
		return c.User
	case "PIDFile":
		return c.PIDFile
	case "Daemonize":
		return flag(c.Daemonize)
	case "Log":
		return c.Log
	case "FakeTime":
		if c.FakeTime.IsZero() {
			return ""
		}
		return strconv.FormatInt(c.FakeTime.Unix(), 10)
	}
	panic("config: no setting " + name)
}

// SettingsFile is a settings file that says all of c: PostSRSd 1.x's variables,
// quoted so that /bin/sh and this package read the same. What has no variable
// stands in SRS_EXTRA_OPTIONS. POSTSRSD_FAKETIME is the environment's and not
// among it. The error is about a value that cannot be said there.
func (c *Config) SettingsFile() (string, error) {
	if c.ForwardPort == "" {
		return "", errors.New("no ports are served, only a socketmap, and a settings file always has ports")
	}
	var file strings.Builder
	var options []string
	done := map[string]bool{"": true, "FakeTime": true}
	for _, s := range Settings {
		if done[s.Name] {
			continue
		}
		done[s.Name] = true
		value := c.Text(s.Name)
		switch {
		case strings.ContainsRune(value, 0):
			return "", fmt.Errorf("%s holds a NUL, which no settings file can: %s", s.Name, show(value))
		case s.Scope == Everywhere && s.Variable != "", s.Scope == FileOnly:
			fmt.Fprintf(&file, "%s=%s\n", s.Variable, quote(value))
		case value == "":
		case strings.ContainsAny(value, " \t\n"):
			return "", fmt.Errorf("SRS_EXTRA_OPTIONS cannot hold a value with white space in it: %s", show(value))
		case s.Name == "Family":
			options = append(options, "-"+value)
		case s.Long != "":
			options = append(options, "--"+s.Long+"="+value)
		case s.Arg != "":
			options = append(options, "-"+s.Short+value)
		default:
			options = append(options, "-"+s.Short)
		}
	}
	if len(options) > 0 {
		fmt.Fprintf(&file, "SRS_EXTRA_OPTIONS=%s\n", quote(strings.Join(options, " ")))
	}
	return file.String(), nil
}
