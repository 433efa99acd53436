# fish completion for postsrsd(8)

complete -c postsrsd -f
complete -c postsrsd -n __fish_use_subcommand -a secret -d 'write a secret'
complete -c postsrsd -n __fish_use_subcommand -a check -d 'say what is wrong around the daemon'
complete -c postsrsd -n __fish_use_subcommand -a config -d 'print the settings that hold'
complete -c postsrsd -n __fish_use_subcommand -a forward -d 'rewrite senders'
complete -c postsrsd -n __fish_use_subcommand -a reverse -d 'turn addresses back'
complete -c postsrsd -n '__fish_seen_subcommand_from forward reverse' -l ask -d 'ask the daemon that runs'
complete -c postsrsd -n '__fish_seen_subcommand_from reverse' -l explain -d 'say who signed, and when'
complete -c postsrsd -n '__fish_seen_subcommand_from config' -l as -x -a 'env conf' -d 'print a file that says the same'
complete -c postsrsd -n '__fish_seen_subcommand_from check' -l skip -x -a 'settings postfix dns' -d 'leave out'
complete -c postsrsd -n '__fish_seen_subcommand_from check' -l json -d 'print JSON'
complete -c postsrsd -n '__fish_seen_subcommand_from secret' -F
complete -c postsrsd -n '__fish_seen_subcommand_from secret' -l if-missing -d 'only where there is none'
complete -c postsrsd -n '__fish_seen_subcommand_from secret' -l rotate -d 'put a new one first'
complete -c postsrsd -n __fish_use_subcommand -s 4 -d 'IPv4 alone'
complete -c postsrsd -n __fish_use_subcommand -s 6 -d 'IPv6 alone'
complete -c postsrsd -n __fish_use_subcommand -s A -d 'rewrite the SRS domain too'
complete -c postsrsd -n __fish_use_subcommand -s C -r -F -d postsrsd.conf
complete -c postsrsd -n __fish_use_subcommand -s D -d 'go to the background'
complete -c postsrsd -n __fish_use_subcommand -s N -x -d 'characters of a hash needed'
complete -c postsrsd -n __fish_use_subcommand -s X -d 'domains never rewritten, attached'
complete -c postsrsd -n __fish_use_subcommand -s a -x -a '= + -' -d separator
complete -c postsrsd -n __fish_use_subcommand -s c -x -a '(__fish_complete_directories)' -d jail
complete -c postsrsd -n __fish_use_subcommand -s d -x -d 'SRS domain'
complete -c postsrsd -n __fish_use_subcommand -s e -d 'read the environment'
complete -c postsrsd -n __fish_use_subcommand -s f -x -d 'forward port'
complete -c postsrsd -n __fish_use_subcommand -s h -l help -d 'print help'
complete -c postsrsd -n __fish_use_subcommand -s l -x -d 'listen address'
complete -c postsrsd -n __fish_use_subcommand -s n -x -d 'characters of a hash written'
complete -c postsrsd -n __fish_use_subcommand -s p -r -F -d 'pid file'
complete -c postsrsd -n __fish_use_subcommand -s r -x -d 'reverse port'
complete -c postsrsd -n __fish_use_subcommand -s s -r -F -d 'secret file'
complete -c postsrsd -n __fish_use_subcommand -s t -x -d 'idle seconds'
complete -c postsrsd -n __fish_use_subcommand -s u -x -a '(__fish_complete_users)' -d user
complete -c postsrsd -n __fish_use_subcommand -s v -l version -d 'print the version'
complete -c postsrsd -n __fish_use_subcommand -l env-file -r -F -d 'settings file'
complete -c postsrsd -n __fish_use_subcommand -l log -x -a 'stderr syslog' -d 'where the log goes'
