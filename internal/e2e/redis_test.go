//go:build postfix

package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// redis is a Redis server that has every write on the disk before it answers.
type redis struct {
	t         *testing.T
	dir, port string
	cmd       *exec.Cmd
}

func startRedis(t *testing.T) *redis {
	t.Helper()
	r := &redis{t: t, dir: t.TempDir(), port: freePort(t)}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *redis) start() {
	r.t.Helper()
	r.cmd = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", r.port, "--dir", r.dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "")
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	waitFor(r.t, "Redis", func() bool {
		out, _ := exec.Command("redis-cli", "-p", r.port, "PING").Output()
		return string(out) == "PONG\n"
	})
}

func (r *redis) kill() {
	r.cmd.Process.Signal(syscall.SIGKILL)
	r.cmd.Wait()
}

// cli runs redis-cli and returns what it prints.
func (r *redis) cli(arguments ...string) string {
	r.t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-p", r.port}, arguments...)...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("redis-cli %q: %v\n%s", arguments, err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// env has a daemon that is started with -e store senders there.
func (r *redis) env(mode string) []string {
	return []string{"SRS_ORIGINAL_ENVELOPE=" + mode, "SRS_ENVELOPE_DATABASE=redis:localhost:" + r.port}
}

// startHost starts a mail host whose daemon has these variables.
func startHost(t *testing.T, env []string) *site {
	t.Helper()
	s := &site{layout: layouts[1], protocol: tcp, world: startSink(t)}
	s.stored = len(env) > 0
	s.daemon = startDaemon(t, daemonConfig{domain: s.srsDomain, secret: secret, clock: today, flags: []string{"-e", "-X" + s.excluded}, env: env})
	s.startPostfix(t, s.daemon.forwardMap(tcp), s.daemon.reverseMap(tcp), "n")
	return s
}

// TestSeveralHosts has two hosts with the same secret and domain: bounces to
// what one wrote arrive at the other.
func TestSeveralHosts(t *testing.T) {
	shared := startRedis(t)
	for name, env := range map[string][]string{"embedded": nil, "database": shared.env("database")} {
		t.Run(name, func(t *testing.T) {
			hosts := []*site{startHost(t, env), startHost(t, env)}
			for i, one := range hosts {
				other := hosts[1-i]
				for _, sender := range []string{"user@example.org", `"a b"@example.org`, "SRS0=abcd=2W=example.org=user@relay1.test"} {
					token := newToken()
					send(t, one.postfix.addr, sender, "forward@example.com", mailText(sender, "forward@example.com", token))
					forwarded := one.world.take(t, token)
					if forwarded.from == sender || env != nil && strings.Contains(forwarded.from, "=1=") != !strings.HasPrefix(sender, "SRS0") {
						t.Errorf("%s was forwarded as %s", sender, forwarded.from)
					}
					token = newToken()
					send(t, other.postfix.addr, "", forwarded.from, mailText("MAILER-DAEMON@example.net", forwarded.from, token))
					if bounce := other.world.take(t, token); len(bounce.to) != 1 || bounce.to[0] != sender {
						t.Errorf("the bounce to %s went to %q, want %s", forwarded.from, bounce.to, sender)
					}
				}
			}
			if env != nil {
				t.Run("forward", hosts[0].testForward)
				t.Run("untouched", hosts[0].testUntouched)
				t.Run("returned by the next host", hosts[0].testReturned)
			}
		})
	}
}

// TestRedis holds PostSRSd 2.x's format, and what becomes of mail when Redis
// has trouble. Postmap complains of every answer that would defer mail.
func TestRedis(t *testing.T) {
	server := startRedis(t)
	host := startHost(t, server.env("database"))
	lookUp := func(table, key string) string {
		t.Helper()
		out, found := host.postfix.postmap(t, table, key, "")
		if !found {
			return ""
		}
		return strings.TrimSuffix(out, "\n")
	}
	forward := func(sender string) string { t.Helper(); return lookUp(host.daemon.forwardMap(tcp), sender) }
	reverse := func(address string) string { t.Helper(); return lookUp(host.daemon.reverseMap(tcp), address) }
	stored := func(address string) bool { return strings.Contains(address, "=2W=1=") }
	const (
		key   = "PostSRSd/DCJGDE6N24LCRT41A4T0G1UIF0DTKKQJ@1"
		alias = "SRS0=bxzH=2W=1=DCJGDE6N24LCRT41A4T0G1UIF0DTKKQJ@example.com"
	)

	t.Run("format", func(t *testing.T) {
		if got := reverse(alias); got != "" {
			t.Errorf("an unknown alias is %s", got)
		}
		server.cli("SETEX", key, "1000", "test@otherdomain.com") // as 2.x does
		if got := reverse(alias); got != "test@otherdomain.com" {
			t.Errorf("2.x's alias is %q", got)
		}
		for range 2 { // one that is there, and a new one
			if got := forward("test@otherdomain.com"); got != alias {
				t.Errorf("forwarded as %s", got)
			}
			if got := server.cli("GET", key); got != "test@otherdomain.com" {
				t.Errorf("stored %q", got)
			}
			if seconds, _ := strconv.Atoi(server.cli("TTL", key)); seconds > 1814400 || seconds < 1814400-600 {
				t.Errorf("stored for %d seconds", seconds)
			}
			server.cli("DEL", key)
		}
		forward("SRS0=abcd=2W=example.org=user@relay1.test")
		forward("user@example.com")
		if got := server.cli("DBSIZE"); got != "0" {
			t.Errorf("%s keys: %s", got, server.cli("KEYS", "*"))
		}
		server.cli("SETEX", key, "1000", "a@b\r\nc")
		if got := reverse(alias); got != "" {
			t.Errorf("what is no address is %q", got)
		}
		server.cli("DEL", key)
		server.cli("LPUSH", key, "a@b")
		if got := reverse(alias); got != "" {
			t.Errorf("what is no string is %q", got)
		}
		server.cli("DEL", key)
		waitFor(t, "aliases to be looked up again", func() bool { return forward("test@otherdomain.com") == alias && reverse(alias) != "" })
	})

	// trouble has Redis not take senders, then take them again.
	trouble := func(name string, begin, end func(), reads bool) {
		t.Run(name, func(t *testing.T) {
			if got := forward("test@otherdomain.com"); got != alias {
				t.Fatalf("forwarded as %s before", got)
			}
			begin()
			began := time.Now()
			for i := range 20 {
				if got := forward(fmt.Sprintf("new%d@example.org", i)); got == "" || stored(got) {
					t.Errorf("forwarded as %q meanwhile", got)
				}
				if got := reverse(alias); reads != (got != "") {
					t.Errorf("reversed to %q meanwhile", got)
				}
			}
			if took := time.Since(began); took > patience {
				t.Errorf("40 lookups took %v", took)
			}
			end()
			waitFor(t, "senders to be stored again", func() bool { return stored(forward("new@example.org")) })
			waitFor(t, "aliases to be looked up again", func() bool { return reverse(alias) == "test@otherdomain.com" })
		})
	}
	trouble("slow", func() { server.cmd.Process.Signal(syscall.SIGSTOP) }, func() { server.cmd.Process.Signal(syscall.SIGCONT) }, false)
	trouble("full", func() { server.cli("CONFIG", "SET", "maxmemory", "1") }, func() { server.cli("CONFIG", "SET", "maxmemory", "0") }, true)
	trouble("down", server.kill, server.start, false)
	trouble("read-only", func() { server.cli("REPLICAOF", "127.0.0.1", "1") }, func() { server.cli("REPLICAOF", "NO", "ONE") }, true)

	t.Run("restarted", func(t *testing.T) {
		var given sync.Map
		stop := make(chan bool)
		var clients sync.WaitGroup
		for c := range 4 {
			clients.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					sender := fmt.Sprintf("r%d.%d@example.org", c, i)
					given.Store(sender, forward(sender))
				}
			})
		}
		for range 3 {
			time.Sleep(500 * time.Millisecond) // as long as anything; lookups go on
			server.kill()
			server.start()
		}
		close(stop)
		clients.Wait()
		waitFor(t, "aliases to be looked up", func() bool { return reverse(alias) != "" })
		aliases, embedded := 0, 0
		given.Range(func(sender, address any) bool {
			if got := reverse(address.(string)); got != sender {
				t.Errorf("%s was forwarded as %q, which is %q", sender, address, got)
			}
			if stored(address.(string)) {
				aliases++
			} else {
				embedded++
			}
			return true
		})
		if aliases == 0 {
			t.Error("no sender was stored")
		}
		t.Logf("%d senders stored, %d embedded", aliases, embedded)
	})

	t.Run("auto", func(t *testing.T) {
		auto := startDaemon(t, daemonConfig{domain: ownDomain, secret: secret, clock: today, flags: []string{"-e"}, env: server.env("auto")})
		for sender, want := range map[string]bool{"short@example.org": false, strings.Repeat("x", 50) + "@example.org": true} {
			got := lookUp(auto.forwardMap(tcp), sender)
			if got == "" || stored(got) != want || reverse(got) != sender {
				t.Errorf("%s: %s", sender, got)
			}
		}
	})

	t.Run("flood", func(t *testing.T) {
		server.cli("FLUSHALL")
		flooded := startDaemon(t, daemonConfig{domain: ownDomain, secret: secret, clock: today, flags: []string{"-e"}, env: server.env("database")})
		var senders strings.Builder
		const invented = 20500
		for i := range invented {
			fmt.Fprintf(&senders, "invented%d@example.org\n", i)
		}
		out, _ := host.postfix.postmap(t, flooded.forwardMap(tcp), "-", senders.String())
		kept, _ := strconv.Atoi(server.cli("DBSIZE"))
		// Some come to it while that runs.
		if kept < 20000 || kept > 20400 || strings.Count(out, "=2W=1=") != kept || strings.Count(out, "\n") != invented {
			t.Errorf("%d are stored, %d given out", kept, strings.Count(out, "=2W=1="))
		}
		if got := lookUp(flooded.forwardMap(tcp), "invented0@example.org"); !stored(got) {
			t.Errorf("one that is there already is forwarded as %s", got)
		}
	})
}

// TestRedisSocket has Redis at a unix socket in the daemon's jail.
func TestRedisSocket(t *testing.T) {
	jail := t.TempDir()
	cmd := exec.Command("redis-server", "--port", "0", "--unixsocket", jail+"/redis", "--unixsocketperm", "777", "--dir", jail, "--save", "")
	startProcess(t, cmd)
	waitFor(t, "Redis", func() bool {
		conn, err := net.Dial("unix", jail+"/redis")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	exec.Command("chmod", "755", jail).Run()
	d := startDaemon(t, daemonConfig{domain: ownDomain, secret: secret, clock: today, flags: []string{"-e", "-u", "nobody", "-c", jail},
		env: []string{"SRS_ORIGINAL_ENVELOPE=database", "SRS_ENVELOPE_DATABASE=redis:" + jail + "/redis"}})
	for _, table := range []struct{ name, key, want string }{
		{d.forwardMap(tcp), "test@otherdomain.com", "SRS0=bxzH=2W=1=DCJGDE6N24LCRT41A4T0G1UIF0DTKKQJ@example.com"},
		{d.reverseMap(tcp), "SRS0=bxzH=2W=1=DCJGDE6N24LCRT41A4T0G1UIF0DTKKQJ@example.com", "test@otherdomain.com"},
	} {
		if out, err := exec.Command("postmap", "-q", table.key, table.name).CombinedOutput(); string(out) != table.want+"\n" {
			t.Errorf("%s: %s, %v", table.key, out, err)
		}
	}
}
