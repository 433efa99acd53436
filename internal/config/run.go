package config

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const maxOutput = 1 << 20 // bytes of each stream that a program may write

// searchPath is where programs are looked for: the environment's PATH, or where
// it has none the one that service managers give.
func (ld *loading) searchPath() string {
	if path, _ := ld.getenv("PATH"); path != "" {
		return path
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// output is what a program that was run left behind.
type output struct {
	stdout, stderr, report []byte // report is what it wrote to descriptor 3
	state                  string // its exit status in words
}

// run runs a program of the administrator's with little but PATH in its
// environment, for as long as Patience lasts, and kills what is left of its
// process group then.
func (ld *loading) run(name string, args ...string) (output, error) {
	path := ld.searchPath()
	name, err := lookPath(name, path)
	if err != nil {
		return output{}, err
	}
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=" + path}
	if v, ok := ld.getenv("MAIL_CONFIG"); ok {
		cmd.Env = append(cmd.Env, "MAIL_CONFIG="+v)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	ctx, cancel := context.WithTimeoutCause(context.Background(), ld.Patience, fmt.Errorf("%s did not end within %v", name, ld.Patience))
	defer cancel()
	ctx, tooMuch := context.WithCancelCause(ctx)
	defer tooMuch(nil)

	var streams [3]stream
	defer func() {
		for i := range streams {
			streams[i].close()
		}
	}()
	for i := range streams {
		if err := streams[i].open(); err != nil {
			return output{}, err
		}
	}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = streams[0].w, streams[1].w, []*os.File{streams[2].w}
	if err := cmd.Start(); err != nil {
		return output{}, err
	}
	kill := func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	stop := context.AfterFunc(ctx, kill)
	for i := range streams {
		streams[i].collect(func() { tooMuch(fmt.Errorf("%s writes more than %d bytes", name, maxOutput)) })
	}
	waitErr := cmd.Wait()
	stop()
	kill()
	for i := range streams {
		streams[i].finish()
	}
	if ctx.Err() != nil {
		return output{}, context.Cause(ctx)
	}
	state := "exit status 0"
	if waitErr != nil {
		state = waitErr.Error()
	}
	return output{streams[0].data, streams[1].data, streams[2].data, state}, nil
}

// stream collects what a program writes to one pipe.
type stream struct {
	r, w *os.File
	data []byte
	done chan struct{}
}

func (s *stream) open() (err error) {
	s.r, s.w, err = os.Pipe()
	return err
}

// collect reads in the background, of at most maxOutput bytes; on more it calls tooMuch.
func (s *stream) collect(tooMuch func()) {
	s.w.Close()
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.data, _ = io.ReadAll(io.LimitReader(s.r, maxOutput+1))
		if len(s.data) > maxOutput {
			tooMuch()
		}
	}()
}

// finish waits for the end of the stream, though not for a process that left
// the group and holds it open.
func (s *stream) finish() {
	s.r.SetReadDeadline(time.Now().Add(time.Second))
	<-s.done
}

func (s *stream) close() {
	if s.r != nil {
		s.r.Close()
		s.w.Close()
	}
}

// lookPath finds a program in the directories of path.
func lookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return file, nil
		}
	}
	return "", exec.ErrNotFound
}
