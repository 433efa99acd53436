// Package config turns every way to say a setting into one checked Config that
// knows where each value came from.
//
// From weakest to strongest: what is built in; where settings files are read,
// the flags of their SRS_EXTRA_OPTIONS, then the launcher's defaults and the
// files' variables (/etc/default/postsrsd and /etc/sysconfig/postsrsd, or those
// named with --env-file; the later file wins); the command line's flags in the
// order given, among them -e, which stands for the variables of the environment
// at its place. That the launcher's defaults come after SRS_EXTRA_OPTIONS is
// 1.x's way: a -l in there never counts. Such flags are warned of. Lists of
// excluded domains add up.
//
// Files are read when they are named with --env-file, or when the call is bare:
// when it has no flag that only PostSRSd 1.x knows. The flags that say how to
// run rather than what to serve (-c, -D, -p, -u and --log) leave it bare, as
// 1.x and 2.x have them in common. Only where files are read do the launcher's
// defaults hold: its user, jail, secret file, listen address, and Postfix's
// domain. Flags or -e alone have none of them.
//
// The meaning of flags, variables and secret files is that of PostSRSd 1.x,
// observed on the running program (1.10). A settings file is shell, see
// file.go. Nothing here logs; what an administrator should hear although it
// stops nothing is in Config.Warnings.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// ErrHelp and ErrVersion tell that the command line asks for the help text or
// the version instead of a configuration.
var (
	ErrHelp    = errors.New("help requested")
	ErrVersion = errors.New("version requested")
)

// ErrSecrets tells of an error of Survey's that it is about the secrets alone:
// there are none, or they cannot be read.
var ErrSecrets = errors.New("no secrets")

// Config is everything the daemon was told, checked. It travels to the jailed
// worker with encoding/gob, secrets in it; every other way to print it shows
// the secrets' number and lengths alone.
type Config struct {
	Domain        string   // the SRS domain
	Separator     byte     // written after SRS0 and SRS1: '=', '+' or '-'
	HashLength    int      // characters of the hash written, 1 to 27
	HashMin       int      // characters of the hash needed, 1 to HashLength
	Alphabet      string   // the last two characters of the base64 written, "+/" or "-_"
	AlwaysRewrite bool     // rewrite senders in Domain too
	Excluded      []string // domains never rewritten, as given, without repetitions
	Domains       []string // our own domains, whose senders are never rewritten: as given, then those of DomainsFile

	Listed           int       // how many of Domains are not from DomainsFile
	DomainsFile      string    // "" for none
	DomainsFileState FileState // just before DomainsFile was read, zero if it had only just changed
	DomainsFileWatch bool      // load again when DomainsFile changes

	OriginalEnvelope string   // where the sender is kept that an address stands for: "embedded", "database", or "auto" for embedded where it fits
	Database         Database // see Database.Used

	Secrets       Secrets // the first signs, every one verifies; never empty
	SecretFile    string
	SecretChanged time.Time // when SecretFile last was
	SecretLength  int       // characters of a secret that is generated; never cuts one that exists

	ListenAddr      string        // host name or address, "" for 127.0.0.1 and ::1
	Family          int           // 4 or 6 to listen on that family alone, 0 for both
	ForwardPort     string        // number or name of a service that exists, "" for none, and then ReversePort is none either
	ReversePort     string        // number or name of a service that exists
	Socketmap       Endpoint      // speaks socketmap alone
	Milter          Endpoint      // speaks the milter protocol
	SocketMode      uint32        // permissions of unix sockets
	SocketOwner     string        // user, user:group or :group of unix sockets, "" for whoever makes them
	Metrics         Endpoint      // serves metrics over HTTP
	IdleTimeout     time.Duration // 0 for none
	ConnectionLimit int           // connections served at once
	RequestLimit    int           // bytes of the longest request

	MilterRewriteLocal   bool       // rewrite senders of mail that stays here too
	MilterRecipientLimit int        // recipients of a message that the milter looks at
	AliasMaps            []AliasMap // tell the milter where mail to local recipients goes

	PIDFile   string // "" for none
	Chroot    string // "" for none
	User      string // "" for no change of identity
	Daemonize bool   // go to the background
	Log       string // "stderr", "syslog", or "" to choose by the surroundings

	Conf string // the postsrsd.conf that was read, "" for 1.x's ways

	FakeTime time.Time // what the clock is set to by POSTSRSD_FAKETIME; zero for the system's clock

	Sources  map[string]Source // where each setting, by the name of its field here, comes from; for those that add up the last place
	Unknown  []Unknown         // variables that a settings file sets and no setting has: misspelt, or helpers of the file
	Warnings []string          // lines for the log
}

// Unknown is a variable of a settings file that no setting has.
type Unknown struct {
	Name string
	File string
	Line int
}

// Secrets are the keys of the hash. They print as their number and lengths,
// with every verb that go vet allows, in log/slog and in JSON; encoding/gob
// alone carries them.
type Secrets [][]byte

func (s Secrets) redacted() string {
	lengths := make([]string, len(s))
	for i, secret := range s {
		lengths[i] = fmt.Sprint(len(secret))
	}
	return fmt.Sprintf("[%d secrets, bytes: %s]", len(s), strings.Join(lengths, " "))
}

// Format implements fmt.Formatter.
func (s Secrets) Format(f fmt.State, _ rune) { io.WriteString(f, s.redacted()) }

// LogValue implements slog.LogValuer.
func (s Secrets) LogValue() slog.Value { return slog.StringValue(s.redacted()) }

// MarshalJSON implements json.Marshaler.
func (s Secrets) MarshalJSON() ([]byte, error) { return json.Marshal(s.redacted()) }

// Kind is the sort of place that a value comes from.
type Kind int

const (
	BuiltIn       Kind = iota // holds when nothing is said
	Launcher                  // holds when nothing is said where a settings file is read
	Postfix                   // postconf -h mydomain
	File                      // a variable of a settings file
	Environment               // a variable of the environment
	Configuration             // a key of a postsrsd.conf
	CommandLine               // a flag, of the command line or of SRS_EXTRA_OPTIONS
)

// Source is where a value comes from.
type Source struct {
	Kind Kind
	Name string // the variable, the key, or the flag with its dashes
	Path string // of the file, also for a flag that SRS_EXTRA_OPTIONS holds
	Line int    // of the file, 0 when the shell evaluated it
}

// String says it for people: "/etc/default/postsrsd:3", "environment", "command line".
func (s Source) String() string {
	switch s.Kind {
	case Launcher:
		return "default with a settings file"
	case Postfix:
		return "postconf -h mydomain"
	case File, Configuration:
		return s.place()
	case Environment:
		return "environment"
	case CommandLine:
		if s.Path != "" {
			return s.place() + ": SRS_EXTRA_OPTIONS"
		}
		return "command line"
	}
	return "built-in"
}

func (s Source) place() string {
	if s.Line == 0 {
		return s.Path
	}
	return fmt.Sprintf("%s:%d", s.Path, s.Line)
}

// said is value as the administrator wrote it at s: "/etc/default/postsrsd:3:
// SRS_TIMEOUT=x", "-t x".
func (s Source) said(value string) string {
	switch s.Kind {
	case File:
		return s.place() + ": " + s.Name + "=" + show(value)
	case Configuration:
		return s.place() + ": " + s.Name + " = " + show(value)
	case Environment:
		return "environment: " + s.Name + "=" + show(value)
	case CommandLine:
		if s.Path != "" {
			return s.String() + ": " + s.Name + " " + show(value)
		}
		return s.Name + " " + show(value)
	}
	return s.String() + ": " + show(value)
}

// show makes value fit for one line of text, as it is where that is unambiguous.
func show(value string) string {
	const most = 100
	more := ""
	if len(value) > most {
		value, more = value[:most], "…"
	}
	if q := fmt.Sprintf("%q", value); value == "" || more != "" || q != `"`+value+`"` || strings.ContainsRune(value, ' ') {
		return q + more
	}
	return value
}
