//go:build guest

package guest

import (
	"crypto/hmac"
	"crypto/sha1"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// aliasOf2x is what PostSRSd 2.x stores a sender under and forwards it as.
func aliasOf2x(secret, address, domain string) (key, alias string) {
	sum := sha1.Sum([]byte(address))
	key = base32.HexEncoding.EncodeToString(sum[:])
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	day := time.Now().Unix() / 86400 % 1024
	stamp := string([]byte{digits[day>>5], digits[day&31]})
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(strings.ToLower(stamp + "1" + key)))
	hash := base64.URLEncoding.EncodeToString(mac.Sum(nil))[:4]
	return key, "SRS0=" + hash + "=" + stamp + "=1=" + key + "@" + domain
}

// PostSRSd 2.x's database: aliases that it gave out reverse once this package
// has taken over, new ones are stored beside them, and the package changes
// nothing about whose it is.
func TestDatabaseOf2xIsTakenOver(t *testing.T) {
	m := bootMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	const secret = "a-secret-of-2x-s-own"
	m.write("/etc/postsrsd.secret", secret+"\n")
	m.write("/etc/postsrsd.conf", `srs-domain = "example.com"
original-envelope = database
envelope-database = "sqlite:/var/lib/postsrsd/senders.db"
secrets-file = "/etc/postsrsd.secret"
unprivileged-user = "postsrsd"
chroot-dir = "/var/lib/postsrsd"
`)
	m.run(`adduser --system --quiet --group --home /var/lib/postsrsd postsrsd`)
	db, err := sql.Open("sqlite", filepath.Join(m.root, "/var/lib/postsrsd/senders.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	key, alias := aliasOf2x(secret, "alice@example.org", "example.com")
	if _, err := db.Exec(`CREATE TABLE kv (k TEXT NOT NULL UNIQUE ON CONFLICT REPLACE, v TEXT NOT NULL, lt INTEGER NOT NULL);
		CREATE INDEX ltidx ON kv (lt);
		INSERT INTO kv VALUES (?, 'alice@example.org', ?)`, key+"@1", time.Now().Add(time.Hour).Unix()); err != nil {
		t.Fatal(err)
	}
	const whose = `stat -c '%n %a %U:%G' /var/lib/postsrsd /var/lib/postsrsd/senders.db`
	m.run(`chown postsrsd:postsrsd /var/lib/postsrsd/senders.db; chmod 600 /var/lib/postsrsd/senders.db`)
	before := m.run(whose)

	const ask = `postmap -q "$1" socketmap:unix:/var/spool/postfix/srs:"$2"`
	bobsKey, bobs := aliasOf2x(secret, "bob@example.org", "example.com")
	for _, step := range []string{installOurs, `systemctl reload postsrsd.service`, `systemctl restart postsrsd.service`, installOurs + ` --reinstall`} {
		m.run(step)
		for sender, want := range map[string]string{"alice@example.org": alias, "bob@example.org": bobs} {
			if got := strings.TrimSpace(m.run(ask, sender, "forward")); got != want {
				t.Errorf("%s: %s becomes %s, want %s", step, sender, got, want)
			}
			if got := strings.TrimSpace(m.run(ask, want, "reverse")); got != sender {
				t.Errorf("%s: %s reverses to %q", step, want, got)
			}
		}
		if after := m.run(whose); after != before {
			t.Errorf("%s: before\n%s\nafter\n%s", step, before, after)
		}
	}
	m.jailed("/var/lib/postsrsd", "postsrsd")

	// As 2.x finds it when it is installed again.
	var address string
	var left int64
	if err := db.QueryRow("SELECT v, lt - ? FROM kv WHERE k = ?", time.Now().Unix(), bobsKey+"@1").Scan(&address, &left); err != nil ||
		address != "bob@example.org" || left > 21*86400 || left < 21*86400-600 {
		t.Errorf("bob's entry is %q for %d s, %v", address, left, err)
	}
	if got := m.run(`journalctl --sync; journalctl -o cat -u postsrsd.service | grep 'database: ' || true`); got != "" {
		t.Errorf("the log has %s", got)
	}
}
