if [ "$1" = 0 ] && command -v systemctl >/dev/null; then
	if [ -d /run/systemd/system ]; then
		systemctl --no-reload disable --now postsrsd.service
	else
		systemctl --no-reload disable postsrsd.service
	fi
fi
exit 0
