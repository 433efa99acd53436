package config

import (
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
		return strings.Join(c.Domains[:c.Listed], " ")
	case "DomainsFile":
		return c.DomainsFile
	case "DomainsFileWatch":
		return onOrOff(c.DomainsFileWatch)
	case "OriginalEnvelope":
		return c.OriginalEnvelope
	case "Database":
		return c.Database.String()
	case "Socketmap":
		return c.Socketmap.String()
	case "Metrics":
		return c.Metrics.String()
	case "Milter":
		return c.Milter.String()
	case "MilterRewriteLocal":
		return onOrOff(c.MilterRewriteLocal)
	case "MilterRecipientLimit":
		return strconv.Itoa(c.MilterRecipientLimit)
	case "AliasMaps":
		var names []string
		for _, m := range c.AliasMaps {
			names = append(names, m.Name)
		}
		return strings.Join(names, " ")
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

func onOrOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
