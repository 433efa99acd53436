package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os/user"
	"strings"
	"time"
)

// Loader is where Load looks; the zero value stands for the usual places.
type Loader struct {
	Files      []string               // settings files of a bare call, the later override; default /etc/default/postsrsd, /etc/sysconfig/postsrsd
	Conf       string                 // read in a bare call where it is there; default /etc/postsrsd.conf
	Jail       string                 // of a postsrsd.conf that names none, where it is there; default /var/lib/postsrsd
	Shell      string                 // what evaluates a settings file that is not plain; default /bin/sh
	Postconf   string                 // default postconf, from the environment's PATH
	Patience   time.Duration          // how long a program may run that is asked; default 10 s
	UserExists func(name string) bool // default: the system's users
}

// Load makes the Config of a call with args, without the program's name, and
// environ, as os.Environ has it. ErrHelp and ErrVersion are the two errors that
// a caller tells apart; every other is one line for the administrator. To
// reload, call it again.
func Load(args, environ []string) (*Config, error) { return Loader{}.Load(args, environ) }

// Load is like the function of the same name.
func (l Loader) Load(args, environ []string) (*Config, error) {
	ld := newLoading(l, environ)
	launched, err := ld.gather(args)
	if err != nil {
		return nil, err
	}
	c, wrong := ld.check(launched)
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	return c, nil
}

// Survey is Load for whoever looks on instead of serving: it goes on where
// Load stops. wrong is everything that would stop the start, and c has the
// defaults in place of what is wrong, and no secrets if they cannot be read.
// It is nil when flags or settings files could not be read at all.
func Survey(args, environ []string) (c *Config, wrong []error) {
	return Loader{}.Survey(args, environ)
}

// Survey is like the function of the same name.
func (l Loader) Survey(args, environ []string) (c *Config, wrong []error) {
	ld := newLoading(l, environ)
	launched, err := ld.gather(args)
	if err != nil {
		return nil, []error{err}
	}
	return ld.check(launched)
}

// SecretPlace tells where the secrets of a call belong and how many characters
// a new one is to have. It does not read them, and whatever else is wrong with
// the configuration does not matter to it.
func SecretPlace(args, environ []string) (path string, length int, err error) {
	return Loader{}.SecretPlace(args, environ)
}

// SecretPlace is like the function of the same name.
func (l Loader) SecretPlace(args, environ []string) (path string, length int, err error) {
	ld := newLoading(l, environ)
	if _, err := ld.gather(args); err != nil {
		return "", 0, err
	}
	c := &Config{Sources: map[string]Source{}, Conf: ld.conf}
	for _, s := range Settings {
		if s.Name == "SecretFile" || s.Name == "SecretLength" {
			if err := ld.settle(&s, c); err != nil {
				return "", 0, err
			}
		}
	}
	if c.SecretFile == "" {
		return "", 0, noSecret
	}
	return c.SecretFile, c.SecretLength, nil
}

// gather collects what is said, and tells whether settings files were read.
func (ld *loading) gather(args []string) (launched bool, err error) {
	uses, err := parseFlags(args)
	if err != nil {
		return false, err
	}
	files, named := ld.Files, false
	only1x := "" // a flag that only 1.x has
	for _, u := range uses {
		switch {
		case u.setting.Long == "env-file":
			if !named {
				files, named = nil, true
			}
			files = append(files, u.value)
		case u.setting.Short == "C":
			if u.value == "" {
				return false, errors.New("-C: give the name of a file")
			}
			if ld.conf != "" {
				return false, fmt.Errorf("-C %s and -C %s exclude each other", show(ld.conf), show(u.value))
			}
			ld.conf = u.value
		case !u.setting.Common && only1x == "":
			only1x = u.name
		}
	}
	if ld.conf != "" && (named || only1x != "") {
		return false, fmt.Errorf("-C %s and %s exclude each other: a postsrsd.conf is read instead of settings files, flags and variables of 1.x",
			show(ld.conf), cmp.Or(only1x, "--env-file"))
	}
	if bare := !named && only1x == ""; bare && ld.conf == "" && isThere(ld.Conf) {
		ld.conf = ld.Conf
		for _, path := range files {
			if isThere(path) {
				ld.warn("%s is not read, because %s is there: take one of them away", path, ld.conf)
			}
		}
	}
	switch {
	case ld.conf != "":
		err = ld.readConf(ld.conf)
	case named || only1x == "":
		launched = true
		err = ld.readFiles(files, named)
	}
	if err != nil {
		return false, err
	}
	ld.apply(uses, Source{Kind: CommandLine})
	if v, ok := ld.getenv("POSTSRSD_FAKETIME"); ok {
		ld.give("FakeTime", v, Source{Kind: Environment, Name: "POSTSRSD_FAKETIME"})
	}
	return launched, nil
}

// given is a value as it was said.
type given struct {
	value string
	from  Source
}

// loading is the state of one Load.
type loading struct {
	Loader
	environ  []string
	conf     string             // the postsrsd.conf that is read, "" for none
	given    map[string][]given // by Setting.Name, the weakest first
	unknown  []Unknown
	warnings []string
	postfix  struct { // what postconf said, once asked
		asked  bool
		domain string
		err    error
	}
}

func newLoading(l Loader, environ []string) *loading {
	if l.Files == nil {
		l.Files = []string{"/etc/default/postsrsd", "/etc/sysconfig/postsrsd"}
	}
	if l.Conf == "" {
		l.Conf = "/etc/postsrsd.conf"
	}
	if l.Jail == "" {
		l.Jail = "/var/lib/postsrsd"
	}
	if l.Shell == "" {
		l.Shell = "/bin/sh"
	}
	if l.Postconf == "" {
		l.Postconf = "postconf"
	}
	if l.Patience == 0 {
		l.Patience = 10 * time.Second
	}
	if l.UserExists == nil {
		l.UserExists = func(name string) bool { _, err := user.Lookup(name); return err == nil }
	}
	return &loading{Loader: l, environ: environ, given: map[string][]given{}}
}

func (ld *loading) warn(format string, a ...any) {
	ld.warnings = append(ld.warnings, fmt.Sprintf(format, a...))
}

func (ld *loading) give(name, value string, from Source) {
	ld.given[name] = append(ld.given[name], given{value, from})
}

// last is the value that wins for a setting.
func (ld *loading) last(name string) (given, bool) {
	all := ld.given[name]
	if len(all) == 0 {
		return given{}, false
	}
	return all[len(all)-1], true
}

// getenv finds a variable of the environment; of one that is there twice the
// first counts, as for getenv(3).
func (ld *loading) getenv(name string) (string, bool) {
	for _, e := range ld.environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// apply gives the flags in their order, the environment's variables where -e stands.
func (ld *loading) apply(uses []use, from Source) {
	for _, u := range uses {
		if u.setting.Name != "" {
			from.Name = u.name
			ld.give(u.setting.Name, u.value, from)
			continue
		}
		if u.setting.Short != "e" {
			continue
		}
		for _, s := range Settings {
			if s.Name == "" || s.Variable == "" || s.Scope == FileOnly || s.Scope == Always {
				continue
			}
			v, ok := ld.getenv(s.Variable)
			if s.Variable == "SRS_DOMAIN" && v == "" {
				continue // counts as unset
			}
			if ok {
				ld.give(s.Name, v, Source{Kind: Environment, Name: s.Variable})
			}
		}
	}
}

// readFiles gives what the launcher would: SRS_EXTRA_OPTIONS' flags and then,
// so that they win, the variables.
func (ld *loading) readFiles(files []string, named bool) error {
	vars := map[string]given{}
	for _, s := range Settings {
		if s.Launcher != "" {
			vars[s.Variable] = given{s.Launcher, Source{Kind: Launcher, Name: s.Variable}}
		}
	}
	if !ld.UserExists("postsrsd") {
		vars["RUN_AS"] = given{"nobody", vars["RUN_AS"].from}
	}

	found := false
	for _, path := range files {
		f, err := openFile(path)
		if missing(err) && !(named && len(files) == 1) {
			continue
		}
		if err != nil {
			return unreadable(path, err)
		}
		set, err := ld.readSettings(path, f, vars)
		f.Close()
		if err != nil {
			return err
		}
		found = true
		maps.Copy(vars, set)
	}
	if !found {
		ld.warn("no settings file is there (%s): defaults hold", strings.Join(files, ", "))
	}

	if extra := vars["SRS_EXTRA_OPTIONS"]; strings.TrimSpace(extra.value) != "" {
		if err := ld.extraOptions(extra); err != nil {
			return err
		}
	}
	for _, s := range Settings {
		v, ok := vars[s.Variable]
		if !ok || s.Name == "" || s.Variable == "SRS_DOMAIN" && v.value == "" {
			continue
		}
		if over, ok := ld.last(s.Name); ok && !s.Adds && over.value != v.value {
			ld.warn("%s has no effect: %s comes after it (set %s instead)", over.from.said(over.value), describe(v), s.Variable)
		}
		ld.give(s.Name, v.value, v.from)
	}
	return nil
}

// describe names a variable and its value.
func describe(v given) string { return v.from.Name + "=" + show(v.value) }

func (ld *loading) extraOptions(extra given) error {
	from := Source{Kind: CommandLine, Path: extra.from.Path, Line: extra.from.Line}
	uses, err := parseFlags(strings.FieldsFunc(extra.value, func(r rune) bool { return strings.ContainsRune(" \t\n", r) }))
	if err != nil {
		return fmt.Errorf("%s: %w", from, noFlags(err))
	}
	for _, u := range uses {
		if u.setting.Long == "env-file" || u.setting.Short == "C" {
			return fmt.Errorf("%s: %w", from, errors.New(u.name+" cannot stand here"))
		}
	}
	ld.apply(uses, from)
	return nil
}

// noFlags keeps a request for help in a settings file from passing for one of the command line.
func noFlags(err error) error {
	if err == ErrHelp || err == ErrVersion {
		return errors.New("--help and --version cannot stand here")
	}
	return err
}
