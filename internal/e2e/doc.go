// Package e2e puts the real daemon behind a real Postfix and sends mail through both.
//
// It holds tests only, and they need root, Linux and Debian's postfix and
// redis-server, which they install when they are missing:
//
//	go test -tags postfix ./internal/e2e/
//
// Every Postfix here is an instance of its own, with its own configuration,
// queue and data directories, on loopback ports; the host's configuration and
// queue are neither read nor changed. All mail ends in a sink that the test
// itself serves, names are reserved ones (RFC 2606), and no name is ever looked
// up, so nothing leaves the loopback interface.
//
// The documents followed are Postfix's own: tcp_table(5), socketmap_table(5),
// canonical(5), ADDRESS_REWRITING_README.
package e2e
