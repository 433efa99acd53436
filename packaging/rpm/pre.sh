# Packages of PostSRSd 1.x own files that this one does not: the settings of one
# kind of distribution, and in some the secret. When the old package goes, after
# the new one has come, rpm deletes them or moves them aside. A second name keeps
# them; posttrans.sh puts them back.
for file in /etc/default/postsrsd /etc/postsrsd.secret; do
	if [ -e "$file" ] || [ -L "$file" ]; then
		ln -f "$file" "$file.rpmkeep"
	fi
done

# A policy for PostSRSd 1.x would hold this program to what that one did. The
# version of this package before this one brought this program's policy.
state=/var/lib/rpm-state/postsrsd
rm -rf "$state"
if [ ! -e /usr/share/postsrsd/selinux/postsrsd.te ] &&
	semodule -l 2>/dev/null | grep -qw postsrsd; then
	mkdir -p "$state"
	: >"$state/foreign-policy"
fi

if ! getent passwd postsrsd >/dev/null; then
	getent group postsrsd >/dev/null || groupadd --system postsrsd
	useradd --system --gid postsrsd --no-create-home --home-dir /var/lib/postsrsd \
		--shell /sbin/nologin postsrsd
fi
exit 0
