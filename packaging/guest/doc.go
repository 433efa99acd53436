// Package guest installs the packages on real systems and looks whether mail still flows.
//
// It holds tests only. They need root, a Debian host and the network for
// Debian's packages, and install the tools they use:
//
//	go test -tags guest -count=1 -timeout 30m ./packaging/guest/
//
// A system is a copy of an image of Debian 12 that debootstrap makes once and
// keeps in the user's cache directory. It runs under systemd-nspawn, either
// booted with its own service manager or as a bare container without one,
// always on a private network with nothing but loopback; all mail ends in
// Postfix's own smtp-sink. Nothing is left behind but the image.
//
// The same suite holds the packages against the tools that judge such things:
// lintian, rpmlint, systemd-analyze, mandoc, the AppArmor parser and the
// SELinux compiler.
package guest
