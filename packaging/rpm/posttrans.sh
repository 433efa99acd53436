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

# Where the policy of PostSRSd 1.x is loaded, see pre.sh, ours takes its place if
# the tools to compile it are there. If not, the domain is made permissive: mail
# must not stop for it, and the kernel's log shows what would have been denied.
state=/var/lib/rpm-state/postsrsd
policy=/usr/share/postsrsd/selinux
if [ -e "$state/foreign-policy" ]; then
	if [ -e /usr/share/selinux/devel/Makefile ] &&
		cp "$policy/postsrsd.te" "$policy/postsrsd.fc" "$state" &&
		make -s -C "$state" -f /usr/share/selinux/devel/Makefile postsrsd.pp >/dev/null &&
		semodule -i "$state/postsrsd.pp"; then
		restorecon -R /usr/sbin/postsrsd /var/lib/postsrsd /etc/postsrsd.secret
	else
		echo '(typepermissive postsrsd_t)' >"$state/postsrsd_permissive.cil"
		semodule -i "$state/postsrsd_permissive.cil"
		say "the SELinux policy on this system is PostSRSd 1.x's; its domain is permissive now."
		say "$policy/postsrsd.te says how to load this version's; then: semodule -r postsrsd_permissive"
	fi
fi
rm -rf "$state"

# A service that did not run stays so. Why one that did is down is told here; the
# transaction is over and nothing can fail any more.
if [ -d /run/systemd/system ]; then
	case $(systemctl is-active postsrsd.service) in
	active | activating | reloading)
		systemctl restart postsrsd.service >/dev/null 2>&1 || {
			say "THE SERVICE IS NOT RUNNING, and forwarded mail waits for it. It says:"
			journalctl --sync
			journalctl --quiet --no-pager --output=cat --unit=postsrsd.service --identifier=postsrsd --lines=3 >&2
			say "when that is mended: systemctl start postsrsd"
		}
		;;
	esac
fi
exit 0
