# Runs when the old version is gone, whoever made it.
say() {
	echo "postsrsd: $*" >&2
}

for file in /etc/default/postsrsd /etc/postsrsd.secret; do
	if [ -e "$file.rpmkeep" ] || [ -L "$file.rpmkeep" ]; then
		if [ ! -e "$file" ] && [ ! -L "$file" ]; then
			ln "$file.rpmkeep" "$file"
			# What rpm moved aside is the same file.
			[ ! "$file" -ef "$file.rpmsave" ] || rm -f "$file.rpmsave"
		fi
		rm -f "$file.rpmkeep"
	fi
done

# Not where PostSRSd 2.x's configuration rules.
if [ ! -e /etc/postsrsd.conf ]; then
	/usr/sbin/postsrsd secret --if-missing || say "no secret was made"
fi

# A policy made for PostSRSd 1.x would hold this program to what that one did.
if command -v semodule >/dev/null && semodule -l 2>/dev/null | grep -qw postsrsd; then
	semodule -i /usr/share/selinux/packages/postsrsd.pp &&
		restorecon -R /usr/sbin/postsrsd /etc/postsrsd.secret /var/lib/postsrsd ||
		say "the SELinux module could not be replaced"
fi

# A service that did not run stays so. Why one that did is down is told here; the
# transaction is over and nothing can fail any more.
if [ -d /run/systemd/system ]; then
	case $(systemctl is-active postsrsd.service) in
	active | activating | reloading)
		systemctl restart postsrsd.service >/dev/null 2>&1 || {
			say "THE SERVICE IS NOT RUNNING, and forwarded mail waits for it. It says:"
			journalctl --sync
			journalctl --quiet --no-pager --output=cat --unit=postsrsd.service --lines=50 --priority=warning |
				tail -n 3 >&2
			say "when that is mended: systemctl start postsrsd"
		}
		;;
	esac
fi
exit 0
