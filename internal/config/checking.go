package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// check makes the Config of what was given and holds it together. The first of
// wrong is what the start says.
func (ld *loading) check(launched bool) (c *Config, wrong []error) {
	var noAnswer error
	if _, ok := ld.last("Domain"); !ok && launched {
		var domain string
		if domain, noAnswer = ld.askPostfix(); noAnswer == nil {
			ld.give("Domain", domain, Source{Kind: Postfix})
		}
	}

	c = &Config{Sources: map[string]Source{}, Unknown: ld.unknown, Conf: ld.conf}
	bad := map[string]bool{}
	for _, s := range Settings {
		if _, done := c.Sources[s.Name]; done || s.Name == "" || bad[s.Name] {
			continue
		}
		if err := ld.settle(&s, c); err != nil {
			wrong = append(wrong, err)
			bad[s.Name] = true
			s.assign(c, given{})
		}
	}

	c.Listed = len(c.Domains)
	if err := ld.addDomainsFile(c); err != nil {
		wrong = append(wrong, err)
	}
	if err := ld.readAliasMaps(c); err != nil {
		wrong = append(wrong, err)
	}
	if c.Conf != "" && c.Domain == "" {
		c.Domain = firstDomain(c.Domains)
		c.Sources["Domain"] = c.Sources["Domains"]
	}
	switch {
	case noAnswer != nil:
		wrong = append(wrong, fmt.Errorf("%w: SRS_DOMAIN is not set, and %w", noDomain, noAnswer))
	case c.Domain == "" && c.Conf != "" && !bad["Domain"]:
		wrong = append(wrong, fmt.Errorf("%s: there is no domain to rewrite into: set srs-domain", printable(c.Conf)))
	case c.Domain == "" && !bad["Domain"]:
		wrong = append(wrong, noDomain)
	}
	switch {
	case c.SecretFile == "" && c.Conf != "":
		wrong = append(wrong, fmt.Errorf("%s: there is no secret: set secrets-file", c.Sources["SecretFile"]))
	case c.SecretFile == "":
		wrong = append(wrong, noSecret)
	}
	if err := ld.together(c); err != nil {
		wrong = append(wrong, err)
	}
	if !bad["Database"] {
		if err := ld.placeDatabase(c); err != nil {
			wrong = append(wrong, err)
		}
	}
	if c.SecretFile != "" {
		var err error
		if c.Secrets, err = ReadSecrets(c.SecretFile); err != nil {
			if from := c.Sources["SecretFile"]; from.Kind == Configuration {
				err = fmt.Errorf("%s: %w", from.said(c.SecretFile), err)
			}
			wrong = append(wrong, err)
		} else if state := StateOf(c.SecretFile); state != (FileState{}) {
			c.SecretChanged = time.Unix(0, state.Modified).UTC()
		}
	}
	ld.judgeSecrets(c)
	c.Warnings = ld.warnings
	return c, wrong
}

// settle sets what was said of a setting, or what is built in.
func (ld *loading) settle(s *Setting, c *Config) error {
	all := ld.given[s.Name]
	if len(all) == 0 {
		all = []given{{s.builtIn(c), Source{}}}
	}
	if !s.Adds {
		all = all[len(all)-1:]
	}
	for _, g := range all {
		if err := s.assign(c, g); err != nil {
			return located(err, g)
		}
		c.Sources[s.Name] = g.from
	}
	return nil
}

// builtIn is what holds when nothing is said.
func (s *Setting) builtIn(c *Config) string {
	if c.Conf != "" {
		return s.Conf
	}
	return s.Default
}

// assign checks a value and sets it. An empty one is as good as none, but in a
// postsrsd.conf it switches off.
func (s *Setting) assign(c *Config, g given) error {
	if g.from.Kind == Configuration {
		if s.setKey != nil {
			return s.setKey(c, g.value)
		}
		return s.set(c, g.value)
	}
	return s.set(c, cmp.Or(g.value, s.builtIn(c)))
}

// located adds to a setter's error who said the value.
func located(err error, g given) error {
	var own refusal
	if errors.As(err, &own) {
		return fmt.Errorf("%w (%s)", err, g.from.said(g.value))
	}
	return fmt.Errorf("%s: %w", g.from.said(g.value), err)
}

// together checks what settings must not say together, and warns of what they hardly mean.
func (ld *loading) together(c *Config) error {
	if c.HashMin > c.HashLength {
		if c.Sources["HashMin"].Kind > Launcher {
			g, _ := ld.last("HashMin")
			ld.warn("%s: lowered to the hash length, %d, as longer hashes are never written", g.from.said(g.value), c.HashLength)
		}
		c.HashMin = c.HashLength
	}
	if !fits(c.ListenAddr, c.Family) {
		return fmt.Errorf("-%d and the listen address %s (%s) exclude each other", c.Family, c.ListenAddr, c.Sources["ListenAddr"])
	}
	if err := differentPorts(c); err != nil {
		return err
	}
	if c.Milter == c.Socketmap && c.Milter != (Endpoint{}) {
		return fmt.Errorf("socketmap (%s) and milter (%s) are both %s: give two", c.Sources["Socketmap"], c.Sources["Milter"], c.Milter)
	}
	if junk := slices.DeleteFunc(slices.Clone(c.Excluded), isPattern); len(junk) > 0 {
		ld.warn("%s: %s among the excluded domains is no domain and excludes nothing (%d such in all)", c.Sources["Excluded"], show(junk[0]), len(junk))
	}
	for _, g := range ld.given["Domains"] {
		for _, d := range strings.FieldsFunc(g.value, isListSeparator) {
			if !isPattern(d) {
				ld.warn("%s: %s is no domain and stands for none", g.from.said(g.value), show(d))
			}
		}
	}
	if g, _ := ld.last("Socketmap"); c.Socketmap.Port != "" && c.Socketmap.Host == "" && !strings.Contains(g.value, "*") {
		ld.warn("%s: every address of this host is served, and whoever can connect can have senders signed: write inet:*:%s if that is meant, inet:localhost:%[2]s if not",
			g.from.said(g.value), c.Socketmap.Port)
	}
	if c.DomainsFileWatch && c.DomainsFile == "" {
		ld.warn("%s: there is no file of domains to watch", c.Sources["DomainsFileWatch"].said("on"))
	}
	if len(c.AliasMaps) > 0 && c.Milter == (Endpoint{}) {
		ld.warn("%s: there is no milter that would ask", c.Sources["AliasMaps"].said(c.Text("AliasMaps")))
	}
	if c.Conf != "" && c.Daemonize && c.Log == "stderr" && c.Sources["Log"].Kind != CommandLine {
		if c.Sources["Log"].Kind == Configuration {
			ld.warn("%s: the log goes to syslog all the same, as there is no standard error in the background", c.Sources["Log"].said("off"))
		}
		c.Log = "syslog"
	}
	if !c.FakeTime.IsZero() {
		ld.warn("POSTSRSD_FAKETIME: the clock stands at %s", c.FakeTime.Format(time.RFC3339))
	}
	return nil
}
