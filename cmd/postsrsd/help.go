package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"postsrsd/internal/config"
)

const usage = `Usage:
    postsrsd                      serve as /etc/postsrsd.conf says if it is
                                  there, else as /etc/default/postsrsd says,
                                  or /etc/sysconfig/postsrsd
    postsrsd --env-file FILE      serve as this settings file says
    postsrsd -C FILE              serve as this postsrsd.conf says
    postsrsd -d DOMAIN -s FILE    serve as the flags say
    postsrsd secret               write a new secret
    postsrsd forward ADDRESS...   print the sender to use instead
    postsrsd reverse ADDRESS...   print the recipient that a bounce belongs to
    postsrsd config               print the settings and where they come from
    postsrsd check                tell what is wrong with settings, Postfix, DNS
                                  (each command explains itself with -h)

Postsrsd answers Postfix over tcp_table or socketmap: on the forward port the
sender to use for mail that goes on to another host, on the reverse port the
recipient that a bounce belongs to.

Flags:
`

const examples = `
SIGHUP reads everything again; SIGUSR1 logs the metrics; SIGTERM ends the daemon.

Example:
    $ postsrsd -d example.com -s /etc/postsrsd.secret -u postsrsd -c /var/lib/postsrsd
    $ postmap -q alice@example.org tcp:localhost:10001
    SRS0=KQvt=NK=example.org=alice@example.com
`

// help prints what can be said, from the list that the reader of flags and
// variables goes by.
func help(w io.Writer) {
	var b strings.Builder
	b.WriteString(usage)
	for _, s := range config.Settings {
		if s.Short != "" || s.Long != "" {
			entry(&b, spelling(s), s.Help)
		}
	}
	b.WriteString("\nVariables of the settings file, and of the environment with -e:\n")
	for _, s := range config.Settings {
		if s.Variable == "" {
			continue
		}
		text := s.Help
		switch {
		case s.Default != "":
			text += " [" + s.Default + "]"
		case s.Launcher != "":
			text += " [" + s.Launcher + " where a settings file is read]"
		}
		switch s.Scope {
		case config.FileOnly:
			text += " (settings file only)"
		case config.EnvironmentOnly:
			text += " (environment only)"
		case config.Always:
			text += " (environment only, also without -e)"
		}
		entry(&b, s.Variable, text)
	}
	b.WriteString("\nKeys of postsrsd.conf:\n")
	for _, s := range config.Settings {
		if s.Key == "" {
			continue
		}
		text := cmp.Or(s.KeyHelp, s.Help)
		if s.Conf != "" && s.KeyHelp == "" {
			text += " [" + s.Conf + "]"
		}
		entry(&b, s.Key, text)
	}
	b.WriteString(examples)
	io.WriteString(w, b.String())
}

func spelling(s config.Setting) string {
	var ways []string
	if s.Short != "" {
		ways = append(ways, "-"+s.Short)
	}
	if s.Long != "" {
		ways = append(ways, "--"+s.Long)
	}
	text := strings.Join(ways, ", ")
	switch {
	case s.Optional:
		text += "[" + s.Arg + "]"
	case s.Arg != "" && s.Long != "":
		text += "=" + s.Arg
	case s.Arg != "":
		text += " " + s.Arg
	}
	return text
}

// entry writes a name and what it means, wrapped.
func entry(b *strings.Builder, name, text string) {
	const indent, width = 26, 80
	fmt.Fprintf(b, "  %-*s", indent-2, name)
	column := indent
	if len(name) > indent-4 {
		fmt.Fprintf(b, "\n%*s", indent, "")
	}
	for i, word := range strings.Fields(text) {
		if column+len(word)+1 > width {
			fmt.Fprintf(b, "\n%*s", indent, "")
			column = indent
		} else if i > 0 {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
}
