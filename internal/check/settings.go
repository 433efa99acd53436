package check

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postsrsd/internal/config"
	"postsrsd/tcptable"
)

// sender is a sender that nobody has (RFC 2606), to ask the daemon for.
const sender = "check@postsrsd.invalid"

const (
	shortSecret = 12              // bytes, under which a secret can be guessed from one address
	oldSecret   = 3 * 365         // days
	patience    = 2 * time.Second // for one answer of the daemon's
)

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
	exposed := config.SecretExposed(c.SecretFile)
	for _, warning := range c.Warnings {
		if exposed != "" && strings.Contains(warning, exposed) {
			continue // said as an error below
		}
		where, what := place(warning)
		r.found(Warning, where, "", "%s", what)
	}
	for _, u := range c.Unknown {
		r.unknown(u)
	}
	r.secretFile(c.SecretFile)
	r.jail(c.Chroot)
	r.user(c.User)
	r.hash()
	r.excluded(c.Excluded)
	if r.better(before) {
		r.found(OK, source(c, "Domain"), "", "the daemon starts with these settings, and rewrites into %s", c.Domain)
	}
	r.daemon()
}

func (r *run) wrong(err error) {
	where, what := place(err.Error())
	switch {
	case errors.Is(err, config.ErrSecrets) && errors.Is(err, fs.ErrPermission):
		r.unseen(where, "run this as root", "the secret cannot be read by this user, so what needs it was not looked at: %s", what)
	case errors.Is(err, config.ErrSecrets):
		r.found(Error, where, "postsrsd secret writes one", "the daemon does not start: %s", what)
	case errors.Is(err, fs.ErrPermission):
		r.unseen(where, "run this as root", "not readable by this user: %s", what)
	default:
		r.found(Error, where, "put it right; postsrsd -h lists what can be said", "the daemon does not start: %s", what)
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
	where := c.Sources[name]
	for _, s := range config.Settings {
		if s.Name == name && s.Variable != "" {
			return s.Variable + " (" + where.String() + ")"
		}
	}
	return where.String()
}

// otherNames are what variables of this daemon are called where people have
// PostSRSd 2.x's keys in mind, or other variables' spelling.
var otherNames = map[string]string{
	"SRS_SRS_DOMAIN": "SRS_DOMAIN", "SRS_SECRETS_FILE": "SRS_SECRET", "SRS_SECRET_FILE": "SRS_SECRET",
	"SRS_DOMAINS": "SRS_EXCLUDE_DOMAINS", "SRS_DOMAINS_FILE": "SRS_EXCLUDE_DOMAINS", "SRS_EXCLUDED_DOMAINS": "SRS_EXCLUDE_DOMAINS",
	"SRS_HASH_LENGTH": "SRS_HASHLENGTH", "SRS_HASH_MINIMUM": "SRS_HASHMIN", "SRS_HASH_MIN": "SRS_HASHMIN",
	"SRS_KEEP_ALIVE": "SRS_TIMEOUT", "SRS_UNPRIVILEGED_USER": "RUN_AS", "SRS_USER": "RUN_AS", "SRS_RUN_AS": "RUN_AS",
	"SRS_CHROOT_DIR": "CHROOT", "SRS_CHROOT": "CHROOT", "SRS_ALWAYS_REWRITE": "SRS_EXTRA_OPTIONS=-A",
	"SRS_SOCKETMAP": "SRS_LISTEN_ADDR", "SRS_PIDFILE": "SRS_EXTRA_OPTIONS=-p",
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
	exposed := config.SecretExposed(path)
	switch perm := info.Mode().Perm(); {
	case exposed != "":
		r.found(Error, path, "chmod 600 "+path, "%s", exposed)
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
		r.found(Error, source(r.Config, "Chroot"), "mkdir "+dir+", or set CHROOT to a directory", "the daemon does not start: the jail %s is not there", dir)
	case !info.IsDir():
		r.found(Error, source(r.Config, "Chroot"), "set CHROOT to a directory", "the daemon does not start: the jail %s is no directory", dir)
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
		r.found(Error, source(r.Config, "User"), "adduser --system --group "+name+", or set RUN_AS to a user", "the daemon does not start: %v", err)
	case u.Uid == "0":
		r.found(Warning, source(r.Config, "User"), "set RUN_AS to a user of its own", "the daemon serves as root")
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
		r.found(Warning, source(c, "HashMin"), "set SRS_HASHMIN to 4 or more",
			"hashes of %d characters are accepted: one of %d guesses makes this host a relay for bounces to anyone", c.HashMin, tries)
	}
	if c.HashLength > 8 {
		r.found(Note, source(c, "HashLength"), "", "the hash takes %d of the 64 octets that a local part may have; some hosts refuse longer ones", c.HashLength)
	}
}

func (r *run) excluded(list []string) {
	where := source(r.Config, "Excluded")
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
		r.found(Note, where, "", "%d of %d excluded domains are covered by others: %s", covered, len(list), first)
	}
	if len(list) > 0 {
		r.found(OK, where, "", "%d domains are excluded", len(list))
	}
}

// daemon asks whoever holds the ports, and compares with the settings.
func (r *run) daemon() {
	const cure = "reload postsrsd; if that does not help, another one runs, with other settings or another secret"
	c := r.Config
	before := len(r.findings)
	address := sender
	where, answer := r.ask(c.Reach(c.ForwardPort), sender)
	if answer != nil && r.Forward != nil {
		address, _ = r.Forward(sender)
		if *answer != address { // or it has just become tomorrow
			_, answer = r.ask(c.Reach(c.ForwardPort), sender)
			address, _ = r.Forward(sender)
		}
		if answer != nil && *answer != address {
			r.found(Warning, where, cure, "the daemon makes %q of %s, by these settings it were %q", *answer, sender, address)
		}
	}
	if address == "" {
		address = sender // which is excluded
	}
	where, answer = r.ask(c.Reach(c.ReversePort), address)
	if answer != nil && address != sender && *answer != sender {
		r.found(Warning, where, cure, "the daemon does not reverse what these settings sign")
	}
	if len(r.findings) == before {
		r.found(OK, where, "", "the daemon runs and answers as these settings say")
	}
}

// ask looks key up at the first of the addresses where something listens. The
// answer is "" when there is none for key, and nil when nobody could be asked,
// which is a finding.
func (r *run) ask(addresses []string, key string) (where string, answer *string) {
	where = strings.Join(addresses, " and ")
	var conn net.Conn
	var err error
	dialer := net.Dialer{Timeout: patience}
	for _, address := range addresses {
		if conn, err = dialer.DialContext(r.ctx, "tcp", address); err == nil {
			where = address
			break
		}
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		r.found(Warning, where, "start postsrsd", "nothing listens here: the daemon does not run, and Postfix defers all mail that it would ask about")
		return where, nil
	case err != nil:
		r.found(Error, where, "see SRS_LISTEN_ADDR and ports", "the daemon cannot be reached: %v", err)
		return where, nil
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	value, err := tcptable.NewClient(conn).Lookup(key)
	var said *tcptable.Error
	if errors.As(err, &said) && said.Code == tcptable.CodeNotFound {
		return where, &value
	}
	if err != nil {
		r.found(Error, where, "see ss -ltnp for whose it is", "what listens here does not answer as postsrsd does: %v", err)
		return where, nil
	}
	return where, &value
}
