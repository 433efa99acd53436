package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// postsrsd.conf is the configuration of PostSRSd 2.x. It is read instead of
// the settings files of 1.x, never beside them, and then what is built in is
// what 2.x has built in.

// readConf gives what a postsrsd.conf says.
func (ld *loading) readConf(path string) error {
	f, err := openFile(path)
	if err != nil {
		return fmt.Errorf("cannot read the configuration %s: %w", printable(path), reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot read the configuration %s: %w", printable(path), reason(err))
	}
	data, err := readOpen(f, maxSettings)
	if err != nil {
		return fmt.Errorf("cannot read the configuration %s: %w", printable(path), err)
	}
	ld.judgeOwner(path, info)
	ld.confDefaults()
	return ld.parseConf(path, string(data))
}

// parseConf gives what the text of a postsrsd.conf says.
func (ld *loading) parseConf(path, text string) error {
	at := func(line int) string { return fmt.Sprintf("%s:%d", printable(path), line) }
	r := confReader{rest: text, line: 1, knows: knowsKey, getenv: ld.getenv,
		unset: func(line int, name string) {
			ld.warn("%s: ${%s} is not set in the environment and counts as empty", at(line), printable(name))
		}}
	said := map[string]int{}
	for {
		st, err := r.next()
		if err == nil && st.key == "" {
			return nil
		}
		if err == nil {
			err = ld.take(path, st)
		}
		if err != nil {
			return fmt.Errorf("%s:%w", printable(path), err)
		}
		if before, twice := said[st.key]; twice && !st.add {
			ld.warn("%s: %s has no effect: it is given again at line %d", at(before), st.key, st.line)
		}
		said[st.key] = st.line
	}
}

// confDefaults gives user and jail where there is something to give up.
// Neither may keep a daemon from starting that nobody told of them.
func (ld *loading) confDefaults() {
	if os.Geteuid() != 0 {
		return
	}
	user := "postsrsd"
	if !ld.UserExists(user) {
		user = "nobody"
	}
	ld.give("User", user, Source{Kind: Launcher, Name: "unprivileged-user"})
	if info, err := os.Stat(ld.Jail); err == nil && info.IsDir() {
		ld.give("Chroot", ld.Jail, Source{Kind: Launcher, Name: "chroot-dir"})
	}
}

// take gives what one statement says.
func (ld *loading) take(path string, st statement) error {
	s := byKey(st.key)
	list := s != nil && s.Adds
	switch {
	case st.list && !list:
		return wrongAt(st.line, "%s: give one value and no list", st.key)
	case st.add && !list:
		return wrongAt(st.line, "%s: give the value with =, as += is for lists", st.key)
	case s == nil:
		v := st.values[0]
		if err := ld.withoutSetting(path, st.key, v); err != nil {
			return wrongAt(v.line, "%s = %s: %w", st.key, show(v.text), err)
		}
		return nil
	}
	if list && !st.add {
		delete(ld.given, s.Name)
	}
	for _, v := range st.values {
		ld.give(s.Name, v.text, Source{Kind: Configuration, Name: st.key, Path: path, Line: v.line})
	}
	return nil
}

// inert are the keys that have no Setting.
var inert = []string{"debug", "seccomp"}

// withoutSetting takes a key that changes nothing.
func (ld *loading) withoutSetting(path, key string, v word) error {
	on, err := parseBool(v.text)
	if on && key == "seccomp" { // debug is, as every lookup is logged in any case
		ld.warn("%s:%d: seccomp has no effect: system calls are filtered by the service manager or not at all", printable(path), v.line)
	}
	return err
}

// knowsKey points out what is no key.
func knowsKey(key string) error {
	if byKey(key) != nil || slices.Contains(inert, key) {
		return nil
	}
	if s := byVariable(key); s != nil {
		if s.Key != "" {
			return fmt.Errorf("%s belongs in the settings file of 1.x: write %s here", key, s.Key)
		}
		return fmt.Errorf("%s belongs in the settings file of 1.x, and has no counterpart here", key)
	}
	meant := strings.ReplaceAll(strings.ToLower(key), "_", "-")
	if meant != key && (byKey(meant) != nil || slices.Contains(inert, meant)) {
		return fmt.Errorf("%s is no key: write %s", show(key), meant)
	}
	return fmt.Errorf("%s is no key", show(key))
}

// byKey finds the setting of a key, nil when there is none.
func byKey(key string) *Setting {
	for i := range Settings {
		if Settings[i].Key == key && key != "" {
			return &Settings[i]
		}
	}
	return nil
}

func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "on", "true", "yes":
		return true, nil
	case "off", "false", "no":
		return false, nil
	}
	return false, errors.New("give on or off")
}

// onOff makes the setter of a key for a setting that is on or off.
func onOff(set func(c *Config, on bool)) func(*Config, string) error {
	return func(c *Config, v string) error {
		on, err := parseBool(v)
		if err == nil {
			set(c, on)
		}
		return err
	}
}

// anyBase lets set have a number in decimal that may be in C's notation, with
// 0x or 0 in front.
func anyBase(set func(*Config, string) error) func(*Config, string) error {
	return func(c *Config, v string) error {
		if n, err := strconv.ParseInt(v, 0, 64); err == nil {
			v = strconv.FormatInt(n, 10)
		}
		return set(c, v)
	}
}

// isThere says whether there is something at path, be it a symbolic link that
// leads nowhere.
func isThere(path string) bool {
	_, err := os.Lstat(path)
	return !missing(err)
}
