package config

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// place is a directory with everything that a Loader looks for.
type place struct {
	dir    string
	loader Loader
}

// newPlace makes one with a secret, a postconf that says postfix.example, and no settings file.
func newPlace(t testing.TB) *place {
	t.Helper()
	p := &place{dir: t.TempDir()}
	if err := os.Chmod(p.write(t, "secret", "0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.program(t, "postconf", `[ "$*" = "-h mydomain" ] && echo postfix.example`)
	p.loader = Loader{
		Files:      []string{p.path("default"), p.path("sysconfig")},
		Conf:       p.path("postsrsd.conf"),
		Jail:       p.path("jail"),
		Postconf:   p.path("postconf"),
		UserExists: func(name string) bool { return name == "postsrsd" },
	}
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) write(t testing.TB, name, content string) string {
	t.Helper()
	if err := os.WriteFile(p.path(name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return p.path(name)
}

// program writes a shell script that can be run.
func (p *place) program(t testing.TB, name, script string) {
	t.Helper()
	if err := os.Chmod(p.write(t, name, "#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// load loads with $T in arguments and environment standing for the place.
func (p *place) load(args, environ []string) (*Config, error) {
	expand := func(all []string) []string {
		var out []string
		for _, s := range all {
			out = append(out, strings.ReplaceAll(s, "$T", p.dir))
		}
		return out
	}
	return p.loader.Load(expand(args), expand(environ))
}

// mustLoad loads a configuration that is right.
func (p *place) mustLoad(t testing.TB, args, environ []string) *Config {
	t.Helper()
	c, err := p.load(args, environ)
	if err != nil {
		t.Fatalf("%q %q: %v", args, environ, err)
	}
	return c
}

// launcherDefaults are the shell variables of the launcher before it sources
// the file, with Postfix's domain as newPlace has it.
var launcherDefaults = map[string]string{
	"SRS_FORWARD_PORT": "10001", "SRS_REVERSE_PORT": "10002", "SRS_DOMAIN": "postfix.example", "SRS_SECRET": "/etc/postsrsd.secret",
	"SRS_SEPARATOR": "=", "SRS_HASHLENGTH": "4", "SRS_HASHMIN": "4", "SRS_EXTRA_OPTIONS": "", "SRS_EXCLUDE_DOMAINS": "",
	"RUN_AS": "postsrsd", "SRS_LISTEN_ADDR": "127.0.0.1", "CHROOT": "/var/lib/postsrsd",
}

// fileVariables are those that a settings file may set.
func fileVariables() []string {
	var names []string
	for _, s := range Settings {
		if s.Variable != "" && (s.Scope == Everywhere || s.Scope == FileOnly) {
			names = append(names, s.Variable)
		}
	}
	return names
}

// shellSets is what a shell makes of a settings file: the launcher's defaults,
// then the file, then the environment as env(1) prints it. It shares nothing
// with the code under test. ok is false when the file ends the shell.
func shellSets(t testing.TB, shell, file string) (set map[string]string, ok bool) {
	t.Helper()
	cmd := exec.Command(shell, "-a", "-c", `{ . "$0"; } >/dev/null 2>&1 3>&-; exec /usr/bin/env -0`, file)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for name, value := range launcherDefaults {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	all := map[string]string{}
	for entry := range bytes.SplitSeq(out.Bytes(), []byte{0}) {
		name, value, _ := strings.Cut(string(entry), "=")
		all[name] = value
	}
	return known(all), out.Len() > 0
}

// known keeps the variables that a settings file may set and that are not
// empty. An empty SRS_DOMAIN is Postfix's.
func known(all map[string]string) map[string]string {
	kept := map[string]string{}
	for _, name := range fileVariables() {
		if all[name] != "" {
			kept[name] = all[name]
		}
	}
	if kept["SRS_DOMAIN"] == "" {
		kept["SRS_DOMAIN"] = "postfix.example"
	}
	return kept
}

// weRead is what this package makes of a settings file, comparable to shellSets.
func weRead(p *place, file string) (map[string]string, *loading, error) {
	before := map[string]given{}
	for name, value := range launcherDefaults {
		if name != "SRS_DOMAIN" {
			before[name] = given{value: value}
		}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	ld := newLoading(p.loader, nil)
	set, err := ld.readSettings(file, f, before)
	if err != nil {
		return nil, ld, err
	}
	all := map[string]string{"SRS_DOMAIN": launcherDefaults["SRS_DOMAIN"]}
	for name, g := range before {
		all[name] = g.value
	}
	for name, g := range set {
		all[name] = g.value
	}
	return known(all), ld, nil
}
