package main_test

import (
	"database/sql"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDatabaseTrouble breaks the file in every way while a daemon runs: each
// sender is embedded meanwhile, and what was given out comes back in the end.
func TestDatabaseTrouble(t *testing.T) {
	for name, trouble := range map[string]struct {
		place func(t *testing.T, dir string) bool // nil for any file system
		begin func(t *testing.T, c conf) (end func())
		reads bool // what was stored is still found
		log   string
	}{
		"locked": {nil, func(t *testing.T, c conf) func() {
			db, err := sql.Open("sqlite", c.senders())
			if err == nil {
				_, err = db.Exec("BEGIN EXCLUSIVE")
			}
			if err != nil {
				t.Fatal(err)
			}
			return func() { db.Close() }
		}, false, "database is locked"},
		"corrupt": {nil, func(t *testing.T, c conf) func() {
			good, err := os.ReadFile(c.senders())
			if err != nil {
				t.Fatal(err)
			}
			// In place, as a failing disk does it, and newer to SQLite.
			noise := []byte(strings.Repeat("noise", len(good)/5))
			f, _ := os.OpenFile(c.senders(), os.O_WRONLY, 0)
			defer f.Close()
			f.WriteAt(noise, 0)
			return func() {
				f, _ := os.OpenFile(c.senders(), os.O_WRONLY, 0)
				defer f.Close()
				f.WriteAt(good, 0)
			}
		}, false, ""},
		"gone": {nil, func(t *testing.T, c conf) func() {
			os.Rename(c.path("jail/db"), c.path("away"))
			return func() { os.Rename(c.path("away"), c.path("jail/db")) }
		}, false, ""},
		"full": {smallDisk, func(t *testing.T, c conf) func() {
			filler, err := os.Create(c.path("jail/db/filler"))
			if err != nil {
				t.Fatal(err)
			}
			defer filler.Close()
			for err == nil {
				_, err = filler.Write(make([]byte, 4096))
			}
			return func() { os.Remove(filler.Name()) }
		}, true, "full"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newDatabase(t)
			if trouble.place != nil && !trouble.place(t, c.path("jail/db")) {
				t.Log("only root can mount")
				return
			}
			c.from2x()
			d := c.start()
			s := c.table()
			s.wants("reverse", aliasBy2x, "OK test@otherdomain.com")
			end := trouble.begin(t, c)
			began := time.Now()
			for range 200 {
				s.wants("forward", "new@otherdomain.com", "OK SRS0=7U3u=2W=otherdomain.com=new@example.com")
				s.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
				s.wants("forward", "SRS0=xxxx=2W=a.example=b@c.example", "OK SRS1=NHwn=c.example==xxxx=2W=a.example=b@example.com")
				if trouble.reads {
					s.wants("reverse", aliasBy2x, "OK test@otherdomain.com")
				} else {
					s.wants("reverse", aliasBy2x, noAnswer)
				}
				if t.Failed() {
					return
				}
			}
			if took := time.Since(began); took > patience {
				t.Errorf("800 lookups took %v", took)
			}
			d.logged("database: senders cannot be stored, and are embedded meanwhile: ")
			d.logged(trouble.log)
			if n := strings.Count(d.stderr.String(), "database: "); n > 4 {
				t.Errorf("%d lines are logged:\n%s", n, d.stderr)
			}
			end()
			s.becomes("reverse", aliasBy2x, "OK test@otherdomain.com", noAnswer)
			s.becomes("forward", "new@otherdomain.com", "OK SRS0=OT7L=2W=1=80U9NFO1JO79SM7KNKJUSLJ2CIUFJA5G@example.com", "OK SRS0=7U3u=2W=otherdomain.com=new@example.com")
			s.wants("reverse", "SRS0=OT7L=2W=1=80U9NFO1JO79SM7KNKJUSLJ2CIUFJA5G@example.com", "OK new@otherdomain.com")
			d.logged("database: senders are stored again")
		})
	}
}

// smallDisk mounts a file system of 64 KiB, which is nobody's. It takes root.
func smallDisk(t *testing.T, dir string) bool {
	if os.Geteuid() != 0 {
		return false
	}
	t.Helper()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k,mode=755,uid=65534,gid=65534"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return true
}

// TestReadOnlyDatabase starts on a file that the worker must not change, in a
// directory that it must not write to.
func TestReadOnlyDatabase(t *testing.T) {
	c := newDatabase(t)
	c.from2x()
	os.Chmod(c.senders(), 0o444)
	os.Chmod(c.path("jail/db"), 0o555)
	defer os.Chmod(c.path("jail/db"), 0o755)
	d := c.start()
	s := c.table()
	for range 3 {
		s.wants("reverse", aliasBy2x, "OK test@otherdomain.com")
		s.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	}
	d.logged("database: senders cannot be stored, and are embedded meanwhile: attempt to write a readonly database (8)")
	// A directory that belongs to somebody else.
	os.Remove(c.senders())
	d.stop()
	d = c.start()
	s = c.table()
	s.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	s.wants("reverse", aliasBy2x, noAnswer)
	d.logged("database: senders cannot be stored, and are embedded meanwhile: cannot make the file: open ")
}

// TestDeadRedis has nothing, and something that never says a word, where Redis
// should be. Who asks does not wait for it more than now and then.
func TestDeadRedis(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, _ := freePorts(t)
	for _, address := range []string{silent.Addr().String(), "127.0.0.1:" + closed, "localhost:" + closed} {
		c := newConf(t, "original-envelope = database", `envelope-database = "redis:`+address+`"`)
		d := c.start()
		s := c.table()
		began := time.Now()
		for range 200 {
			s.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
			s.wants("reverse", aliasBy2x, noAnswer)
		}
		if took := time.Since(began); took > patience {
			t.Errorf("%s: 400 lookups took %v", address, took)
		}
		d.logged("database: aliases cannot be looked up, and their mail is not delivered meanwhile: ")
	}
}

// TestNobodyElseWaits holds that a client whose sender is being stored keeps no
// other client's answer back.
func TestNobodyElseWaits(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := newConf(t, "original-envelope = database", `envelope-database = "redis:`+silent.Addr().String()+`"`)
	c.start()
	one, other := c.table(), c.table()
	eventually(t, func() bool {
		began := time.Now()
		waited := make(chan time.Duration)
		go func() {
			one.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
			waited <- time.Since(began)
		}()
		for range 20 {
			other.wants("forward", "test@example.com", "NOTFOUND Need not rewrite local domain.")
		}
		took := time.Since(began)
		// It does not wait where another failed just before, and a machine may be busy.
		return <-waited > 900*time.Millisecond && took < 500*time.Millisecond
	}, func() string { return "every client waits for one's sender" })
}
