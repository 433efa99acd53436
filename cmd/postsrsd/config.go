package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postsrsd/internal/config"
)

const configUsage = `Usage:
    postsrsd config [--as=env | --as=conf] [FLAG...]

Prints what the daemon would serve by: each setting with where it comes from,
the secrets as their number and lengths.

    --as=env   print a settings file that says the same; it holds no secret
    --as=conf  print a postsrsd.conf that says the same
    FLAG       of the daemon: --env-file=FILE, -d, -s, ...; see postsrsd -h

Exit status: 0, 1 if the daemon would not start so, 3 if something cannot be
said in the other form; standard error and a comment tell what.
`

// notAllSaid is the exit status where the other form cannot say everything.
const notAllSaid = 3

// showConfig is the command config.
func showConfig(args []string, stdout, stderr io.Writer) int {
	a, err := config.ParseArguments(args, "as=")
	as := ""
	if values := a.Own["as"]; len(values) > 0 {
		as = values[len(values)-1]
	}
	switch {
	case errors.Is(err, config.ErrHelp):
		io.WriteString(stdout, configUsage)
		return 0
	case errors.Is(err, config.ErrVersion):
		return printVersion(stdout)
	case err != nil:
		fail(stderr, err)
		return 2
	case len(a.Operands) > 0 || as != "env" && as != "conf" && a.Has("as"):
		io.WriteString(stderr, configUsage)
		return 2
	}
	c, wrong := config.Survey(a.Flags, os.Environ())
	status := 0
	for _, err := range wrong {
		status = fail(stderr, err)
	}
	switch {
	case c == nil:
	case as != "":
		// Whoever may not read the secrets may still move the settings.
		for _, err := range wrong {
			if !errors.Is(err, config.ErrSecrets) {
				return status
			}
		}
		text, lost := c.SettingsFile()
		if as == "conf" {
			text, lost = c.ConfFile()
		}
		io.WriteString(stdout, text)
		for _, line := range lost {
			fmt.Fprintln(stderr, "postsrsd:", line)
			status = max(status, notAllSaid)
		}
	default:
		printSettings(stdout, c)
	}
	return status
}

// nothing is what an empty value means, where that is not "none".
var nothing = map[string]string{
	"AlwaysRewrite": "off",
	"Daemonize":     "off",
	"Family":        "both",
	"FakeTime":      "the system's",
	"ListenAddr":    "127.0.0.1 and ::1",
	"Log":           "as the surroundings are",
}

func printSettings(w io.Writer, c *config.Config) {
	done := map[string]bool{"": true}
	for _, s := range config.Settings {
		if done[s.Name] {
			continue
		}
		done[s.Name] = true
		value := visible(c.Text(s.Name))
		switch {
		case s.Name == "Excluded" && value != "":
			value = plural(len(c.Excluded), "domain")
		case value == "" && nothing[s.Name] != "":
			value = nothing[s.Name]
		case value == "":
			value = "none"
		}
		row(w, settingName(s), value, origin(c.Sources[s.Name]))
		switch s.Name {
		case "SecretFile":
			for i, secret := range c.Secrets {
				row(w, "", plural(len(secret), "byte"), fmt.Sprintf("secret %d of %d", i+1, len(c.Secrets)))
			}
		case "Excluded":
			for _, domain := range c.Excluded {
				fmt.Fprintf(w, "%26s%s\n", "", visible(domain))
			}
		}
	}
}

func row(w io.Writer, name, value, from string) {
	fmt.Fprintf(w, "%-26s %-29s %s\n", name, value, from)
}

// settingName is how the administrator says a setting.
func settingName(s config.Setting) string {
	switch {
	case s.Name == "Family":
		return "-4, -6"
	case s.Variable != "":
		return s.Variable
	case s.Long != "":
		return "--" + s.Long
	}
	return "-" + s.Short
}

// origin adds the flag to where a value comes from.
func origin(s config.Source) string {
	if s.Kind == config.CommandLine {
		return visible(s.String() + ": " + strings.TrimSpace(s.Name))
	}
	return visible(s.String())
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
