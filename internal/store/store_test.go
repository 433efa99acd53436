package store

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A journal collects log lines.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) log(severity int, line []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintf(&j.text, "%d %s\n", severity, line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// today is a day in 2020.
var today = time.Unix(1577880000, 0)

// open opens a SQLite file whose dates are date's and whose time passes as
// now's. Nothing runs in the background.
func open(t testing.TB, path string, date, now *clock) (*Store, *journal) {
	t.Helper()
	return limited(t, path, maxFile, date, now)
}

func limited(t testing.TB, path string, maxFile int64, date, now *clock) (*Store, *journal) {
	t.Helper()
	j := new(journal)
	s := newStore(Options{Now: now.read, Log: j.log}, newSQLite(path, false, maxFile, date.read))
	t.Cleanup(s.Close)
	return s, j
}

func put(t testing.TB, s *Store, key, address string) {
	t.Helper()
	if err := s.Put([]byte(key), []byte(address)); err != nil {
		t.Fatalf("Put(%s): %v", key, err)
	}
}

// want fails the test unless address is what key stands for, "" for nothing.
func want(t testing.TB, s *Store, key, address string) {
	t.Helper()
	got, found, err := s.Get([]byte("<"), []byte(key))
	if err != nil || string(got) != "<"+address || found != (address != "") {
		t.Errorf("Get(%s): %q, %v, %v; want %q", key, got, found, err, address)
	}
}

func TestBreaker(t *testing.T) {
	now := time.Unix(0, 0)
	b := breaker{what: "down", well: "up"}
	gone := errors.New("gone")
	step := func(d time.Duration, err error, entered bool, line string) {
		t.Helper()
		now = now.Add(d)
		if got := b.enter(now); got != entered {
			t.Fatalf("at %v: entered %v", now, got)
		}
		if !entered {
			return
		}
		if _, got := b.leave(now, err); got != line {
			t.Fatalf("at %v: %q, want %q", now, got, line)
		}
	}
	step(0, nil, true, "")
	step(0, gone, true, "down: gone")
	step(249*time.Millisecond, nil, false, "")
	step(time.Millisecond, gone, true, "") // said already
	step(499*time.Millisecond, nil, false, "")
	step(time.Millisecond, gone, true, "")
	for range 10 {
		step(5*time.Second, gone, true, "")
	}
	step(4999*time.Millisecond, nil, false, "")
	step(time.Millisecond, nil, true, "up")
	step(0, nil, true, "")
	step(0, gone, true, "") // again within the minute
	step(time.Minute, gone, true, "down: gone")

	// While one tries, others do not wait for it.
	now = now.Add(mostRest)
	if !b.enter(now) || b.enter(now) {
		t.Error("not just one tries")
	}
	b.leave(now, nil)

	// Many that fail at once are one failure.
	for range 100 {
		b.enter(now)
	}
	for range 100 {
		b.leave(now, gone)
	}
	if b.rest != leastRest {
		t.Errorf("rests for %v", b.rest)
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(0, 0)
	b := bucket{left: 100, most: 100, hourly: 10, at: now}
	took, lines := 0, 0
	flood := func(d time.Duration) int {
		took, lines = 0, 0
		for range 1000 {
			now = now.Add(d / 1000)
			taken, line := b.take(now)
			if taken {
				took++
			}
			if line != "" {
				lines++
			}
		}
		return took
	}
	if flood(0) != 100 || lines != 1 {
		t.Errorf("%d at once, %d lines", took, lines)
	}
	if flood(0) != 0 || lines != 0 {
		t.Errorf("%d after that, %d lines", took, lines)
	}
	if got := flood(time.Hour); got < 9 || got > 10 || lines > 60 {
		t.Errorf("%d in an hour, %d lines", got, lines)
	}
	if now = now.Add(Lifetime); flood(0) != 100 {
		t.Errorf("%d after a long while", took)
	}
}

// TestFlood has strangers invent senders: what is over the limit is refused,
// and what is there already costs nothing.
func TestFlood(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	s, j := open(t, t.TempDir()+"/db", date, now)
	s.fresh = bucket{left: 3, most: 3, hourly: 1, at: today}
	for i := range 3 {
		put(t, s, fmt.Sprint(i), "a@b.example")
	}
	for range 10 {
		if err := s.Put([]byte("more"), []byte("a@b.example")); err != ErrFull {
			t.Fatal(err)
		}
	}
	want(t, s, "more", "")
	for i := range 3 {
		put(t, s, fmt.Sprint(i), "a@b.example")
	}
	now.move(time.Hour)
	put(t, s, "more", "a@b.example")
	if got := j.String(); got != "4 database: 3 senders were new lately: more are embedded, but for 1 an hour\n" {
		t.Error(got)
	}
}

// TestOddAddresses stores what senders may be, and keeps out what they cannot.
func TestOddAddresses(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	s, _ := open(t, t.TempDir()+"/db", date, now)
	for _, address := range []string{`"a b"@c.example`, `"a'; DROP TABLE kv; --"@c.example`, "ü@ü.example", "a%s@b=c.example", "a@\xff", strings.Repeat("x", longest)} {
		put(t, s, address, address)
		want(t, s, address, address)
	}
	if err := s.Put([]byte("long"), bytes.Repeat([]byte("x"), longest+1)); err != ErrFull {
		t.Error(err)
	}
	for _, address := range []string{"a@b\r\nRCPT TO:<c@d>", "a\x00@b", "a@b\x7f", strings.Repeat("x", 1024)} {
		if err := s.backend.add(t.Context(), []byte("odd"+address), []byte(address)); err != nil {
			t.Fatal(err)
		}
		want(t, s, "odd"+address, "")
	}
}

// TestManyAtOnce holds that each sender that was stored is found, whoever else
// stores and asks meanwhile.
func TestManyAtOnce(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	s, j := open(t, t.TempDir()+"/db", date, now)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 10 {
				key := fmt.Sprint("own", i, n)
				if s.Put([]byte(key), []byte(key)) != nil {
					continue
				}
				want(t, s, key, key)
				s.Put([]byte("shared"), []byte("shared"))
			}
		})
	}
	all.Wait()
	want(t, s, "shared", "shared")
	if j.String() != "" {
		t.Error(j)
	}
}

// TestCloseLeavesNothing counts goroutines.
func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	date, now := &clock{now: today}, &clock{now: today}
	for range 5 {
		s := New(Options{SQLite: t.TempDir() + "/db", Date: date.read, Now: now.read, Log: new(journal).log})
		put(t, s, "k", "v@w")
		s.Close()
		if err := s.Put([]byte("k"), []byte("v@w")); err == nil {
			t.Error("stored after Close")
		}
	}
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
