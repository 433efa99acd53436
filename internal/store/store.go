// Package store keeps original senders under short keys, so that rewritten ones
// need not carry them, in PostSRSd 2.x's formats: what either daemon stored the
// other finds. SQLite serves one host, Redis or Valkey any number.
//
// A store may be gone, slow, full or broken, and mail must not wait for it. So
// every request is bounded in time, and after one has failed others fail at
// once for a while, but for one now and then that tries again. A Put that
// returns nil is kept: by SQLite on the disk, by Redis as far as it is told to
// keep things.
//
// Strangers choose what is stored. New entries are therefore limited, to 20 000
// at once and 4000 an hour beyond that, which makes two million in the 21 days
// that each stays; and a SQLite file does not grow over 512 MiB.
package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Lifetime is how long an entry stays after it was last put.
const Lifetime = 21 * 24 * time.Hour

// Limits that no administrator needs to turn; tests do.
const (
	burst     = 20000     // new entries at once
	perHour   = 4000      // new entries an hour in the long run
	maxFile   = 512 << 20 // bytes of a SQLite file
	longest   = 320       // octets of an address: 64, the at sign, 255
	timeout   = time.Second
	leastRest = 250 * time.Millisecond // after a failure
	mostRest  = 5 * time.Second        // after many in a row
	quiet     = time.Minute            // between log lines of one kind
	sweeping  = 10 * time.Minute       // between removals of what has expired
)

// maxAddress is the longest address that is taken for one, in octets.
const maxAddress = 1023

var (
	// ErrFull says that too many entries are new, or the address is too long.
	ErrFull = errors.New("not stored: too many new senders, or too long a one")

	// ErrResting says that the store was not asked, because it failed lately.
	ErrResting = errors.New("the database failed a moment ago")
)

// The severities of the lines that a Store writes, syslog's.
const (
	warning = 4
	notice  = 5
)

// Options say where to store. Either SQLite or Redis is set.
type Options struct {
	SQLite   string   // path of the file, which is made if it is missing
	Redis    []string // where to connect, in the order to try: "host:port", or the path of a unix socket
	ReadOnly bool     // Put is not called and a missing file not made

	Date func() time.Time                // tells until when entries stay
	Now  func() time.Time                // tells time that passes
	Log  func(severity int, line []byte) // as of rewrite.Policy
}

// A backend is one kind of store. A context bounds how long it waits.
type backend interface {
	// renew lets the entry stay for another lifetime, if there is one.
	renew(ctx context.Context, key []byte) (there bool, err error)
	add(ctx context.Context, key, address []byte) error
	// get returns nothing if there is no entry.
	get(ctx context.Context, key []byte) (address []byte, err error)
	// sweep removes some entries that have expired, and tells whether there
	// may be more.
	sweep(ctx context.Context) (more bool, err error)
	close()
}

// A Store is safe for concurrent use.
type Store struct {
	backend    backend
	now        func() time.Time
	log        func(severity int, line []byte)
	puts, gets breaker
	fresh      bucket
	untend     func() // ends what runs in the background
}

// New returns a Store. It waits for nothing; whether the store can be used is
// found out in the background and logged if not.
func New(o Options) *Store {
	var s *Store
	if o.SQLite != "" {
		s = newStore(o, newSQLite(o.SQLite, o.ReadOnly, maxFile, o.Date))
	} else {
		s = newStore(o, newRedis(o.Redis))
	}
	if !o.ReadOnly {
		ctx, cancel := context.WithCancel(context.Background())
		tended := make(chan struct{})
		go func() {
			defer close(tended)
			s.tend(ctx)
		}()
		s.untend = func() {
			cancel()
			<-tended
		}
	}
	return s
}

func newStore(o Options, b backend) *Store {
	return &Store{backend: b, now: o.Now, log: o.Log,
		puts:   breaker{what: "senders cannot be stored, and are embedded meanwhile", well: "senders are stored again"},
		gets:   breaker{what: "aliases cannot be looked up, and their mail is not delivered meanwhile", well: "aliases are looked up again"},
		fresh:  bucket{left: burst, most: burst, hourly: perHour, at: o.Now()},
		untend: func() {},
	}
}

// Close lets go of the store. What is under way is finished; what comes later
// fails.
func (s *Store) Close() {
	s.untend()
	s.backend.close()
}

// Put stores address under key for a Lifetime from now; one that is there
// already stays so much longer. After an error it is not to be counted on.
func (s *Store) Put(key, address []byte) error {
	if len(address) > longest {
		return ErrFull
	}
	full := false
	err := s.guard(&s.puts, func(ctx context.Context) error {
		there, err := s.backend.renew(ctx, key)
		if err != nil || there {
			return err
		}
		taken, line := s.fresh.take(s.now())
		if line != "" {
			s.log(warning, []byte("database: "+line))
		}
		if !taken {
			full = true
			return nil
		}
		return s.backend.add(ctx, key, address)
	})
	if full {
		return ErrFull
	}
	return err
}

// Get appends the address that was stored under key to dst, and tells whether
// there is one.
func (s *Store) Get(dst, key []byte) (result []byte, found bool, err error) {
	err = s.guard(&s.gets, func(ctx context.Context) error {
		address, err := s.backend.get(ctx, key)
		if err == nil && isAddress(address) {
			dst, found = append(dst, address...), true
		}
		return err
	})
	return dst, found, err
}

// isAddress keeps out what nobody can have stored as a sender: others may write
// to the store, too.
func isAddress(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return len(text) > 0 && len(text) <= maxAddress
}

// guard runs one request under a breaker.
func (s *Store) guard(b *breaker, request func(context.Context) error) error {
	if !b.enter(s.now()) {
		return ErrResting
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := request(ctx)
	if severity, line := b.leave(s.now(), err); line != "" {
		s.log(severity, []byte("database: "+line))
	}
	return err
}

// tend tries the store once, so that what is wrong is known before mail comes,
// and removes what has expired, a little at a time.
func (s *Store) tend(ctx context.Context) {
	s.Get(nil, []byte("@1"))
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		bounded, cancel := context.WithTimeout(ctx, timeout)
		more, err := s.backend.sweep(bounded)
		cancel()
		if err == nil && more {
			pause.Reset(leastRest)
		} else {
			pause.Reset(sweeping)
		}
	}
}

// A breaker keeps requests from waiting, one after the other, for a store that
// is not there.
type breaker struct {
	what, well string // what is to be logged

	mu     sync.Mutex
	rest   time.Duration // zero while all is well
	until  time.Time     // no request before that
	trying bool          // one request is finding out
	told   time.Time
	owing  bool // it was logged that something is wrong, and not that it is over
}

// enter tells whether a request may be made. Then leave has to be called.
func (b *breaker) enter(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rest == 0 {
		return true
	}
	if b.trying || now.Before(b.until) {
		return false
	}
	b.trying = true
	return true
}

// leave takes in what became of a request, and returns what is to be logged.
func (b *breaker) leave(now time.Time, err error) (severity int, line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.rest, b.trying = 0, false
		if b.owing {
			b.owing = false
			return notice, b.well
		}
		return 0, ""
	}
	if b.rest == 0 || b.trying { // else it is known: requests fail by the dozen
		b.rest = min(max(2*b.rest, leastRest), mostRest)
		b.until, b.trying = now.Add(b.rest), false
	}
	if !b.told.IsZero() && now.Sub(b.told) < quiet {
		return 0, ""
	}
	b.told, b.owing = now, true
	return warning, fmt.Sprintf("%s: %v", b.what, err)
}

// A bucket limits how many entries are new.
type bucket struct {
	most, hourly float64

	mu   sync.Mutex
	left float64
	at   time.Time
	told time.Time
}

// take takes one, if there is one left, and returns what is to be logged.
func (b *bucket) take(now time.Time) (taken bool, line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.most, b.left+b.hourly*now.Sub(b.at).Hours())
	b.at = now
	if b.left >= 1 {
		b.left--
		return true, ""
	}
	if !b.told.IsZero() && now.Sub(b.told) < quiet {
		return false, ""
	}
	b.told = now
	return false, fmt.Sprintf("%.0f senders were new lately: more are embedded, but for %.0f an hour", b.most, b.hourly)
}
