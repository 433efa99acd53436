package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	sweepSize = 500 // entries removed at a time
	renewing  = 60  // seconds for which an entry is not written again
	lockWait  = 500 // milliseconds to wait for another process's lock

	schema = `CREATE TABLE IF NOT EXISTS kv (k TEXT NOT NULL UNIQUE ON CONFLICT REPLACE, v TEXT NOT NULL, lt INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS ltidx ON kv (lt)`
)

// sqliteFile is the table kv of k, key, v, address, and lt, the Unix time until
// which the entry stays. One connection serves all, one after the other: two
// would only wait for each other's locks. It is made when it is needed, and
// again after an error or when another file is there, as after a restore.
type sqliteFile struct {
	db   *sql.DB
	file *connector
	date func() time.Time
}

func newSQLite(path string, readOnly bool, maxFile int64, date func() time.Time) *sqliteFile {
	file := &connector{path: path, readOnly: readOnly, maxFile: maxFile}
	db := sql.OpenDB(file)
	db.SetMaxOpenConns(1)
	return &sqliteFile{db, file, date}
}

func (s *sqliteFile) renew(ctx context.Context, key []byte) (there bool, err error) {
	err = s.use(ctx, func(conn *sql.Conn) error {
		var has int64
		until := s.date().Add(Lifetime).Unix()
		err := conn.QueryRowContext(context.Background(), "SELECT lt FROM kv WHERE k = ?", string(key)).Scan(&has)
		switch there = err == nil; {
		case err == sql.ErrNoRows:
			return nil
		case there && has < until-renewing:
			_, err = change(conn, "UPDATE kv SET lt = ? WHERE k = ?", until, string(key))
		}
		return err
	})
	return there, err
}

func (s *sqliteFile) add(ctx context.Context, key, address []byte) error {
	return s.use(ctx, func(conn *sql.Conn) error {
		_, err := change(conn, "INSERT INTO kv (k, v, lt) VALUES (?, ?, ?)", string(key), string(address), s.date().Add(Lifetime).Unix())
		return err
	})
}

func (s *sqliteFile) get(ctx context.Context, key []byte) (address []byte, err error) {
	err = s.use(ctx, func(conn *sql.Conn) error {
		row := conn.QueryRowContext(context.Background(), "SELECT v FROM kv WHERE k = ? AND lt >= ?", string(key), s.date().Unix())
		err := row.Scan(&address)
		if err == sql.ErrNoRows {
			return nil
		}
		return err
	})
	return address, err
}

func (s *sqliteFile) sweep(ctx context.Context) (more bool, err error) {
	err = s.use(ctx, func(conn *sql.Conn) error {
		n, err := change(conn, "DELETE FROM kv WHERE rowid IN (SELECT rowid FROM kv WHERE lt < ? LIMIT ?)", s.date().Unix(), sweepSize)
		more = n == sweepSize
		return err
	})
	return more, err
}

func (s *sqliteFile) close() { s.db.Close() }

// use has f use the connection once it is free, and drops it after an error
// that time alone will not mend.
func (s *sqliteFile) use(ctx context.Context, f func(*sql.Conn) error) error {
	conn, err := s.db.Conn(ctx)
	if err == nil && s.file.moved() {
		drop(conn)
		conn, err = s.db.Conn(ctx)
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	err = f(conn)
	var why *sqlite.Error
	if err != nil && !(errors.As(err, &why) && why.Code()&0xff == sqlite3.SQLITE_BUSY) {
		drop(conn)
	}
	return err
}

// drop closes a connection for good.
func drop(conn *sql.Conn) { conn.Raw(func(any) error { return driver.ErrBadConn }) }

// change runs a statement on this goroutine: SQLite bounds the wait for locks.
func change(conn *sql.Conn, statement string, arguments ...any) (rows int64, err error) {
	result, err := conn.ExecContext(context.Background(), statement, arguments...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// A connector opens the file at path.
type connector struct {
	path     string
	readOnly bool
	maxFile  int64
	opened   atomic.Value // of os.FileInfo, what was opened last
}

// moved tells whether the file that is open is not the one at path.
func (c *connector) moved() bool {
	opened, _ := c.opened.Load().(os.FileInfo)
	there, err := os.Stat(c.path)
	return err != nil || !os.SameFile(there, opened)
}

func (c *connector) Driver() driver.Driver { return &sqlite.Driver{} }

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	// What is in there is nobody else's business. SQLite gives its journal
	// the permissions of the file.
	if !c.readOnly {
		f, err := os.OpenFile(c.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			f.Close()
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("cannot make the file: %w", err)
		}
	}
	options := url.Values{"_pragma": {fmt.Sprintf("busy_timeout(%d)", lockWait), "temp_store(MEMORY)", "cache_size(-512)", "synchronous(FULL)"}}
	if c.readOnly {
		options.Set("mode", "ro")
	}
	file := url.URL{Scheme: "file", Path: c.path, RawQuery: options.Encode()}
	conn, err := c.Driver().Open(file.String())
	if err != nil {
		return nil, err
	}
	if opened, err := os.Stat(c.path); err == nil {
		c.opened.Store(opened)
	}
	if c.readOnly {
		return conn, nil
	}
	if err := prepare(conn, c.maxFile); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// prepare makes the table in a new file and limits its size.
func prepare(conn driver.Conn, maxFile int64) error {
	run := conn.(driver.ExecerContext)
	if _, err := run.ExecContext(context.Background(), schema, nil); err != nil {
		return err
	}
	rows, err := conn.(driver.QueryerContext).QueryContext(context.Background(), "PRAGMA page_size", nil)
	if err != nil {
		return err
	}
	value := make([]driver.Value, 1)
	err = rows.Next(value)
	rows.Close()
	if err != nil {
		return err
	}
	size, ok := value[0].(int64)
	if !ok || size <= 0 {
		return fmt.Errorf("a page size of %v", value[0])
	}
	_, err = run.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", maxFile/size), nil)
	return err
}
