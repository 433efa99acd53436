package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseDatabase(t *testing.T) {
	for in, want := range map[string]Database{
		"sqlite:/a/b.db":         {File: "/a/b.db"},
		"sqlite:./b.db":          {File: "./b.db"},
		"sqlite:/a:b?c d":        {File: "/a:b?c d"},
		"redis:/run/redis.sock":  {Socket: "/run/redis.sock"},
		"redis:localhost:6379":   {Host: "localhost", Port: "6379"},
		"redis:192.0.2.1:smtp":   {Host: "192.0.2.1", Port: "25"},
		"redis:[2001:db8::1]:80": {Host: "2001:db8::1", Port: "80"},
	} {
		got, err := ParseDatabase(in)
		if !reflect.DeepEqual(got, want) || err != nil {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
		if again, err := ParseDatabase(got.String()); !reflect.DeepEqual(again, got) || err != nil {
			t.Errorf("%s written as %s: %+v, %v", in, got, again, err)
		}
	}
	for _, in := range []string{"", "sqlite", "sqlite:", "sqlite:/a/", "sqlite:/a\x00b", "redis", "redis:", "redis:6379", "redis::6379", "redis:a:b", "redis:::1:6379", "redis:a b:1",
		"redis:a:0", "redis:a:65536", "redis:/" + strings.Repeat("x", 108), "SQLITE:/a", "valkey:/a", "/a"} {
		if got, err := ParseDatabase(in); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
}

// TestDatabaseInJail holds where the jailed process finds the database, and
// what is refused because it cannot.
func TestDatabaseInJail(t *testing.T) {
	const outside = "this is outside of $T/jail, the directory that CHROOT jails the serving process in: name a file below it, or change CHROOT"
	for _, test := range []struct{ chroot, database, at, err string }{
		{"$T/jail", "sqlite:$T/jail/db/s", "/db/s", ""},
		{"$T/jail/", "sqlite:$T/jail/./db/../s", "/s", ""},
		{"$T/jail", "sqlite:s", "/s", ""},
		{"$T/jail", "sqlite:./db/s", "/db/s", ""},
		{"$T/link", "sqlite:$T/jail/s", "/s", ""},
		{"$T/jail", "sqlite:$T/link/s", "/s", ""},
		{"$T/link", "sqlite:$T/link/db/s", "/db/s", ""},
		{"$T/jail", "redis:$T/jail/db/s", "/db/s", ""},
		{"", "sqlite:$T/s", "$T/s", ""},
		{"$T/jail", "sqlite:$T/s", "", outside},
		{"$T/jail", "sqlite:../s", "", outside},
		{"$T/jail", "sqlite:$T/jail/out/s", "", outside},
		{"$T/jail", "sqlite:$T/jailed/s", "", outside},
		{"$T/jail", "redis:$T/s", "", outside},
		{"", "sqlite:s", "", "give the whole path of the file, as CHROOT is empty"},
		{"$T/jail", "sqlite:$T/jail/none/s", "", "$T/jail/none is no directory: make it, writable by the user to serve as"},
		{"$T/jail", "redis:127.0.0.1:6379", "127.0.0.1:6379", ""},
		{"$T/jail", "redis:[::1]:6379", "[::1]:6379", ""},
	} {
		p := newPlace(t)
		for _, dir := range []string{"jail/db", "jailed"} {
			os.MkdirAll(p.path(dir), 0o755)
		}
		os.Symlink("jail", p.path("link"))
		os.Symlink(p.dir, p.path("jail/out"))
		here := strings.NewReplacer("$T", p.dir)
		file := p.write(t, "settings", here.Replace("SRS_DOMAIN=a\nSRS_SECRET=$T/secret\nSRS_ORIGINAL_ENVELOPE=database\nCHROOT="+test.chroot+"\nSRS_ENVELOPE_DATABASE="+test.database+"\n"))
		c, err := p.load([]string{"--env-file", file}, nil)
		if test.err != "" {
			if want := here.Replace("$T/settings:5: SRS_ENVELOPE_DATABASE=" + test.database + ": " + test.err); err == nil || err.Error() != want {
				t.Errorf("%+v:\n got %v\nwant %s", test, err, want)
			}
			continue
		}
		if err != nil || len(c.Database.At) == 0 || c.Database.At[0] != here.Replace(test.at) {
			t.Errorf("%+v: %+v, %v", test, c, err)
		}
	}
}

// TestNoDatabase has a database named that is not used: nobody looks for it.
func TestNoDatabase(t *testing.T) {
	p := newPlace(t)
	file := p.write(t, "settings", "SRS_DOMAIN=a\nSRS_SECRET="+p.path("secret")+"\nCHROOT=/none\nSRS_ENVELOPE_DATABASE=redis:none.invalid:1\n")
	c := p.mustLoad(t, []string{"--env-file", file}, nil)
	if c.Database.At != nil || c.Text("Database") != "redis:none.invalid:1" {
		t.Errorf("%+v", c.Database)
	}
	want := filepath.Base(file) + ":4: SRS_ENVELOPE_DATABASE=redis:none.invalid:1: has no effect where SRS_ORIGINAL_ENVELOPE is embedded; with auto what is in there is still found"
	if len(c.Warnings) != 1 || !strings.HasSuffix(c.Warnings[0], want) {
		t.Errorf("%q", c.Warnings)
	}
}

// TestDatabaseNameLater has the name's lookup fail for now, which keeps nobody
// from starting.
func TestDatabaseNameLater(t *testing.T) {
	p := newPlace(t)
	p.loader.Patience = 1
	file := p.write(t, "settings", "SRS_DOMAIN=a\nSRS_SECRET="+p.dir+"/secret\nSRS_ORIGINAL_ENVELOPE=auto\nSRS_ENVELOPE_DATABASE=redis:db.test:6379\n")
	c, err := p.load([]string{"--env-file", file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Database.At, []string{"db.test:6379"}) {
		t.Errorf("%q", c.Database.At)
	}
	last := c.Warnings[max(len(c.Warnings)-1, 0)]
	if want := file + ":4: SRS_ENVELOPE_DATABASE=redis:db.test:6379: lookup db.test"; !strings.HasPrefix(last, want) {
		t.Errorf("warned %q, not %q…", last, want)
	}
}
