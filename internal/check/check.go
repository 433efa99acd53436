// Package check looks at a host as an administrator of postsrsd would who
// knows everything that goes wrong around it: the settings, Postfix beside it,
// and the DNS. It finds and says; it changes nothing.
//
// What is looked at follows tcp_table(5), socketmap_table(5), canonical(5) and
// postconf(5) of Postfix, RFC 7208 (SPF) and RFC 7489 (DMARC). The only network
// it uses are DNS and the daemon's own ports, and it ends with its context.
//
// It sees what the configuration says and what the daemon and the DNS answer
// at the moment. How Postfix rewrites mail it does not try; of tables that
// cannot list their keys it does not see the domains.
package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"sync"
	"time"

	"postsrsd/internal/config"
)

// A Level is how bad a Finding is.
type Level int

const (
	OK      Level = iota // looked at and found right
	Note                 // worth knowing, harms nothing now
	Warning              // harms some mail, or will
	Error                // mail is lost or deferred, or the daemon does not start
)

var levels = [...]string{"ok", "note", "warning", "error"}

func (l Level) String() string { return levels[l] }

// MarshalJSON implements json.Marshaler.
func (l Level) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

// A Finding is one thing that was looked at.
type Finding struct {
	Group string `json:"group"`
	Level Level  `json:"level"`
	Where string `json:"where"` // file and line, parameter, domain, address
	What  string `json:"what"`
	Do    string `json:"do,omitempty"` // what cures it
	// Unseen says that this could not be looked at.
	Unseen bool `json:"unseen,omitempty"`
}

// Line is what the finding says, but for its level.
func (f Finding) Line() string {
	line := f.Where + ": " + f.What
	if f.Do != "" {
		line += ": " + f.Do
	}
	return line
}

// The groups of findings.
const (
	Settings = "settings"
	Postfix  = "postfix"
	DNS      = "dns"
)

// Groups are all of them, in the order that Run goes through them.
var Groups = []string{Settings, Postfix, DNS}

// Options say what to look at.
type Options struct {
	// Config and Wrong are what config.Survey returns.
	Config *config.Config
	Wrong  []error
	// Forward answers as the daemon would with Config. It is nil if it has no
	// secrets.
	Forward func(address string) (string, error)
	// Milter is where the daemon serves a milter; the zero value for nowhere.
	Milter config.Endpoint
	// Skip has the groups to leave out.
	Skip map[string]bool
	// Resolver is the DNS server to ask, host or host:port; empty for those
	// of /etc/resolv.conf.
	Resolver string
	// Addresses are those that this host sends mail from; without any they
	// are taken from Postfix's settings or the interfaces.
	Addresses []netip.Addr
	// Now is the present.
	Now time.Time
}

// Run looks at everything that is not skipped, until ctx ends. What it could
// not look at by then is among the findings.
func Run(ctx context.Context, o Options) []Finding {
	r := &run{Options: o, ctx: ctx}
	if !o.Skip[Settings] {
		r.group = Settings
		r.settings()
	}
	if o.Config == nil {
		return r.findings // where the others should look is not known
	}
	if !o.Skip[Postfix] {
		r.group = Postfix
		r.postfix()
	}
	if !o.Skip[DNS] {
		r.group = DNS
		r.dns()
	}
	return r.findings
}

// Status is the exit status for findings: 0 without errors, 1 with errors, 2
// where there are none but something could not be looked at.
func Status(findings []Finding) int {
	status := 0
	for _, f := range findings {
		switch {
		case f.Level == Error && !f.Unseen:
			return 1
		case f.Unseen:
			status = 2
		}
	}
	return status
}

// run is the state of one Run.
type run struct {
	Options
	ctx      context.Context
	group    string
	findings []Finding
	host     host
}

// host is what the postfix group learnt that the dns group goes by.
type host struct {
	domains   []string // that are delivered here
	addresses []netip.Addr
	families  map[int]bool // 4 and 6, those of inet_protocols; nil for unknown
}

// found adds a finding. what may be followed by its arguments.
func (r *run) found(level Level, where, do, what string, a ...any) {
	r.findings = append(r.findings, Finding{Group: r.group, Level: level, Where: where, What: fmt.Sprintf(what, a...), Do: do})
}

// unseen adds that something could not be looked at.
func (r *run) unseen(where, do, what string, a ...any) {
	r.found(Warning, where, do, what, a...)
	r.findings[len(r.findings)-1].Unseen = true
}

// better tells whether nothing worse than a note was found since n findings.
func (r *run) better(n int) bool {
	for _, f := range r.findings[n:] {
		if f.Level > Note {
			return false
		}
	}
	return true
}

// pattern compiles an expression when it is first needed: the daemon, which is
// the same program, needs none and should not hold them in memory.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
