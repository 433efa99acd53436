package config

// Scope is where a variable is read.
type Scope int

const (
	Everywhere      Scope = iota // in settings files, and in the environment with -e
	FileOnly                     // in settings files
	EnvironmentOnly              // in the environment with -e
	Always                       // in the environment, with or without -e
)

// Setting is one thing that an administrator can say, with every way to say it.
// A setting without Name is an action of the command line.
type Setting struct {
	Name     string // the field of Config, the key of Config.Sources; "" for an action
	Short    string // the flag's letter, "" for none
	Long     string // the long option, "" for none
	Arg      string // what the flag's argument is called, "" for a flag without one
	Optional bool   // the flag's argument may be missing and is only read when attached
	Common   bool   // the flag says how to run, not what to serve: files are read as in a call without it
	Variable string // "" for none
	Scope    Scope  // where Variable is read
	Default  string // what is built in, "" for nothing
	Adds     bool   // what is said at several places adds up
	Launcher string // the launcher's default, which holds instead where a settings file is read; "" for none
	Key      string // in postsrsd.conf, "" for none
	Conf     string // what is built in where a postsrsd.conf is read, "" for nothing
	Help     string // one line
	KeyHelp  string // one line on the key, where Help does not fit it
	set      func(c *Config, value string) error
	setKey   func(c *Config, value string) error // the key's notation, where it is another
}

// longestHash is how many characters of the hash a postsrsd.conf may ask for.
const longestHash = 20

// Settings lists every setting in the order of the help text, which is also the
// order of checking. It is not to be changed.
var Settings = []Setting{
	{Name: "Domain", Short: "d", Arg: "DOMAIN", Variable: "SRS_DOMAIN", Key: "srs-domain", set: setDomain,
		Help: "rewrite senders into this domain; of user@domain only the domain counts"},
	{Name: "SecretFile", Short: "s", Arg: "FILE", Variable: "SRS_SECRET", Launcher: "/etc/postsrsd.secret", Key: "secrets-file", Conf: "/etc/postsrsd.secret", set: setSecretFile,
		Help: "read the secrets from FILE, one a line; the first signs, all verify"},
	{Name: "SecretLength", Variable: "SRS_SECRET_LENGTH", Default: "16", Conf: "16",
		set:  number(1, maxSecret, func(c *Config) *int { return &c.SecretLength }),
		Help: "characters of a secret that is generated; shorter secrets are warned of"},
	{Name: "Separator", Short: "a", Arg: "CHAR", Variable: "SRS_SEPARATOR", Default: "=", Launcher: "=", Key: "separator", Conf: "=", set: setSeparator,
		Help: "write CHAR after SRS0 and SRS1: one of = + -"},
	{Name: "HashLength", Short: "n", Arg: "NUM", Variable: "SRS_HASHLENGTH", Default: "4", Launcher: "4", Key: "hash-length", Conf: "4",
		set: hashNumber(func(c *Config) *int { return &c.HashLength }), setKey: anyBase(number(1, longestHash, func(c *Config) *int { return &c.HashLength })),
		Help: "characters of the hash in an address, 1 to 27", KeyHelp: "characters of the hash in an address, 1 to 20 [4]"},
	{Name: "HashMin", Short: "N", Arg: "NUM", Variable: "SRS_HASHMIN", Default: "4", Launcher: "4", Key: "hash-minimum", Conf: "4",
		set: hashNumber(func(c *Config) *int { return &c.HashMin }), setKey: anyBase(number(1, longestHash, func(c *Config) *int { return &c.HashMin })),
		Help: "accept hashes of at least NUM characters"},
	{Name: "Alphabet", Variable: "SRS_ALPHABET", Default: "+/", Key: "alphabet", Conf: "-_", set: setAlphabet,
		Help: "the last two characters of a hash's alphabet: +/ as 1.x or -_ as 2.x writes them"},
	{Name: "AlwaysRewrite", Short: "A", Key: "always-rewrite", set: func(c *Config, v string) error { c.AlwaysRewrite = v != ""; return nil },
		setKey: onOff(func(c *Config, on bool) { c.AlwaysRewrite = on }),
		Help:   "rewrite senders in the SRS domain too"},
	{Name: "Excluded", Short: "X", Arg: "LIST", Optional: true, Adds: true, Variable: "SRS_EXCLUDE_DOMAINS", set: addExcluded,
		Help: "never rewrite senders in these domains (.domain: in its subdomains); may be repeated"},
	{Name: "Domains", Adds: true, Variable: "SRS_DOMAINS", Key: "domains", set: addDomains,
		Help: "domains that are our own (.domain: its subdomains): their senders stay as they are"},
	{Name: "DomainsFile", Variable: "SRS_DOMAINS_FILE", Key: "domains-file", set: func(c *Config, v string) error { c.DomainsFile = v; return nil },
		Help: "a file of more such domains, one a line"},
	{Name: "DomainsFileWatch", Variable: "SRS_DOMAINS_FILE_WATCH", Default: "off", Key: "domains-file-watch", Conf: "off",
		set:  onOff(func(c *Config, on bool) { c.DomainsFileWatch = on }),
		Help: "on: read everything again when that file changes"},
	{Name: "OriginalEnvelope", Variable: "SRS_ORIGINAL_ENVELOPE", Default: "embedded", Key: "original-envelope", Conf: "embedded", set: setOriginalEnvelope,
		Help: "where original senders are kept: embedded, database, or auto: embedded in what fits 64 octets"},
	{Name: "Database", Variable: "SRS_ENVELOPE_DATABASE", Key: "envelope-database", set: setDatabase,
		Help: "that database: sqlite:PATH, redis:HOST:PORT or redis:/SOCKET"},

	{Name: "ListenAddr", Short: "l", Arg: "ADDR", Variable: "SRS_LISTEN_ADDR", Scope: FileOnly, Launcher: "127.0.0.1", set: setListenAddr,
		Help: "listen on ADDR alone instead of 127.0.0.1 and ::1"},
	{Name: "ForwardPort", Short: "f", Arg: "PORT", Variable: "SRS_FORWARD_PORT", Default: "10001", Launcher: "10001",
		set:  port(func(c *Config) *string { return &c.ForwardPort }),
		Help: "port or service name for the lookup of senders"},
	{Name: "ReversePort", Short: "r", Arg: "PORT", Variable: "SRS_REVERSE_PORT", Default: "10002", Launcher: "10002",
		set:  port(func(c *Config) *string { return &c.ReversePort }),
		Help: "port or service name for the lookup of recipients"},
	{Name: "Family", Short: "4", set: setFamily,
		Help: "listen on IPv4 alone"},
	{Name: "Family", Short: "6", set: setFamily,
		Help: "listen on IPv6 alone"},
	// The launcher seen has no flag for this variable: a -t in
	// SRS_EXTRA_OPTIONS holds unless the variable is set.
	{Name: "IdleTimeout", Short: "t", Arg: "SECONDS", Variable: "SRS_TIMEOUT", Default: "1800", Key: "keep-alive", Conf: "30", set: setIdleTimeout, setKey: anyBase(setIdleTimeout),
		Help: "close connections that ask nothing for so long; 0: never"},
	{Name: "ConnectionLimit", Variable: "SRS_CONNECTION_LIMIT", Default: "4096", Key: "connection-limit", Conf: "200",
		set:    number(1, 1_000_000, func(c *Config) *int { return &c.ConnectionLimit }),
		setKey: anyBase(number(1, 1_000_000, func(c *Config) *int { return &c.ConnectionLimit })),
		Help:   "serve so many connections at once; more wait"},
	{Name: "RequestLimit", Variable: "SRS_REQUEST_LIMIT", Default: "32768", Conf: "512",
		set:  requestLimit,
		Help: "bytes of the longest request"},
	{Name: "Socketmap", Variable: "SRS_SOCKETMAP", Key: "socketmap", Conf: "unix:/var/spool/postfix/srs", set: endpoint(func(c *Config) *Endpoint { return &c.Socketmap }),
		Help: "serve socketmap at unix:PATH, inet:HOST:PORT or inet:PORT"},
	{Name: "SocketMode", Variable: "SRS_SOCKET_MODE", Default: "0666", Key: "socket-mode", Conf: "0666", set: setSocketMode,
		Help: "who may connect to unix sockets, as for chmod"},
	{Name: "SocketOwner", Variable: "SRS_SOCKET_OWNER", Key: "socket-owner", set: func(c *Config, v string) error { c.SocketOwner = v; return nil },
		Help: "USER, USER:GROUP or :GROUP that unix sockets belong to"},
	{Name: "Metrics", Variable: "SRS_METRICS", Key: "metrics", set: endpoint(func(c *Config) *Endpoint { return &c.Metrics }),
		Help: "serve metrics for Prometheus at unix:PATH or inet:HOST:PORT"},

	{Name: "Milter", Variable: "SRS_MILTER", Key: "milter", set: endpoint(func(c *Config) *Endpoint { return &c.Milter }),
		Help: "serve a milter at unix:PATH, inet:HOST:PORT or inet:PORT"},
	{Name: "MilterRewriteLocal", Variable: "SRS_MILTER_REWRITE_LOCAL", Default: "off", Key: "milter-rewrite-local", Conf: "off",
		set:  onOff(func(c *Config, on bool) { c.MilterRewriteLocal = on }),
		Help: "on: the milter rewrites senders of mail that stays here too"},
	{Name: "MilterRecipientLimit", Variable: "SRS_MILTER_RECIPIENT_LIMIT", Default: "1000", Key: "milter-recipient-limit", Conf: "1000",
		set:    number(0, 1_000_000, func(c *Config) *int { return &c.MilterRecipientLimit }),
		setKey: anyBase(number(0, 1_000_000, func(c *Config) *int { return &c.MilterRecipientLimit })),
		Help:   "the milter looks at so many recipients of a message; more are left as they are, and the sender is rewritten"},
	{Name: "AliasMaps", Adds: true, Variable: "SRS_MILTER_ALIAS_MAPS", Key: "milter-alias-maps", set: addAliasMaps,
		Help: "tables that tell the milter where mail to local recipients goes: texthash:PATH, tcp:HOST:PORT, socketmap:inet:HOST:PORT:NAME, socketmap:unix:PATH:NAME"},

	{Name: "Chroot", Short: "c", Arg: "DIR", Common: true, Variable: "CHROOT", Launcher: "/var/lib/postsrsd", Key: "chroot-dir",
		set:  func(c *Config, v string) error { c.Chroot = v; return nil },
		Help: "jail the serving process in DIR"},
	{Name: "User", Short: "u", Arg: "USER", Common: true, Variable: "RUN_AS", Launcher: "postsrsd", Key: "unprivileged-user",
		set:  func(c *Config, v string) error { c.User = v; return nil },
		Help: "serve as USER"},
	{Name: "PIDFile", Short: "p", Arg: "FILE", Common: true, Variable: "SRS_PID_FILE", Scope: EnvironmentOnly, Key: "pid-file",
		set:  func(c *Config, v string) error { c.PIDFile = v; return nil },
		Help: "write the process id to FILE"},
	{Name: "Daemonize", Short: "D", Common: true, Key: "daemonize", set: func(c *Config, v string) error { c.Daemonize = v != ""; return nil },
		setKey: onOff(func(c *Config, on bool) { c.Daemonize = on }),
		Help:   "go to the background"},
	{Name: "Log", Long: "log", Arg: "stderr|syslog", Common: true, Key: "syslog", Conf: "stderr", set: setLog, setKey: onOff(setSyslog),
		Help: "log there; without it syslog, or stderr under a service manager", KeyHelp: "on: log to syslog instead of stderr [off]"},
	{Name: "FakeTime", Variable: "POSTSRSD_FAKETIME", Scope: Always, set: setFakeTime,
		Help: "set the clock to this Unix time, for tests"},

	{Short: "C", Arg: "FILE", Common: true, Help: "read the postsrsd.conf FILE, in the notation of PostSRSd 2.x"},
	{Short: "e", Help: "read the variables of the environment, at this place among the flags"},
	{Long: "env-file", Arg: "FILE", Common: true, Help: "read the settings file FILE, not the usual ones; may be repeated, files that are missing are skipped unless there is but one"},
	{Variable: "SRS_EXTRA_OPTIONS", Scope: FileOnly, Help: "flags, split at white space, that come before everything the file's other variables say"},
	{Short: "h", Long: "help", Help: "print this help"},
	{Short: "v", Long: "version", Help: "print the version"},
}

// byVariable finds the setting of a variable, nil when there is none.
func byVariable(name string) *Setting {
	for i := range Settings {
		if Settings[i].Variable == name && name != "" {
			return &Settings[i]
		}
	}
	return nil
}
