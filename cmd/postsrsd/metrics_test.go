package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postsrsd/tcptable"
)

// withMetrics starts a daemon that serves metrics, and returns where.
func withMetrics(t testing.TB, l launch) (d *daemon, address string) {
	t.Helper()
	port, _ := freePorts(t)
	address = "127.0.0.1:" + port
	l.env = append(l.env, clockOfTests, "SRS_METRICS=inet:"+address)
	l.flags = append(l.flags, "-e")
	return start(t, l), address
}

// scrape reads the metrics: each number by its name and labels.
func scrape(t testing.TB, network, address string) map[string]float64 {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	response, err := client.Get("http://postsrsd/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", response.Status, err)
	}
	numbers := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if numbers[name], err = strconv.ParseFloat(value, 64); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	return numbers
}

func lookups(direction, protocol, outcome string) string {
	return fmt.Sprintf("postsrsd_lookups_total{direction=%q,protocol=%q,outcome=%q}", direction, protocol, outcome)
}

// TestMetrics follows the numbers through lookups, reloads and the death of the
// worker, in the jail where there can be one.
func TestMetrics(t *testing.T) {
	dir := t.TempDir()
	flags := []string{"-Xexcluded.example"}
	if os.Geteuid() == 0 {
		jail := t.TempDir()
		os.Chmod(jail, 0o755)
		flags = append(flags, "-u", "nobody", "-c", jail)
	}
	d, address := withMetrics(t, launch{dir: dir, flags: flags})
	d.logged("metrics on " + address)
	secret := filepath.Join(dir, "secret")
	changed := time.Date(2019, 12, 1, 0, 0, 0, 0, time.UTC)

	wants := func(name string, want float64) {
		t.Helper()
		var got float64
		var there bool
		eventually(t, func() bool {
			got, there = scrape(t, "tcp", address)[name]
			return got == want && there
		}, func() string { return fmt.Sprintf("%s is %v (%v), want %v", name, got, there, want) })
	}
	wants("postsrsd_generation", 1)
	for range 3 {
		d.wants(d.forward, "test@otherdomain.com", signedByTests)
	}
	d.wants(d.forward, "test@example.com", "test@example.com")
	d.ask(d.forward, "a@excluded.example")
	d.wants(d.reverse, signedByTests, "test@otherdomain.com")
	table := dialTable(t, "tcp", d.reverse)
	table.wants("reverse", signedByTests, "OK test@otherdomain.com")
	wants(lookups("forward", "tcp", "rewritten"), 3)
	wants(lookups("forward", "tcp", "local"), 2)
	wants(lookups("reverse", "tcp", "rewritten"), 1)
	wants(lookups("reverse", "socketmap", "rewritten"), 1)
	wants("postsrsd_connections_accepted_total", 7)
	wants("postsrsd_connections_open", 1)
	wants(`postsrsd_lookup_duration_seconds_bucket{direction="forward",protocol="tcp",le="+Inf"}`, 1)

	reload := func() {
		t.Helper()
		d.signal(syscall.SIGHUP)
		d.waitFor("RELOADING=1")
		d.waitFor("READY=1")
	}
	if err := os.Chtimes(secret, changed, changed); err != nil {
		t.Fatal(err)
	}
	reload()
	wants(`postsrsd_reloads_total{result="done"}`, 1)
	wants("postsrsd_secret_changed_timestamp_seconds", float64(changed.Unix()))
	wants(lookups("forward", "tcp", "rewritten"), 3) // as before
	os.Rename(secret, secret+".away")
	reload()
	wants(`postsrsd_reloads_total{result="refused"}`, 1)
	os.Rename(secret+".away", secret)

	// Of another worker's, what the supervisor counts goes on.
	syscall.Kill(d.worker(), syscall.SIGKILL)
	d.waitFor("READY=1")
	d.wants(d.forward, "test@otherdomain.com", signedByTests)
	wants("postsrsd_generation", 2)
	wants(lookups("forward", "tcp", "rewritten"), 1)
	wants(`postsrsd_reloads_total{result="done"}`, 1)
	wants(`postsrsd_reloads_total{result="refused"}`, 1)
	wants("postsrsd_secret_changed_timestamp_seconds", float64(changed.Unix()))
	wants(`postsrsd_log_lines_lost_total{by="supervisor"}`, 0)
	wants(`postsrsd_log_lines_lost_total{by="worker"}`, 0)
}

// TestMetricsEndpoint has the endpoint come, move and go with reloads: on a
// unix socket, on a port, and on one that is taken.
func TestMetricsEndpoint(t *testing.T) {
	port, taken := freePorts(t)
	ln, err := net.Listen("tcp", "127.0.0.1:"+taken)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := newConf(t)
	d := c.start()
	reload := func(line string) {
		t.Helper()
		c.write(line)
		d.signal(syscall.SIGHUP)
		d.waitFor("RELOADING=1")
		d.waitFor("READY=1")
	}
	if strings.Contains(d.stderr.String(), "metrics") {
		t.Errorf("without being asked:\n%s", d.stderr)
	}
	reload(`metrics = "unix:$D/metrics"`)
	dialTable(t, "unix", c.socket()).wants("forward", "test@otherdomain.com", "OK "+signedBy2x)
	if got := scrape(t, "unix", c.path("metrics")); got[lookups("forward", "socketmap", "rewritten")] != 1 || got["postsrsd_generation"] != 2 {
		t.Errorf("%v", got)
	}
	reload("metrics = inet:127.0.0.1:" + port)
	if got := scrape(t, "tcp", "127.0.0.1:"+port); got["postsrsd_generation"] != 3 {
		t.Errorf("%v", got)
	}
	if _, err := os.Lstat(c.path("metrics")); err == nil {
		t.Error("the former socket is left")
	}
	reload("metrics = inet:127.0.0.1:" + taken)
	d.logged("cannot listen on 127.0.0.1:" + taken + " for metrics: address already in use (another postsrsd or another service has it: see ss -ltnp)")
	scrape(t, "tcp", "127.0.0.1:"+port)
	reload("")
	eventually(t, func() bool { // once the worker of before is gone
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, func() string { return "metrics are served that nobody wants any more" })
	c.write(`socketmap = ""`, `metrics = "unix:$D/metrics"`)
	if got, want := c.refused(), "postsrsd: $D/postsrsd.conf:4: there is nothing to listen on: set socketmap or milter"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// TestReport asks for the metrics by signal, where they are served and where
// not; a worker that gets the signal, as from a service manager that sends it
// to both, goes on.
func TestReport(t *testing.T) {
	line := regexp.MustCompile(`(?m)^metrics: .*$`)
	report := func(d *daemon) string {
		t.Helper()
		d.wants(d.forward, "test@otherdomain.com", signedByTests)
		worker := d.worker()
		syscall.Kill(worker, syscall.SIGUSR1)
		d.signal(syscall.SIGUSR1)
		d.logged("metrics: ")
		if d.worker() != worker {
			t.Error("the worker died of it")
		}
		return line.FindString(d.stderr.String())
	}
	d, _ := withMetrics(t, launch{})
	const counted = `lookups_total{direction="forward",protocol="tcp",outcome="rewritten"}=1 `
	if got := report(d); !strings.Contains(got, counted) || !strings.Contains(got, " generation=1 ") || !strings.Contains(got, "secret_changed_timestamp_seconds=") {
		t.Error(got)
	}
	off := start(t, launch{env: []string{clockOfTests}})
	if got := report(off); strings.Contains(got, "lookup") || !strings.Contains(got, "connections_accepted_total=1 ") || !strings.Contains(got, " generation=1 ") {
		t.Error(got)
	}
}

// TestMetricsUnderFire has strangers at the endpoint, many, silent and loud,
// while lookups are answered; then it answers again itself.
func TestMetricsUnderFire(t *testing.T) {
	d, address := withMetrics(t, launch{})
	for i := range 96 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		switch i % 3 {
		case 0:
			go io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 1<<20))
		case 1:
			go io.WriteString(conn, strings.Repeat("\x00\r\n\xff", 1<<18))
		}
	}
	all, end := clients(t, d, 4)
	busy(t, all)
	end()
	for _, c := range all {
		if why := c.failed.Load(); why != nil {
			t.Error(*why)
		}
	}
	// Who came before has at most 5 s each, 16 at once.
	client := http.Client{Timeout: 3 * time.Minute}
	response, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if strings.Contains(d.stderr.String(), "died") || strings.Contains(d.stderr.String(), "http") {
		t.Errorf("the log has\n%s", d.stderr)
	}
}

// TestMetricsOfOthers holds that the alerting rules and the dashboard ask for
// nothing that the program does not export, with no label that it does not
// have.
func TestMetricsOfOthers(t *testing.T) {
	_, address := withMetrics(t, launch{})
	exported := scrape(t, "tcp", address)
	names, labels := map[string]bool{}, map[string]bool{"instance": true, "job": true}
	for name := range exported {
		name, rest, _ := strings.Cut(name, "{")
		names[name] = true
		for _, label := range regexp.MustCompile(`([a-z]+)="([^"]*)"`).FindAllStringSubmatch(rest, -1) {
			labels[label[1]], labels[label[0]] = true, true
		}
	}
	for _, file := range []string{"rules.yml", "dashboard.json"} {
		text, err := os.ReadFile("../../packaging/metrics/" + file)
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.ReplaceAll(string(text), `\"`, `"`)
		asked := regexp.MustCompile(`\bpostsrsd_[a-z_]+`).FindAllString(plain, -1)
		if len(asked) < 8 {
			t.Errorf("%s asks for %q alone", file, asked)
		}
		for _, name := range asked {
			if !names[name] {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
		for _, matchers := range regexp.MustCompile(`postsrsd_[a-z_]+\{([^}]*)\}`).FindAllStringSubmatch(plain, -1) {
			for _, matcher := range strings.Split(matchers[1], ",") {
				name, _, _ := strings.Cut(matcher, "=")
				if !labels[name] || !strings.Contains(matcher, "=~") && !labels[matcher] {
					t.Errorf("%s: no metric has %s", file, matcher)
				}
			}
		}
	}
}

// TestLostLines has a log that nobody reads: the lines that do not fit are
// counted.
func TestLostLines(t *testing.T) {
	d, address := withMetrics(t, launch{wrap: []string{"sh", "-c", `mkfifo log && exec 9<>log && exec "$@" 2>log`, "sh"}})
	conn, err := net.Dial("tcp", d.forward)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, long := tcptable.NewClient(conn), strings.Repeat("x", 900)+"@otherdomain.com"
	lost := func() (n float64) {
		for name, value := range scrape(t, "tcp", address) {
			if strings.HasPrefix(name, "postsrsd_log_lines_lost_total") {
				n += value
			}
		}
		return n
	}
	eventually(t, func() bool {
		for range 2000 {
			if _, err := client.Lookup(long); err != nil {
				t.Fatal(err)
			}
		}
		d.signal(syscall.SIGHUP) // after which the worker is told what the supervisor counts
		d.waitFor("READY=1")
		return lost() > 0
	}, func() string { return "no line was lost" })
}
