# $1 is the number of installed versions, this one among them.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "$1" = 1 ] && command -v systemctl >/dev/null; then
	# As the distribution's presets say: by default a service stays off.
	systemctl --no-reload preset postsrsd.service
fi
exit 0
