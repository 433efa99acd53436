package store

import (
	"bufio"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// TestMain is also another process that has the file named by LOCK open and
// locked until its standard input ends.
func TestMain(m *testing.M) {
	path := os.Getenv("LOCK")
	if path == "" {
		os.Exit(m.Run())
	}
	db, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = db.Exec("BEGIN EXCLUSIVE")
	}
	fmt.Println(err)
	io.Copy(io.Discard, os.Stdin)
}

// lock has another process lock the file until unlock is called.
func lock(t *testing.T, path string) (unlock func()) {
	t.Helper()
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "LOCK="+path)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if said, _ := bufio.NewReader(stdout).ReadString('\n'); said != "<nil>\n" {
		t.Fatalf("the other process cannot lock: %s", said)
	}
	return func() {
		stdin.Close()
		other.Wait()
	}
}

// run runs SQL in a file and returns the columns of the rows, a row a line.
func run(t *testing.T, path, statements string) string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("PRAGMA busy_timeout = 10000"); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(statements)
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		names, _ := rows.Columns()
		columns := make([]any, len(names))
		for i := range columns {
			columns[i] = new(string)
		}
		if err := rows.Scan(columns...); err != nil {
			t.Fatal(err)
		}
		for i := range columns {
			columns[i] = *columns[i].(*string)
		}
		lines = append(lines, fmt.Sprint(columns...))
	}
	return strings.Join(lines, "\n")
}

const tables = "CREATE TABLE kv (k TEXT NOT NULL UNIQUE ON CONFLICT REPLACE, v TEXT NOT NULL, lt INTEGER NOT NULL); CREATE INDEX ltidx ON kv (lt);"

// TestFormat reads what PostSRSd 2.x writes, and writes what it reads.
func TestFormat(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	theirs := t.TempDir() + "/a b?c#d%e.db"
	name := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(theirs)
	run(t, name, tables+fmt.Sprintf("INSERT INTO kv VALUES ('A@1', 'a@b.example', %d), ('B@1', 'b@b.example', %d), ('C@1', 'c@b.example', %d)",
		today.Unix()+1814400, today.Unix(), today.Unix()-1))
	os.Chmod(theirs, 0o640)
	s, j := open(t, theirs, date, now)
	want(t, s, "A@1", "a@b.example")
	want(t, s, "B@1", "b@b.example")
	want(t, s, "C@1", "") // expired
	want(t, s, "a@1", "")
	if info, err := os.Stat(theirs); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}

	date.move(time.Hour)
	put(t, s, "A@1", "a@b.example")
	put(t, s, "D@1", "d@b.example")
	s.Close()
	later := fmt.Sprint(today.Unix() + 3600 + 1814400)
	if got, want := run(t, name, "SELECT k, ' ', v, ' ', typeof(v), ' ', lt FROM kv WHERE lt > "+fmt.Sprint(today.Unix()+3600)+" ORDER BY k"),
		"A@1 a@b.example text "+later+"\nD@1 d@b.example text "+later; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}

	ours := t.TempDir() + "/new.db"
	s, _ = open(t, ours, date, now)
	put(t, s, "A@1", "a@b.example")
	s.Close()
	made, err := os.Stat(ours)
	if err != nil || made.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", made, err)
	}
	const schemaOf = "SELECT type, ' ', name, ' ', tbl_name FROM sqlite_schema ORDER BY name"
	if got, want := run(t, "file:"+ours, schemaOf), run(t, name, schemaOf); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got := run(t, "file:"+ours, "PRAGMA journal_mode"); got != "delete" {
		t.Errorf("journal mode %s, which has files beside it that have to be kept with it", got)
	}
	if left, _ := filepath.Glob(ours + "-*"); left != nil {
		t.Errorf("%s are left", left)
	}
	if j.String() != "" {
		t.Error(j)
	}
}

// TestRenew holds that one who sends mail after mail does not have the disk
// written each time, and that an entry lives on.
func TestRenew(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	path := t.TempDir() + "/db"
	s, _ := open(t, path, date, now)
	s.fresh = bucket{left: 1, most: 1, at: today}
	for _, step := range []struct{ pass, until time.Duration }{{0, 0}, {time.Minute, 0}, {time.Second, 61 * time.Second}, {Lifetime, Lifetime + 61*time.Second}} {
		date.move(step.pass)
		put(t, s, "A@1", "a@b")
		if got, want := run(t, path, "SELECT lt FROM kv"), fmt.Sprint(today.Add(step.until+Lifetime).Unix()); got != want {
			t.Errorf("at %v: until %s, want %s", date.read(), got, want)
		}
		want(t, s, "A@1", "a@b")
	}
}

// TestSweep holds that what has expired goes, a little at a time, and nothing else.
func TestSweep(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	path := t.TempDir() + "/db"
	run(t, path, tables+"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 1200) INSERT INTO kv SELECT i||'@1', 'a@b', "+fmt.Sprint(today.Unix())+" FROM n")
	file := newSQLite(path, false, maxFile, date.read)
	defer file.close()
	if more, err := file.sweep(t.Context()); more || err != nil {
		t.Fatalf("%v, %v", more, err)
	}
	if got := run(t, path, "SELECT count(*) FROM kv"); got != "1200" {
		t.Errorf("%s are left of 1200 that are valid", got)
	}
	date.move(time.Second)
	run(t, path, fmt.Sprintf("INSERT INTO kv VALUES ('new@1', 'a@b', %d)", date.read().Unix()))
	for i, left := range []string{"701", "201", "1", "1"} {
		if more, err := file.sweep(t.Context()); more != (i < 2) || err != nil {
			t.Errorf("%d: %v, %v", i, more, err)
		}
		if got := run(t, path, "SELECT count(*) FROM kv"); got != left {
			t.Errorf("%d: %s are left", i, got)
		}
	}

	// A store does so by itself.
	date.move(time.Second)
	s := New(Options{SQLite: path, Date: date.read, Now: now.read, Log: new(journal).log})
	t.Cleanup(s.Close)
	for deadline := time.Now().Add(20 * time.Second); run(t, path, "SELECT count(*) FROM kv") != "0"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is swept")
		}
	}
}

// failing fails the test unless the store refuses at once, and logs why, once.
func failing(t *testing.T, s *Store, j *journal, why string) {
	t.Helper()
	if err := s.Put([]byte("new"), []byte("a@b")); err == nil || err == ErrResting {
		t.Errorf("Put: %v", err)
	}
	for range 1000 {
		if err := s.Put([]byte("new"), []byte("a@b")); err != ErrResting {
			t.Fatalf("Put again: %v", err)
		}
	}
	if got := j.String(); strings.Count(got, "4 database: senders cannot be stored, and are embedded meanwhile: ") != 1 || !strings.Contains(got, why) {
		t.Errorf("logged: %s", got)
	}
}

// TestLocked has another process hold the file.
func TestLocked(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	path := t.TempDir() + "/db"
	s, j := open(t, path, date, now)
	put(t, s, "old", "a@b")
	unlock := lock(t, path)
	failing(t, s, j, "database is locked")
	if _, found, err := s.Get(nil, []byte("old")); found || err == nil || err == ErrResting {
		t.Errorf("%v, %v", found, err)
	}
	if _, _, err := s.Get(nil, []byte("old")); err != ErrResting {
		t.Error(err)
	}
	unlock()
	now.move(leastRest)
	want(t, s, "old", "a@b")
	put(t, s, "new", "c@d")
	want(t, s, "new", "c@d")
	if got := j.String(); !strings.HasSuffix(got, "5 database: aliases are looked up again\n5 database: senders are stored again\n") {
		t.Errorf("logged: %s", got)
	}
}

// TestFullFile fills a file to its limit: what is in there is found and stays.
func TestFullFile(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	path := t.TempDir() + "/db"
	s, j := limited(t, path, 64<<10, date, now)
	n := 0
	for s.Put(fmt.Append(nil, n), fmt.Appendf(nil, "%0300d", n)) == nil {
		n++
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 64<<10 || n < 50 {
		t.Errorf("%v, %v; %d entries", info.Size(), err, n)
	}
	for i := range n {
		want(t, s, fmt.Sprint(i), fmt.Sprintf("%0300d", i))
	}
	if !strings.Contains(j.String(), "full") {
		t.Error(j)
	}
	// Room again.
	date.move(Lifetime + time.Second)
	now.move(mostRest)
	if _, err := s.backend.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, "new", "a@b")
	want(t, s, "new", "a@b")
}

// TestCorrupt has no database in the file, and then one.
func TestCorrupt(t *testing.T) {
	for name, text := range map[string]string{
		"noise":          strings.Repeat("this is no database ", 1000),
		"half a header":  "SQLite format 3\x00\x10\x00\x01\x01",
		"another schema": "",
	} {
		date, now := &clock{now: today}, &clock{now: today}
		path := t.TempDir() + "/db"
		if text == "" {
			run(t, path, "CREATE TABLE kv (x)")
		} else {
			os.WriteFile(path, []byte(text), 0o600)
		}
		s, j := open(t, path, date, now)
		failing(t, s, j, "")
		if _, found, err := s.Get(nil, []byte("k")); found || err == nil {
			t.Errorf("%s: %v, %v", name, found, err)
		}
		if now, err := os.ReadFile(path); text != "" && string(now) != text {
			t.Errorf("%s: the file was changed, %v", name, err)
		}
		os.Remove(path)
		now.move(mostRest)
		put(t, s, "k", "v@w")
		want(t, s, "k", "v@w")
	}
}

// TestReplaced takes the file away, or its directory, and puts others there.
func TestReplaced(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	dir := t.TempDir() + "/dir"
	path := dir + "/db"
	os.Mkdir(dir, 0o700)
	s, j := open(t, path, date, now)
	put(t, s, "old", "a@b")
	os.Rename(dir, dir+"2")
	failing(t, s, j, "")
	os.Mkdir(dir, 0o700)
	now.move(mostRest)
	put(t, s, "new", "a@b") // into a new file
	want(t, s, "old", "")

	os.Rename(dir+"2/db", path)
	want(t, s, "old", "a@b")
	put(t, s, "new", "a@b") // which was in the other file
	if got := run(t, path, "SELECT k FROM kv ORDER BY k"); got != "new\nold" {
		t.Errorf("%q", got)
	}
	os.Remove(path)
	put(t, s, "old", "a@b")
	want(t, s, "new", "")
	if got := run(t, path, "SELECT k FROM kv ORDER BY k"); got != "old" {
		t.Errorf("%q", got)
	}
}

// TestLookingOn reads without making or changing anything.
func TestLookingOn(t *testing.T) {
	date, now := &clock{now: today}, &clock{now: today}
	dir := t.TempDir()
	s, _ := open(t, dir+"/db", date, now)
	put(t, s, "old", "a@b")
	look := func(path string) *Store {
		other := New(Options{SQLite: path, ReadOnly: true, Date: date.read, Now: now.read, Log: new(journal).log})
		t.Cleanup(other.Close)
		return other
	}
	want(t, look(dir+"/db"), "old", "a@b")
	if _, _, err := look(dir+"/none").Get(nil, []byte("old")); err == nil {
		t.Error("there is no file")
	}
	if _, err := os.Stat(dir + "/none"); err == nil {
		t.Error("it was made")
	}
}
