package main_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	_ "modernc.org/sqlite"

	"postsrsd/tcptable"
)

// What a daemon with a postsrsd.conf makes of test@otherdomain.com.
const (
	aliasKey   = "DCJGDE6N24LCRT41A4T0G1UIF0DTKKQJ"
	aliasBy2x  = "SRS0=aym_=2W=1=" + aliasKey + "@example.com"
	tablesBy2x = "CREATE TABLE kv (k TEXT NOT NULL UNIQUE ON CONFLICT REPLACE, v TEXT NOT NULL, lt INTEGER NOT NULL); CREATE INDEX ltidx ON kv (lt);"
	dayOfTests = 1577880000
)

// newDatabase is a conf whose daemon stores senders in the file db/senders in
// its jail, as nobody if root starts it.
func newDatabase(t testing.TB) conf {
	t.Helper()
	c := newConf(t)
	if err := os.MkdirAll(c.path("jail/db"), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		os.Chown(c.path("jail/db"), 65534, 65534)
	}
	c.store("original-envelope = database")
	return c
}

// store writes the file with these lines beside those that never change.
func (c conf) store(lines ...string) {
	c.t.Helper()
	all := []string{`envelope-database = "sqlite:$D/jail/db/senders"`}
	if os.Geteuid() == 0 {
		all = append(all, "unprivileged-user = nobody", `chroot-dir = "$D/jail"`)
	}
	c.write(append(all, lines...)...)
}

func (c conf) senders() string { return c.path("jail/db/senders") }

// sql runs statements in the file and returns the first column of the rows.
func (c conf) sql(statements string, arguments ...any) string {
	c.t.Helper()
	db, err := sql.Open("sqlite", "file:"+c.senders()+"?_pragma=busy_timeout(10000)")
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(statements, arguments...)
	if err != nil {
		c.t.Fatalf("%s: %v", statements, err)
	}
	defer rows.Close()
	var values []string
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			c.t.Fatal(err)
		}
		values = append(values, value)
	}
	return strings.Join(values, "\n")
}

// from2x makes the file as PostSRSd 2.x leaves it, with one alias outstanding.
func (c conf) from2x() {
	c.t.Helper()
	c.sql(tablesBy2x+"INSERT INTO kv VALUES (?, 'test@otherdomain.com', ?)", aliasKey+"@1", dayOfTests+1000)
	if os.Geteuid() == 0 {
		os.Chown(c.senders(), 65534, 65534)
	}
}

func (c conf) table() table {
	c.t.Helper()
	return dialTable(c.t, "unix", c.socket())
}

func (c conf) reload(d *daemon, lines ...string) {
	c.t.Helper()
	c.store(lines...)
	d.signal(syscall.SIGHUP)
	d.waitFor("RELOADING=1")
	d.waitFor("READY=1")
}

// becomes waits until the answer is this one. Meanwhile it may be one other.
func (s table) becomes(name, key, want, meanwhile string) {
	s.t.Helper()
	got := ""
	eventually(s.t, func() bool {
		result, err := s.Lookup(name, key)
		if got = "OK " + result; err != nil {
			got = err.Error()
		}
		if got != want && got != meanwhile {
			s.t.Fatalf("%s %s: %s, want %s", name, key, got, want)
		}
		return got == want
	}, func() string { return fmt.Sprintf("%s %s is still %s", name, key, got) })
}

const (
	unknownAlias = "NOTFOUND Unknown alias."
	noDatabase   = "NOTFOUND No database for alias."
	noAnswer     = "NOTFOUND Not looked up: the database of aliases does not answer."
)

// TestDatabase follows senders that are stored through a daemon's life.
func TestDatabase(t *testing.T) {
	c := newDatabase(t)
	c.from2x()
	d := c.start()
	s := c.table()
	s.wants("reverse", aliasBy2x, "OK test@otherdomain.com")
	s.wants("reverse", strings.ToLower(aliasBy2x), "OK test@otherdomain.com")
	s.wants("forward", aliasBy2x, "NOTFOUND Already rewritten")
	s.wants("forward", "test@otherdomain.com", "OK "+aliasBy2x)
	s.wants("forward", "user@example.com", "NOTFOUND Need not rewrite local domain.")
	if got := c.sql("SELECT lt FROM kv WHERE k = ?", aliasKey+"@1"); got != fmt.Sprint(dayOfTests+21*86400) {
		t.Errorf("the alias that was given out again is kept until %s", got)
	}
	const (
		other      = "a.long.name@elsewhere.example"
		otherAlias = "SRS0=n3lr=2W=1=M1KFJM8DI3N5GM88ON58QVC37KU4481D@example.com"
	)
	s.wants("forward", other, "OK "+otherAlias)
	if got := c.sql("SELECT k || ' ' || v || ' ' || lt FROM kv WHERE v = ?", other); got != fmt.Sprintf("M1KFJM8DI3N5GM88ON58QVC37KU4481D@1 %s %d", other, dayOfTests+21*86400) {
		t.Errorf("stored: %s", got)
	}

	// A worker, and a daemon, that is killed loses nothing that it gave out.
	syscall.Kill(d.worker(), syscall.SIGKILL)
	d.waitFor("READY=1")
	c.table().wants("reverse", otherAlias, "OK "+other)
	c.table().wants("forward", "third@elsewhere.example", "OK SRS0=o_FW=2W=1=GBV751LHC93RNRR8OBOH05C5D5CPPI4U@example.com")
	d.signal(syscall.SIGKILL)
	<-d.exited
	d = c.start()
	s = c.table()
	s.wants("reverse", "SRS0=o_FW=2W=1=GBV751LHC93RNRR8OBOH05C5D5CPPI4U@example.com", "OK third@elsewhere.example")

	// Other modes, in place.
	c.reload(d, "original-envelope = embedded")
	s.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	s.wants("reverse", aliasBy2x, noDatabase)
	c.reload(d, "original-envelope = auto")
	s.wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	s.wants("reverse", aliasBy2x, "OK test@otherdomain.com")
	long := strings.Repeat("x", 60) + "@otherdomain.com"
	alias, err := s.Lookup("forward", long)
	if err != nil || !strings.Contains(alias, "=1=") {
		t.Errorf("%s, %v", alias, err)
	}
	s.wants("reverse", alias, "OK "+long)

	// Another file: the one before is let go of.
	if err := os.Rename(c.senders(), c.path("jail/db/moved")); err != nil {
		t.Fatal(err)
	}
	c.reload(d, "original-envelope = auto", `envelope-database = "sqlite:$D/jail/db/moved"`)
	s.wants("reverse", alias, "OK "+long)
	c.reload(d, "original-envelope = embedded")
	eventually(t, func() bool { return len(databases(d)) == 0 }, func() string { return fmt.Sprint(databases(d)) })
	if log := d.stderr.String(); strings.Contains(log, "database: ") {
		t.Errorf("the log complains:\n%s", log)
	}
}

// TestDatabaseReloads reloads, with the store opened anew and in another mode
// each time, while clients ask: none is told anything but what is right.
func TestDatabaseReloads(t *testing.T) {
	c := newDatabase(t)
	if err := os.Symlink("db", c.path("jail/same")); err != nil {
		t.Fatal(err)
	}
	d := c.start()
	done := make(chan bool)
	var clients sync.WaitGroup
	for n := range 4 {
		s := c.table()
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				sender := fmt.Sprintf("%d.%d@otherdomain.com", n, i)
				address, err := s.Lookup("forward", sender)
				if back, err2 := s.Lookup("reverse", address); err != nil || err2 != nil || back != sender {
					t.Errorf("%s: %s, %v; %s, %v", sender, address, err, back, err2)
					return
				}
			}
		})
	}
	for i := range 20 {
		mode, path := []string{"auto", "database"}[i%2], []string{"db", "same", "db"}[i%3]
		c.reload(d, "original-envelope = "+mode, `envelope-database = "sqlite:$D/jail/`+path+`/senders"`)
	}
	eventually(t, func() bool { return c.sql("SELECT count(*) > 10 FROM kv") == "1" }, func() string { return "hardly a sender is stored" })
	close(done)
	clients.Wait()
	if log := d.stderr.String(); strings.Contains(log, "database: ") {
		t.Error("the log complains")
	}
}

// TestAliasOnTCP holds the reply where there is no database.
func TestAliasOnTCP(t *testing.T) {
	d := start(t, launch{env: []string{clockOfTests}})
	_, err := d.ask(d.reverse, "SRS0=bxzH=2W=1="+aliasKey+"@example.com")
	var said *tcptable.Error
	if !errors.As(err, &said) || said.Code != tcptable.CodeNotFound || said.Text != "No database for alias." {
		t.Error(err)
	}
}

// databases are the worker's open files that lie in a directory db.
func databases(d *daemon) (open []string) {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", d.worker()))
	for _, link := range links {
		if target, _ := os.Readlink(link); strings.Contains(target, "/db/") {
			open = append(open, target)
		}
	}
	return open
}

// TestTwoHosts has two daemons with the same secrets and domain: either turns
// back what the other wrote.
func TestTwoHosts(t *testing.T) {
	one, other := start(t, launch{env: []string{clockOfTests}}), start(t, launch{env: []string{clockOfTests}, flags: []string{"-a+", "-n8"}})
	for _, d := range []*daemon{one, other} {
		for _, sender := range []string{"test@otherdomain.com", `"a b"@c.example`, "SRS0=xxxx=2W=a.example=b@c.example"} {
			address, err := d.ask(d.forward, sender)
			if err != nil {
				t.Fatal(err)
			}
			for _, back := range []*daemon{one, other} {
				back.wants(back.reverse, address, sender)
			}
		}
	}
}

// TestLookUpAliases asks for aliases without the daemon, and changes nothing.
func TestLookUpAliases(t *testing.T) {
	c := newDatabase(t)
	c.from2x()
	conf := c.path("postsrsd.conf")
	for _, test := range []struct {
		args []string
		want ran
	}{
		{[]string{"reverse", "-C", conf, aliasBy2x}, ran{"test@otherdomain.com\n", "", 0}},
		{[]string{"forward", "-C", conf, "new@otherdomain.com"}, ran{"SRS0=OT7L=2W=1=80U9NFO1JO79SM7KNKJUSLJ2CIUFJA5G@example.com\n", "", 0}},
		{[]string{"reverse", "-C", conf, "SRS0=OT7L=2W=1=80U9NFO1JO79SM7KNKJUSLJ2CIUFJA5G@example.com"},
			ran{"", "postsrsd: <SRS0=OT7L=2W=1=80U9NFO1JO79SM7KNKJUSLJ2CIUFJA5G@example.com> not rewritten: Unknown alias.\n", 1}},
	} {
		if got := command(t, "", test.args...); got != test.want {
			t.Errorf("%q: %+v", test.args, got)
		}
	}
	if got := c.sql("SELECT count(*) FROM kv"); got != "1" {
		t.Errorf("%s entries", got)
	}
	os.Remove(c.senders())
	got := command(t, "", "reverse", "-C", conf, aliasBy2x)
	if got.status != 2 || !strings.Contains(got.stderr, "database: aliases cannot be looked up") || !strings.Contains(got.stderr, "Not looked up") {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(c.senders()); err == nil {
		t.Error("the file was made")
	}
}
