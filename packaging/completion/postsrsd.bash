# bash completion for postsrsd(8)

_postsrsd() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}

	# --flag=value is three words here.
	[[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
	[[ $current == = ]] && current=

	compopt -o filenames 2>/dev/null
	case $previous in
	-s | -p | -C | --env-file) COMPREPLY=($(compgen -f -- "$current")) ;;
	-c) COMPREPLY=($(compgen -d -- "$current")) ;;
	-u) COMPREPLY=($(compgen -u -- "$current")) ;;
	-f | -r) COMPREPLY=($(compgen -s -- "$current")) ;;
	-a) COMPREPLY=($(compgen -W '= + -' -- "$current")) ;;
	--log) COMPREPLY=($(compgen -W 'stderr syslog' -- "$current")) ;;
	-d | -l | -n | -N | -t) COMPREPLY=() ;;
	*)
		if [[ ${COMP_WORDS[1]} == @(forward|reverse|config|check) && $current == --* ]]; then
			local own
			case ${COMP_WORDS[1]} in
			forward) own=--ask ;;
			reverse) own='--ask --explain' ;;
			config) own='--as=env --as=conf' ;;
			check) own='--skip= --json --resolver= --address= --time=' ;;
			esac
			COMPREPLY=($(compgen -W "$own --env-file" -- "$current"))
		elif [[ ${COMP_WORDS[1]} == secret ]]; then
			COMPREPLY=($(compgen -W '--if-missing --rotate' -- "$current") $(compgen -f -- "$current"))
		elif [[ $COMP_CWORD == 1 && $current != -* ]]; then
			COMPREPLY=($(compgen -W 'check config forward reverse secret' -- "$current"))
		else
			COMPREPLY=($(compgen -W '-4 -6 -A -C -D -N -X -a -c -d -e -f -h -l -n -p -r -s -t -u -v
				--env-file --help --log --version' -- "$current"))
		fi
		;;
	esac
}

complete -F _postsrsd postsrsd
