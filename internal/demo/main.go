// Demo is what `make run` runs: it serves with a fresh secret until it is
// interrupted, shows the main.cf lines, and asks the running daemon once in
// each direction.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"postsrsd/srs"
	"postsrsd/tcptable"
)

const domain = "example.com"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo PATH-OF-POSTSRSD")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(program string) error {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)

	dir, err := os.MkdirTemp("", "postsrsd-run-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(srs.NewSecret(srs.DefaultSecretLength)), 0o600); err != nil {
		return err
	}

	daemon := exec.Command(program, "-d", domain, "-s", secret, "-f", "10001", "-r", "10002", "--log=stderr")
	daemon.Stdout, daemon.Stderr = os.Stdout, os.Stderr
	if err := daemon.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	defer daemon.Process.Signal(syscall.SIGTERM)

	sender := "alice@example.org"
	rewritten, err := ask("localhost:10001", sender, ended)
	if err != nil {
		return err
	}
	recipient, err := ask("localhost:10002", rewritten, ended)
	if err != nil {
		return err
	}
	fmt.Printf(`
postsrsd serves 127.0.0.1 and ::1, ports 10001 (forward) and 10002 (reverse).

In Postfix's main.cf:

    sender_canonical_maps = tcp:localhost:10001
    sender_canonical_classes = envelope_sender
    recipient_canonical_maps = tcp:localhost:10002
    recipient_canonical_classes = envelope_recipient, header_recipient

Asked of the running daemon:

    forward  %s
         ->  %s
    reverse  %s
         ->  %s

Interrupt to end.
`, sender, rewritten, rewritten, recipient)

	select {
	case <-interrupted:
		daemon.Process.Signal(syscall.SIGTERM)
		return <-ended
	case err := <-ended:
		return fmt.Errorf("the daemon ended: %v", err)
	}
}

// ask looks key up, as soon as the daemon listens.
func ask(address, key string, ended chan error) (string, error) {
	for range 500 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			defer conn.Close()
			return tcptable.NewClient(conn).Lookup(key)
		}
		select {
		case err := <-ended:
			return "", fmt.Errorf("the daemon did not start: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return "", fmt.Errorf("no answer on %s", address)
}
