package main_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postsrsd/internal/golden"
)

// TestVectors puts every request that 1.x was asked to the running daemon,
// started with the flags, the secret and the clock that 1.x had.
func TestVectors(t *testing.T) {
	type settings struct{ secret, domain, options, time string }
	asked := map[settings][]golden.Row{}
	for _, file := range []string{"postsrsd-1.x.exact.tsv", "postsrsd-1.x.deviating.tsv"} {
		for _, row := range golden.Read(t, file) {
			if row.Note == "no-secrets" {
				continue // the daemon refuses to start so; the tables are asked in process
			}
			key := settings{row.Secret, row.Domain, strings.Join(row.Options, "\x00"), fmt.Sprint(row.Time)}
			asked[key] = append(asked[key], row)
		}
	}
	for key, rows := range asked {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			flags := []string{"-d", key.domain}
			if key.options != "" {
				flags = append(flags, strings.Split(key.options, "\x00")...)
			}
			d := start(t, launch{secret: key.secret, flags: flags, env: []string{"POSTSRSD_FAKETIME=" + key.time}})
			for _, row := range rows {
				address := d.reverse
				if strings.HasSuffix(row.Operation, "forward") {
					address = d.forward
				}
				request := row.Input
				if !strings.HasPrefix(row.Operation, "wire-") {
					request += "\n"
				}
				if got := converse(t, address, request); got != row.Ours {
					t.Errorf("%s: %v %.100q: %.100q, want %.100q", row.Name, row.Options, row.Input, got, row.Ours)
				}
			}
		})
	}
}

// converse sends a request, closes its side, and returns all that comes back.
func converse(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, request)
	conn.(*net.TCPConn).CloseWrite()
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%.100q: %v", request, err)
	}
	return string(reply)
}
