package main_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestDomainsFileWatch changes the file of domains in every way there is,
// while a client asks: each change is seen, and no lookup fails.
func TestDomainsFileWatch(t *testing.T) {
	c := newConf(t, `domains-file = "$D/domains"`, "domains-file-watch = on")
	writeFile(t, c.dir, "domains", "a.example\n")
	d := c.start()
	asking, asked, failed := make(chan struct{}), make(chan struct{}), atomic.Pointer[string]{}
	s := dialTable(t, "unix", c.socket())
	go func() {
		defer close(asked)
		for {
			select {
			case <-asking:
				return
			default:
			}
			if got, err := s.Lookup("forward", "test@otherdomain.com"); got != signedBy2x {
				got += " " + err.Error()
				failed.CompareAndSwap(nil, &got)
				return
			}
		}
	}()

	probe := dialTable(t, "unix", c.socket())
	local := func(domain string) bool {
		_, err := probe.Lookup("forward", "test@"+domain)
		return err != nil && strings.HasSuffix(err.Error(), "Need not rewrite local domain.")
	}
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(c.path(from), c.path(to)); err != nil {
			t.Fatal(err)
		}
	}
	changes := 1 // the first, when the file had only just been written
	for _, step := range []struct {
		name   string
		change func()
		local  string
	}{
		{"as it starts", func() { changes-- }, "a.example"},
		{"written again, as long as before", func() { writeFile(t, c.dir, "domains", "b.example\n") }, "b.example"},
		{"longer", func() { writeFile(t, c.dir, "domains", "b.example\n.c.example # d\n") }, "x.c.example"},
		{"another put in its place", func() { writeFile(t, c.dir, "new", "d.example\n"); move("new", "domains") }, "d.example"},
		{"deleted and made again", func() { os.Remove(c.path("domains")); writeFile(t, c.dir, "domains", "e.example\n") }, "e.example"},
		{"deleted", func() {
			os.Remove(c.path("domains"))
			d.logged("cannot read the file of domains: no such file or directory")
		}, "e.example"},
		{"made again", func() { writeFile(t, c.dir, "domains", "f.example\n") }, "f.example"},
		{"written many times over", func() {
			for range 100 {
				for _, name := range []string{"h", "i", "g"} {
					writeFile(t, c.dir, "domains", name+".example\n")
				}
			}
		}, "g.example"},
		{"a symbolic link", func() {
			writeFile(t, c.dir, "j", "j.example\n")
			os.Symlink("j", c.path("link"))
			move("link", "domains")
		}, "j.example"},
		{"what the link leads to", func() { writeFile(t, c.dir, "k", "k.example\n"); move("k", "j") }, "k.example"},
		{"reloaded by signal meanwhile", func() {
			changes--
			for range 20 {
				d.signal(syscall.SIGHUP)
				d.waitFor("RELOADING=1")
				d.waitFor("READY=1")
			}
		}, "k.example"},
	} {
		step.change()
		changes++
		eventually(t, func() bool { return local(step.local) }, func() string {
			return step.name + ": not seen\n" + tail(d.stderr.String())
		})
	}
	if local("a.example") {
		t.Error("what the first file had still holds")
	}
	close(asking)
	<-asked
	if failed.Load() != nil {
		t.Errorf("a lookup failed: %s", *failed.Load())
	}
	if n := strings.Count(d.stderr.String(), "has changed"); n > changes+1 { // the file that was being written may have been read once more
		t.Errorf("%d changes were seen %d times\n%s", changes, n, tail(d.stderr.String()))
	}
}

// TestDomainsFileBySignal has the file read again with everything else.
func TestDomainsFileBySignal(t *testing.T) {
	c := newConf(t, `domains-file = "$D/domains"`)
	writeFile(t, c.dir, "domains", "a.example\n")
	d := c.start()
	s := dialTable(t, "unix", c.socket())
	s.wants("forward", "test@a.example", "NOTFOUND Need not rewrite local domain.")
	writeFile(t, c.dir, "domains", "b.example\n")
	d.signal(syscall.SIGHUP)
	d.waitFor("RELOADING=1")
	d.waitFor("READY=1")
	s.wants("forward", "test@b.example", "NOTFOUND Need not rewrite local domain.")
	s.wants("forward", "test@a.example", "OK SRS0=qw7C=2W=a.example=test@example.com")
}

// TestReadyMeansReloaded connects as soon as the service manager has been told
// that the reload is done: the worker of before, which is still there, no
// longer answers.
func TestReadyMeansReloaded(t *testing.T) {
	c := newConf(t)
	d := c.start()
	for i := range 30 {
		domain := fmt.Sprintf("number-%02d.example", i)
		c.write("srs-domain = "+domain, fmt.Sprintf("connection-limit = %d", 100+i)) // which takes another worker
		d.signal(syscall.SIGHUP)
		d.waitFor("RELOADING=1")
		d.waitFor("READY=1")
		var all []table
		for range 5 {
			all = append(all, dialTable(t, "unix", c.socket()))
		}
		for _, s := range all {
			s.wants("forward", "test@otherdomain.com", strings.Replace("OK "+signedBy2x, "example.com", domain, 1))
		}
	}
}
