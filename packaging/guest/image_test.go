//go:build guest

package guest

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// recipe makes, in a chroot of a fresh system, what every guest starts from:
// Debian's postfix, and Debian's postsrsd with what it depends on ready to be
// installed where there is no network.
const recipe = `
set -e
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
echo mail >/etc/hostname
echo mail.example.com >/etc/mailname
cat >/etc/hosts <<EOF
127.0.0.1 localhost
::1 localhost
127.0.1.1 mail.example.com mail
EOF
apt-get -q update
apt-get -q -y --no-install-recommends install adduser apt-utils debconf dbus init-system-helpers iproute2 lsb-base \
	postfix procps rpm rsyslog
mkdir /root/debian
cd /root/debian
apt-get -q download postsrsd
apt-get -q clean
postconf -e \
	'myhostname = mail.example.com' \
	'mydestination = mail.example.com, example.com, localhost' \
	'inet_interfaces = loopback-only' \
	'inet_protocols = all' \
	'disable_dns_lookups = yes' \
	'smtp_host_lookup = native' \
	'maximal_queue_lifetime = 1h' \
	'virtual_alias_maps = inline:{ forwarder@example.com=someone@outside.example }' \
	'transport_maps = inline:{ outside.example=smtp:[127.0.0.1]:2525, origin.example=smtp:[127.0.0.1]:2525 }' \
	'sender_canonical_maps = tcp:localhost:10001' \
	'sender_canonical_classes = envelope_sender' \
	'recipient_canonical_maps = tcp:localhost:10002' \
	'recipient_canonical_classes = envelope_recipient, header_recipient'
rm -f /etc/resolv.conf /usr/sbin/policy-rc.d /var/lib/apt/lists/*_*
`

// image is the system that every guest is a copy of.
var image string

// makeImage makes the image unless an earlier run has left one of the same recipe.
func makeImage() error {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache"
	}
	dir := filepath.Join(cache, "postsrsd-guest")
	image = filepath.Join(dir, fmt.Sprintf("bookworm-%.6x", sha256.Sum256([]byte(recipe))))
	if _, err := os.Stat(image); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	if _, err := command("debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,netbase", "bookworm", fresh); err != nil {
		return err
	}
	if err := os.Chmod(fresh, 0o755); err != nil { // it is the guests' root directory
		return err
	}
	if _, err := command("chroot", fresh, "sh", "-c", recipe); err != nil {
		return err
	}
	return os.Rename(fresh, image)
}
