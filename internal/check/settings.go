package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"postsrsd/internal/config"
)

const (
	shortSecret = 12      // bytes, under which a secret can be guessed from one address
	oldSecret   = 3 * 365 // days
)

// stops begins what the daemon says for itself when it is started.
const stops = "the daemon does not start: "

// settings looks at what the start would say, and at what it does not say.
func (r *run) settings() {
	before := len(r.findings)
	for _, err := range r.Wrong {
		r.wrong(err)
	}
	c := r.Config
	if c == nil {
		return
	}
	for _, warning := range c.Warnings {
		where, what := place(warning)
		r.found(Warning, where, "", "%s", what)
	}
	for _, u := range c.Unknown {
		r.unknown(u)
	}
	r.effective()
	r.places()
	if r.better(before) {
		r.found(OK, source(c, "Domain"), "", "the daemon starts with these settings, and rewrites into %s", c.Domain)
	}
	for _, way := range c.Ways() {
		r.daemon(way)
	}
	r.metrics(c.Metrics)
	r.database(c.Database)
}

// effective looks at the settings that hold, and at the files that they name.
func (r *run) effective() {
	c := r.Config
	r.secretFile(c.SecretFile)
	r.jail(c.Chroot)
	r.user(c.User)
	r.hash()
	r.excluded("Excluded", c.Excluded, "excluded")
	r.excluded("Domains", c.Domains, "our own")
}

// Faults are what the group settings finds wrong with a configuration that the
// daemon starts with all the same: a line for each error.
func Faults(c *config.Config) (lines []string) {
	r := &run{Options: Options{Config: c}}
	r.effective()
	for _, f := range r.findings {
		if f.Level == Error && !strings.HasPrefix(f.What, stops) {
			lines = append(lines, f.Line())
		}
	}
	return lines
}

func (r *run) wrong(err error) {
	where, what := place(err.Error())
	switch {
	case errors.Is(err, config.ErrSecrets) && errors.Is(err, fs.ErrPermission):
		r.unseen(where, "run this as root", "the secret cannot be read by this user, so what needs it was not looked at: %s", what)
	case errors.Is(err, config.ErrSecrets):
		r.found(Error, where, "postsrsd secret writes one", stops+"%s", what)
	case errors.Is(err, fs.ErrPermission):
		r.unseen(where, "run this as root", "not readable by this user: %s", what)
	default:
		r.found(Error, where, "put it right; postsrsd -h lists what can be said", stops+"%s", what)
	}
}

// located is a file at the beginning of a message, with or without a line.
var located = pattern(`^(/[^ :]+(?::[0-9]+)?): (.*)$`)

// place takes a message of package config apart.
func place(message string) (where, what string) {
	if m := located().FindStringSubmatch(message); m != nil {
		return m[1], m[2]
	}
	return Settings, message
}

// source is where a setting comes from, as a place to look at.
func source(c *config.Config, name string) string {
	return c.NameOf(name) + " (" + c.Sources[name].String() + ")"
}

// name is what whoever wrote the configuration calls a setting.
func (r *run) name(setting string) string { return r.Config.NameOf(setting) }

// otherNames are what variables of this daemon are called where people have
// PostSRSd 2.x's keys in mind, or other variables' spelling.
var otherNames = map[string]string{
	"SRS_SRS_DOMAIN": "SRS_DOMAIN", "SRS_SECRETS_FILE": "SRS_SECRET", "SRS_SECRET_FILE": "SRS_SECRET",
	"SRS_EXCLUDED_DOMAINS": "SRS_EXCLUDE_DOMAINS",
	"SRS_HASH_LENGTH":      "SRS_HASHLENGTH", "SRS_HASH_MINIMUM": "SRS_HASHMIN", "SRS_HASH_MIN": "SRS_HASHMIN",
	"SRS_KEEP_ALIVE": "SRS_TIMEOUT", "SRS_UNPRIVILEGED_USER": "RUN_AS", "SRS_USER": "RUN_AS", "SRS_RUN_AS": "RUN_AS",
	"SRS_CHROOT_DIR": "CHROOT", "SRS_CHROOT": "CHROOT", "SRS_ALWAYS_REWRITE": "SRS_EXTRA_OPTIONS=-A",
	"SRS_PIDFILE": "SRS_EXTRA_OPTIONS=-p",
}

func (r *run) unknown(u config.Unknown) {
	where := fmt.Sprintf("%s:%d", u.File, u.Line)
	right := otherNames[u.Name]
	if right == "" {
		right = nearest(u.Name)
	}
	if right == "" {
		r.found(Note, where, "", "%s is no variable of postsrsd: it has an effect only if the file itself uses it", u.Name)
		return
	}
	r.found(Warning, where, "write "+right, "%s is no variable of postsrsd and has no effect", u.Name)
}

// nearest is the variable that is written most like name, "" if none is.
func nearest(name string) string {
	best, least := "", 3 // so many mistakes are another name
	for _, s := range config.Settings {
		if v := s.Variable; v != "" && s.Scope != config.Always && s.Scope != config.EnvironmentOnly {
			if d := distance(strings.ToUpper(name), v); d < least {
				best, least = v, d
			}
		}
	}
	return best
}

// distance is Levenshtein's: how many octets to put in, leave out or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func (r *run) secretFile(path string) {
	info, err := os.Stat(path)
	if err != nil {
		return // told already
	}
	for i, secret := range r.Config.Secrets {
		// A secret shorter than SRS_SECRET_LENGTH was warned of.
		if len(secret) < shortSecret && len(secret) >= r.Config.SecretLength {
			r.found(Warning, path, "postsrsd secret --rotate", "secret %d of %d has %d bytes: who sees one address can find it out by trying",
				i+1, len(r.Config.Secrets), len(secret))
		}
	}
	switch perm := info.Mode().Perm(); {
	case !info.Mode().IsRegular():
	case perm&0o007 != 0:
		r.found(Error, path, "chmod 600 "+path, "every user of this host may read or change the secret (mode %04o), and so sign addresses", perm)
	case perm&0o020 != 0:
		r.found(Warning, path, "chmod 600 "+path, "the file's group may change the secret (mode %04o)", perm)
	case perm&0o040 != 0:
		r.found(Note, path, "", "the file's group may read the secret (mode %04o)", perm)
	}
	if age := int(r.Now.Sub(info.ModTime()) / (24 * time.Hour)); age > oldSecret {
		r.found(Note, path, "postsrsd secret --rotate", "the secret is the same since %s", info.ModTime().UTC().Format(time.DateOnly))
	}
}

func (r *run) jail(dir string) {
	if dir == "" {
		r.found(Note, source(r.Config, "Chroot"), "", "no jail: the daemon sees the whole file system")
		return
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		r.unseen(dir, "run this as root", "the jail cannot be looked at by this user")
	case err != nil:
		r.found(Error, source(r.Config, "Chroot"), "mkdir "+dir+", or set "+r.name("Chroot")+" to a directory", stops+"the jail %s is not there", dir)
	case !info.IsDir():
		r.found(Error, source(r.Config, "Chroot"), "set "+r.name("Chroot")+" to a directory", stops+"the jail %s is no directory", dir)
	case info.Mode().Perm()&0o002 != 0:
		r.found(Warning, dir, "chmod o-w "+dir, "anyone may put files into the jail (mode %04o)", info.Mode().Perm())
	}
}

func (r *run) user(name string) {
	if name == "" {
		r.found(Note, source(r.Config, "User"), "", "no user to become: the daemon serves as the user that starts it")
		return
	}
	u, err := user.Lookup(name)
	if _, wrong := strconv.Atoi(name); err != nil && wrong == nil {
		u, err = user.LookupId(name)
	}
	switch {
	case err != nil:
		r.found(Error, source(r.Config, "User"), "adduser --system --group "+name+", or set "+r.name("User")+" to a user", stops+"%v", err)
	case u.Uid == "0":
		r.found(Warning, source(r.Config, "User"), "set "+r.name("User")+" to a user of its own", "the daemon serves as root")
	}
}

func (r *run) hash() {
	c := r.Config
	const alphabet = 38 // letters without case, digits, two more
	if c.HashMin < 4 {
		tries := 1
		for range c.HashMin {
			tries *= alphabet
		}
		r.found(Warning, source(c, "HashMin"), "set "+r.name("HashMin")+" to 4 or more",
			"hashes of %d characters are accepted: one of %d guesses makes this host a relay for bounces to anyone", c.HashMin, tries)
	}
	if c.HashLength > 8 {
		r.found(Note, source(c, "HashLength"), "", "the hash takes %d of the 64 octets that a local part may have; some hosts refuse longer ones", c.HashLength)
	}
}

// excluded looks at one of the two lists of domains whose senders stay as they
// are.
func (r *run) excluded(setting string, list []string, what string) {
	where := source(r.Config, setting)
	suffixes := map[string]bool{}
	for _, d := range list {
		if strings.HasPrefix(d, ".") {
			suffixes[strings.ToLower(d)] = true
		}
	}
	covered, first := 0, ""
	for _, d := range list {
		name := strings.ToLower(d)
		if name == strings.ToLower(r.Config.Domain) && !r.Config.AlwaysRewrite {
			r.found(Note, where, "leave it out", "%s is the SRS domain, which is not rewritten anyway", d)
		}
		for i := 1; i < len(name); i++ {
			if name[i] == '.' && suffixes[name[i:]] {
				if covered++; covered == 1 {
					first = d + " by " + name[i:]
				}
				break
			}
		}
	}
	if covered > 0 {
		r.found(Note, where, "", "%d of %d domains that are %s are covered by others: %s", covered, len(list), what, first)
	}
	if len(list) > 0 {
		r.found(OK, where, "", "%d domains are %s", len(list), what)
	}
}
