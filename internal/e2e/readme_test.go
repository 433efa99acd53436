//go:build postfix

package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadme does what README.md says, word for word, in a network namespace
// of its own, as the ports there are real ones: it serves with `make run`,
// puts the lines for main.cf into a main.cf, and asks as Postfix would.
func TestReadme(t *testing.T) {
	blocks := readmeBlocks(t)
	// What the other suites run. A command that is new in the README has to be
	// run by one of them, or here.
	elsewhere := []string{
		"make test",
		"apt install ./postsrsd_*_amd64.deb", "dnf install ./postsrsd-*.x86_64.rpm",
		"postsrsd secret --rotate", "systemctl reload postsrsd",
		"postsrsd check",
	}
	// What the tests of Postfix take from here.
	for _, first := range []string{"SRS_MILTER=", "smtpd_milters", "default_transport", "127.0.0.1:10025 inet"} {
		elsewhere = append(elsewhere, readmeBlock(t, first)...)
	}
	here := []string{"make run", "postmap -q alice@example.org tcp:localhost:10001", "postconf sender_canonical_maps"}
	var mainCF []string
	for _, block := range blocks {
		for _, line := range block {
			switch {
			case slices.Contains(elsewhere, line) || slices.Contains(here, line):
			case strings.Contains(line, " = "):
				mainCF = append(mainCF, line)
			default:
				t.Errorf("README.md has a line that no test runs: %q", line)
			}
		}
	}
	for _, command := range here {
		if !slices.ContainsFunc(blocks, func(b []string) bool { return slices.Contains(b, command) }) {
			t.Errorf("README.md does not say %q", command)
		}
	}

	// `make run`, as long as standard input stays open.
	serve := exec.Command("unshare", "--net", "sh", "-c", `ip link set lo up && exec make run`)
	serve.Dir = "../.."
	serve.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	serve.Stderr = os.Stderr
	output, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		syscall.Kill(-serve.Process.Pid, syscall.SIGINT)
		serve.Wait()
	}()
	var said []string
	started := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			said = append(said, strings.TrimSpace(lines.Text()))
			if strings.HasPrefix(lines.Text(), "Interrupt to end") {
				started <- true
				break
			}
		}
		started <- false
	}()
	select {
	case ok := <-started:
		if !ok {
			t.Fatalf("make run said:\n%s", strings.Join(said, "\n"))
		}
	case <-time.After(5 * time.Minute):
		t.Fatal("make run does not serve")
	}
	for _, line := range mainCF {
		if !slices.Contains(said, line) {
			t.Errorf("make run does not show %q", line)
		}
	}

	dir := t.TempDir()
	text := strings.Join(append(mainCF, "inet_protocols = ipv4", "queue_directory = /var/spool/postfix", ""), "\n")
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]string{
		here[1]: "=example.org=alice@example.com",
		here[2]: "sender_canonical_maps = tcp:localhost:10001",
	} {
		run := exec.Command("nsenter", "--net=/proc/"+strconv.Itoa(serve.Process.Pid)+"/ns/net", "sh", "-c", command)
		run.Env = append(os.Environ(), "MAIL_CONFIG="+dir)
		out, err := run.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v: %s", command, err, out)
		}
	}
}

// readmeBlock returns the block of README.md that begins so.
func readmeBlock(t *testing.T, first string) []string {
	t.Helper()
	for _, block := range readmeBlocks(t) {
		if strings.HasPrefix(block[0], first) {
			return block
		}
	}
	t.Fatalf("README.md has no block that begins %q", first)
	return nil
}

// readmeBlocks returns the indented blocks of README.md, a line each.
func readmeBlocks(t *testing.T) (blocks [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var block []string
	for line := range strings.Lines(string(text) + "\n") {
		if code, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    "); ok {
			block = append(block, code)
		} else if len(block) > 0 {
			blocks = append(blocks, block)
			block = nil
		}
	}
	if len(blocks) == 0 {
		t.Fatal("README.md has no blocks")
	}
	return blocks
}
