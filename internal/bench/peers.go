//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fetchPeer downloads Debian's postsrsd below dir without installing it.
func fetchPeer(ctx context.Context, dir string) (binary, version string, err error) {
	dir = filepath.Join(dir, "peer")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", "", err
	}
	if _, err := output(ctx, dir, "apt-get", "-o", "APT::Sandbox::User=root", "download", "postsrsd"); err != nil {
		return "", "", fmt.Errorf("fetch Debian's postsrsd (after apt-get update, on Debian or a descendant): %w", err)
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) != 1 {
		return "", "", fmt.Errorf("fetch Debian's postsrsd: %d packages came instead of one", len(packages))
	}
	version, err = output(ctx, dir, "dpkg-deb", "-f", packages[0], "Version")
	if err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(version, "1.") {
		return "", "", fmt.Errorf("the package fetched is postsrsd %s: this compares with a 1.x", version)
	}
	if _, err := output(ctx, dir, "dpkg-deb", "-x", packages[0], "."); err != nil {
		return "", "", err
	}
	return filepath.Join(dir, "usr/sbin/postsrsd"), version, nil
}

// buildOurs builds the daemon of this source tree as it is released.
func buildOurs(ctx context.Context, root, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "postsrsd")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/postsrsd")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	_, err = run(build)
	return binary, err
}

// compileEcho compiles the C echo server. Without a C compiler it returns "".
func compileEcho(ctx context.Context, dir string) (binary string, err error) {
	compiler, err := exec.LookPath("cc")
	if err != nil {
		return "", nil
	}
	source := filepath.Join(dir, "echo.c")
	if err := os.WriteFile(source, []byte(echoC), 0o644); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "echo")
	_, err = output(ctx, dir, compiler, "-O2", "-o", binary, source)
	return binary, err
}

// output runs a command to its end in dir and returns what it printed; its
// error holds what it complained about.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	return run(command)
}

func run(command *exec.Cmd) (string, error) {
	text, err := command.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(command.Path), err)
	}
	return strings.TrimSpace(string(text)), nil
}

// A server is a program under measurement, before it is started.
type server struct {
	argv     []string
	forward  int // port
	reverse  int
	question func(sender, rewritten string) (forward, reverse question)
}

const (
	homeDomain      = "srs.example"
	excludedDomains = 100_000
	argumentLimit   = 100_000 // bytes; the kernel takes no single argument above 128 KiB
)

// daemon is a postsrsd, Debian's or ours, with the flags both know.
func daemon(binary, secrets string, forward int, more ...string) server {
	reverse := forward + 1
	return server{
		argv: append([]string{binary, "-s", secrets, "-d", homeDomain, "-l", "127.0.0.1",
			"-f", strconv.Itoa(forward), "-r", strconv.Itoa(reverse)}, more...),
		forward:  forward,
		reverse:  reverse,
		question: tcpQuestions,
	}
}

// exclusions are flags that exclude n domains nobody asks for.
func exclusions(n int) []string {
	var flags []string
	flag := []byte("-X")
	for i := range n {
		flag = fmt.Appendf(flag, "d%05d.example,", i)
		if len(flag) > argumentLimit || i == n-1 {
			flags = append(flags, string(flag[:len(flag)-1]))
			flag = flag[:len("-X")]
		}
	}
	return flags
}

// A process is a started server.
type process struct {
	command *exec.Cmd
	errors  bytes.Buffer
	ended   chan struct{}
}

const (
	startLimit = 30 * time.Second
	stopLimit  = 5 * time.Second
)

// start runs argv and waits until it answers the question; took is the time
// from before the fork to that first answer.
func start(argv []string, first *endpoint) (p *process, took time.Duration, err error) {
	p = &process{command: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	p.command.Stderr = &p.errors
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := time.Now()
	if err := p.command.Start(); err != nil {
		return nil, 0, err
	}
	go func() {
		p.command.Wait() // how it ended is in ProcessState
		close(p.ended)
	}()
	for {
		fd, err := dialAsked(first, 0)
		if err == nil {
			took = time.Since(begin)
			unix.Close(fd)
			return p, took, nil
		}
		if !errors.Is(err, unix.ECONNREFUSED) || time.Since(begin) > startLimit {
			return nil, 0, errors.Join(fmt.Errorf("%s does not answer: %w", argv[0], err), p.stop())
		}
		select {
		case <-p.ended:
			return nil, 0, fmt.Errorf("%s ended at once: %v: %s", argv[0], p.command.ProcessState, &p.errors)
		case <-time.After(100 * time.Microsecond):
		}
	}
}

// stop asks the process to end and leaves nothing of its group behind.
func (p *process) stop() error {
	pid := p.command.Process.Pid
	var err error
	unix.Kill(pid, unix.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		err = fmt.Errorf("%s: still there %v after SIGTERM", p.command.Path, stopLimit)
	}
	unix.Kill(-pid, unix.SIGKILL)
	<-p.ended
	for { // children of the daemon are ours now: this is process 1 of its namespace
		if _, gone := unix.Wait4(-pid, nil, 0, nil); gone != nil && gone != unix.EINTR {
			return err
		}
	}
}
