package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postsrsd/internal/config"
)

// places looks at where the daemon makes sockets and its pid file.
func (r *run) places() {
	c := r.Config
	if len(c.Ways()) == 0 && r.Milter == (config.Endpoint{}) {
		r.found(Error, source(c, "Socketmap"), "set "+r.name("Socketmap"), stops+"there is nothing to listen on")
	}
	if c.PIDFile != "" {
		r.directory("PIDFile", c.PIDFile)
	}
	if c.ForwardPort != "" && c.ListenAddr != "" {
		r.address("ListenAddr", c.ListenAddr)
	}
	r.endpoint("Socketmap", c.Socketmap)
	r.endpoint("Milter", r.Milter)
	r.endpoint("Metrics", c.Metrics)
	r.owner(c.SocketOwner)
}

func (r *run) endpoint(setting string, e config.Endpoint) {
	switch {
	case e.Path != "":
		r.directory(setting, e.Path)
		if info, err := os.Lstat(e.Path); err == nil && info.Mode().Type() != fs.ModeSocket {
			r.found(Error, source(r.Config, setting), "take it away", stops+"something is at %s that is no socket", e.Path)
		}
	case e.Host != "":
		r.address(setting, e.Host)
	}
}

// directory looks whether there is one for what is to be made at path.
func (r *run) directory(setting, path string) {
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrPermission):
		r.unseen(dir, "run this as root", "the directory cannot be looked at by this user")
	case err != nil:
		r.found(Error, source(r.Config, setting), "mkdir "+dir, stops+"there is no directory %s for %s", dir, path)
	case !info.IsDir():
		r.found(Error, source(r.Config, setting), "write another path", stops+"%s is no directory", dir)
	}
}

// address looks whether this host has it.
func (r *run) address(setting, host string) {
	ln, err := new(net.ListenConfig).Listen(r.ctx, "tcp", net.JoinHostPort(host, "0"))
	if err == nil {
		ln.Close()
		return
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	r.found(Error, source(r.Config, setting), "write an address of this host", stops+"it cannot listen on %s: %v", host, err)
}

// owner looks whether there are those whom sockets are to belong to.
func (r *run) owner(text string) {
	name, group, _ := strings.Cut(text, ":")
	known := func(err error, id string) bool {
		_, no := strconv.Atoi(id)
		return id == "" || err == nil || no == nil
	}
	_, err := user.Lookup(name)
	_, wrong := user.LookupGroup(group)
	switch {
	case !known(err, name):
		r.found(Error, source(r.Config, "SocketOwner"), "write a user of this host", stops+"%v", err)
	case !known(wrong, group):
		r.found(Error, source(r.Config, "SocketOwner"), "write a group of this host", stops+"%v", wrong)
	}
}

// metrics asks for them as Prometheus does.
func (r *run) metrics(e config.Endpoint) {
	if e == (config.Endpoint{}) {
		return
	}
	where := source(r.Config, "Metrics")
	conn, err := r.dialMetrics(e)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		r.found(Warning, where, "start postsrsd, or reload it", "nobody serves metrics at %s", e)
		return
	case err != nil:
		r.unseen(where, "", "%v", err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "GET /metrics HTTP/1.0\r\n\r\n")
	if text, _ := io.ReadAll(io.LimitReader(conn, programOutput)); !bytes.Contains(text, []byte("\npostsrsd_generation ")) {
		r.found(Error, where, "write another port, or see whose it is: ss -ltnp", "what listens at %s is not postsrsd", e)
		return
	}
	r.found(OK, where, "", "metrics are served at %s", e)
}

func (r *run) dialMetrics(e config.Endpoint) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience}
	if e.Path != "" {
		return dialer.DialContext(r.ctx, "unix", e.Path)
	}
	host := e.Host
	if host == "" {
		host = "localhost"
	}
	return dialer.DialContext(r.ctx, "tcp", net.JoinHostPort(host, e.Port))
}
