package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Config can be written as a settings file and as a postsrsd.conf, whichever
// it was read from. What it cannot say there, by the very setters that read it
// back, is told in a comment and to the caller.

const (
	settingsFile = "a settings file"
	confFile     = "a postsrsd.conf"
)

// only3x are the keys that PostSRSd 2.x does not have.
var only3x = []string{"alphabet", "metrics", "milter-alias-maps", "socket-mode", "socket-owner"}

// SettingsFile is a settings file that says c: PostSRSd 1.x's variables, quoted
// so that /bin/sh and this package read the same. What has no variable stands
// in SRS_EXTRA_OPTIONS. POSTSRSD_FAKETIME is the environment's and not among
// it. lost has a line for each setting that will be another.
func (c *Config) SettingsFile() (text string, lost []string) {
	var file strings.Builder
	var options []string
	for s := range sayable() {
		value := c.Text(s.Name)
		option := ""
		switch {
		case s.Scope == Everywhere && s.Variable != "", s.Scope == FileOnly:
		case value == "":
			continue
		case s.Name == "Family":
			option = "-" + value
		case s.Long != "":
			option = "--" + s.Long + "=" + value
		case s.Arg != "":
			option = "-" + s.Short + value
		default:
			option = "-" + s.Short
		}
		read := new(Config)
		err := s.set(read, cmp.Or(value, s.Default))
		read.Listed = len(read.Domains)
		switch {
		case err != nil, strings.ContainsRune(value, 0), strings.ContainsAny(option, " \t\n"):
			lost = append(lost, c.loses(s, settingsFile, s.Default))
			continue
		case read.Text(s.Name) != value:
			lost = append(lost, c.loses(s, settingsFile, read.Text(s.Name)))
		}
		if option != "" {
			options = append(options, option)
		} else {
			fmt.Fprintf(&file, "%s=%s\n", s.Variable, quote(value))
		}
	}
	if len(options) > 0 {
		fmt.Fprintf(&file, "SRS_EXTRA_OPTIONS=%s\n", quote(strings.Join(options, " ")))
	}
	return remarks(lost) + file.String(), lost
}

// ConfFile is a postsrsd.conf that says c. Keys that PostSRSd 2.x does not have
// are in it only where they say what is not the default. Where c serves no
// socketmap, the file says the usual one, and excluded domains are among those
// that are our own. lost has a line for each setting that will be another.
func (c *Config) ConfFile() (text string, lost []string) {
	var file, own strings.Builder
	for s := range sayable() {
		value := c.Text(s.Name)
		switch {
		case s.Name == "Excluded" && value != "":
			lost = append(lost, fmt.Sprintf("%s: %d excluded domains are among domains in %s, and their senders are not logged there", c.name(s), len(c.Excluded), confFile))
			continue
		case s.Key == "" && value != s.Conf:
			lost = append(lost, c.loses(s, confFile, s.Conf))
			continue
		case s.Key == "", value == s.Conf && slices.Contains(only3x, s.Key):
			continue
		case s.Name == "Domains":
			fmt.Fprintf(&file, "%s = {%s}\n", s.Key, confList(slices.Concat(c.Domains[:c.Listed], slices.DeleteFunc(slices.Clone(c.Excluded), func(d string) bool { return !isPattern(d) }))))
			continue
		case s.Name == "AliasMaps":
			fmt.Fprintf(&own, "%s = {%s}\n", s.Key, confList(strings.Fields(value)))
			continue
		case s.Name == "Socketmap" && value == "" && c.ForwardPort != "":
			value = s.Conf
			lost = append(lost, c.loses(s, confFile, value))
		case s.Name == "HashLength" && c.HashLength > longestHash, s.Name == "HashMin" && c.HashMin > longestHash:
			value = strconv.Itoa(longestHash)
			lost = append(lost, c.loses(s, confFile, value))
		default:
			read, what := &Config{Conf: confFile}, confText(s, value)
			err := s.assign(read, given{what, Source{Kind: Configuration}})
			if c.Daemonize && s.Name == "Log" { // see together
				read.Log = "syslog"
			}
			switch {
			case err != nil, strings.ContainsRune(value, 0):
				lost = append(lost, c.loses(s, confFile, s.Conf))
				continue
			case read.Text(s.Name) != value:
				lost = append(lost, c.loses(s, confFile, read.Text(s.Name)))
			}
			value = what
		}
		out := &file
		if slices.Contains(only3x, s.Key) || s.Name == "OriginalEnvelope" && value == "auto" {
			out = &own
		}
		fmt.Fprintf(out, "%s = %s\n", s.Key, confWord(value))
	}
	if own.Len() > 0 {
		fmt.Fprintf(&file, "\n# PostSRSd 2.x does not have these, and refuses a file that does.\n%s", &own)
	}
	return remarks(lost) + file.String(), lost
}

// sayable goes through the settings that a file can say.
func sayable() func(yield func(*Setting) bool) {
	return func(yield func(*Setting) bool) {
		done := map[string]bool{"": true, "FakeTime": true}
		for i := range Settings {
			if s := &Settings[i]; !done[s.Name] {
				done[s.Name] = true
				if !yield(s) {
					return
				}
			}
		}
	}
}

// loses says that a setting will be another.
func (c *Config) loses(s *Setting, where, holds string) string {
	text := func(value string) string {
		if value == "" {
			return "none"
		}
		return show(value)
	}
	return fmt.Sprintf("%s: %s cannot be said in %s, where it is %s", c.name(s), text(c.Text(s.Name)), where, text(holds))
}

// NameOf is what a setting, by its name in Settings, is called where c comes
// from: its key, its variable, or its flag with the dashes. It is name itself
// where there is none.
func (c *Config) NameOf(name string) string {
	for i := range Settings {
		if Settings[i].Name == name {
			return c.name(&Settings[i])
		}
	}
	return name
}

func (c *Config) name(s *Setting) string {
	switch {
	case s.Name == "Family":
		return "-4, -6"
	case c.Conf != "" && s.Key != "":
		return s.Key
	case s.Variable != "":
		return s.Variable
	case s.Long != "":
		return "--" + s.Long
	}
	return "-" + s.Short
}

// remarks are lines as comments.
func remarks(lines []string) string {
	text := ""
	for _, line := range lines {
		text += "# " + line + "\n"
	}
	return text
}

// confText is a setting's text in the notation of its key.
func confText(s *Setting, text string) string {
	switch s.Name {
	case "Log":
		if text == "syslog" {
			return "on"
		}
		return "off"
	case "AlwaysRewrite", "Daemonize":
		return cmp.Or(text, "off")
	}
	return text
}

// confWord is text as a word of a postsrsd.conf.
func confWord(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789") == "" {
		return text
	}
	return confQuoted(text)
}

// confQuoted is text in double quotes that means the same to libConfuse.
func confQuoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(text) {
		switch {
		case c == '"', c == '\\', c == '$':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func confList(entries []string) string {
	var words []string
	for _, entry := range entries {
		words = append(words, confQuoted(entry))
	}
	return " " + strings.Join(words, ", ") + " "
}
