package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"postsrsd/internal/config"
	"postsrsd/socketmap"
	"postsrsd/tcptable"
)

// NotFound is a daemon's answer that a table has nothing for a key, in its
// words.
type NotFound string

func (n NotFound) Error() string { return string(n) }

// A Client asks a daemon that runs, one lookup at a time.
type Client struct {
	net.Conn
	patience time.Duration
	lookup   func(key string) (string, error)
}

// Dial connects to the daemon that is found by way, to ask it in one direction.
// It waits no longer than patience, and so does each Lookup. The error is the
// last address's.
func Dial(ctx context.Context, way config.Way, reverse bool, patience time.Duration) (*Client, error) {
	addresses, name := way.Forward, "forward"
	if reverse {
		addresses, name = way.Reverse, "reverse"
	}
	dialer := net.Dialer{Timeout: patience}
	var conn net.Conn
	var err error
	for _, address := range addresses {
		if conn, err = dialer.DialContext(ctx, way.Network, address); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	c := &Client{Conn: conn, patience: patience}
	if way.Socketmap {
		client := socketmap.NewClient(conn)
		c.lookup = func(key string) (string, error) {
			value, err := client.Lookup(name, key)
			if said, ok := errors.AsType[*socketmap.Error](err); ok && said.Status == socketmap.StatusNotFound {
				err = NotFound(said.Text)
			}
			return value, err
		}
		return c, nil
	}
	client := tcptable.NewClient(conn)
	c.lookup = func(key string) (string, error) {
		value, err := client.Lookup(key)
		if said, ok := errors.AsType[*tcptable.Error](err); ok && said.Code == tcptable.CodeNotFound {
			err = NotFound(said.Text)
		}
		return value, err
	}
	return c, nil
}

// Lookup asks for key. The error is NotFound where there is nothing for it; any
// other means that it could not be asked.
func (c *Client) Lookup(key string) (string, error) {
	c.SetDeadline(time.Now().Add(c.patience))
	return c.lookup(key)
}

// sender is a sender that nobody has (RFC 2606), to ask the daemon for.
const sender = "check@postsrsd.invalid"

const patience = 2 * time.Second // for one answer of the daemon's

// daemon asks whoever is found by way, and compares with the settings.
func (r *run) daemon(way config.Way) {
	const cure = "reload postsrsd; if that does not help, another one runs, with other settings or another secret"
	before := len(r.findings)
	address := sender
	where, answer := r.ask(way, false, sender)
	if answer == nil && way.Socketmap {
		return // the other direction is asked at the same place
	}
	if answer != nil && r.Forward != nil {
		address, _ = r.Forward(sender)
		if *answer != address { // or it has just become tomorrow
			_, answer = r.ask(way, false, sender)
			address, _ = r.Forward(sender)
		}
		if answer != nil && *answer != address {
			r.found(Warning, where, cure, "the daemon makes %q of %s, by these settings it were %q", *answer, sender, address)
		}
	}
	if address == "" {
		address = sender // which is excluded
	}
	where, answer = r.ask(way, true, address)
	if answer != nil && address != sender && *answer != sender {
		r.found(Warning, where, cure, "the daemon does not reverse what these settings sign")
	}
	if len(r.findings) == before {
		r.found(OK, where, "", "the daemon runs and answers as these settings say")
	}
}

// ask looks key up where the daemon is found. The answer is "" when there is
// none for key, and nil when nobody could be asked, which is a finding.
func (r *run) ask(way config.Way, reverse bool, key string) (where string, answer *string) {
	addresses := way.Forward
	if reverse {
		addresses = way.Reverse
	}
	where = strings.Join(addresses, " and ")
	client, err := Dial(r.ctx, way, reverse, patience)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		r.found(Warning, where, "start postsrsd", "nothing listens here: the daemon does not run, and Postfix defers all mail that it would ask about")
		return where, nil
	case errors.Is(err, fs.ErrPermission):
		r.unseen(where, "run this as root", "this user may not connect to the daemon")
		return where, nil
	case err != nil:
		cure := "see SRS_LISTEN_ADDR and ports"
		if way.Socketmap {
			cure = "see " + r.name("Socketmap")
		}
		r.found(Error, where, cure, "the daemon cannot be reached: %v", err)
		return where, nil
	}
	defer client.Close()
	where = client.RemoteAddr().String()
	value, err := client.Lookup(key)
	if err != nil && !errors.As(err, new(NotFound)) {
		r.found(Error, where, fmt.Sprintf("see %s for whose it is", map[string]string{"tcp": "ss -ltnp", "unix": "ss -lxp"}[way.Network]),
			"what listens here does not answer as postsrsd does: %v", err)
		return where, nil
	}
	return where, &value
}
