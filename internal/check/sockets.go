package check

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"postsrsd/internal/config"
)

// inside is where a program of Postfix's finds path: from the queue directory,
// which is its working directory and, where it is chrooted, its root.
func (p *postfix) inside(path string, chroot bool) string {
	if !filepath.IsAbs(path) || chroot {
		path = filepath.Join(p.parameters["queue_directory"], path)
	}
	return path
}

func sameFile(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	m, err := os.Stat(a)
	n, wrong := os.Stat(b)
	return err == nil && wrong == nil && os.SameFile(m, n)
}

// reachableSocket connects to the daemon's unix socket.
func (p *postfix) reachableSocket(t table) bool {
	r := p.run
	path := r.Config.Socketmap.Path
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(r.ctx, "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return true
	case errors.Is(err, fs.ErrPermission):
		r.unseen(t.text, "run this as root", "this user may not connect to %s", path)
	default:
		r.found(Error, t.text, "start postsrsd", "nothing answers Postfix at %s: it defers all mail that it would ask about", path)
	}
	return false
}

// sockets looks whether the programs that ask find sockets in the file system,
// and may connect to them: they run as mail_owner, and often chrooted.
func (p *postfix) sockets() {
	seen := map[string]bool{}
	for _, s := range p.services {
		if s.command != "cleanup" && s.command != "smtpd" {
			continue
		}
		for _, name := range []string{"sender_canonical_maps", "recipient_canonical_maps"} {
			list, own := s.parameters[name]
			if !own {
				list = p.parameters[name]
			}
			for _, t := range tablesIn(list) {
				if t.kind == "unix" && !seen[s.name+" "+t.path] {
					seen[s.name+" "+t.path] = true
					p.socket(s, t)
				}
			}
		}
	}
}

func (p *postfix) socket(s service, t table) {
	r := p.run
	path, why := p.inside(t.path, s.chroot), ""
	if s.chroot {
		why = ", being chrooted"
	}
	_, err := os.Stat(path)
	_, ours := p.direction(t)
	switch {
	case errors.Is(err, fs.ErrPermission):
		r.unseen(path, "run this as root", "the socket cannot be looked at by this user")
	case err != nil && ours && sameFile(path, r.Config.Socketmap.Path):
		// The daemon does not run, which has been said.
	case err != nil:
		cure := "write tcp:localhost:PORT, or put the socket there"
		if r.Config.ForwardPort == "" {
			cure = "set " + r.name("Socketmap") + " to unix:" + filepath.Join(p.parameters["queue_directory"], filepath.Base(t.path)) +
				", and write socketmap:unix:" + filepath.Base(t.path) + ":" + t.name
		}
		r.found(Error, "master.cf: "+s.name, cure, "%s looks for the socket of %s at %s%s, where none is", s.command, t.text, path, why)
	default:
		base := "/"
		if s.chroot || !filepath.IsAbs(t.path) {
			base = p.parameters["queue_directory"]
		}
		if barrier, do := p.barrier(base, path); barrier != "" {
			r.found(Error, "master.cf: "+s.name, do, "%s, which runs as %s, may not connect to %s: %s", s.command, p.parameters["mail_owner"], path, barrier)
		}
	}
}

// barrier is what keeps mail_owner from a socket, by the modes of it and of the
// directories between base and it, and what to do; "" for nothing.
func (p *postfix) barrier(base, path string) (what, do string) {
	owner, err := user.Lookup(p.parameters["mail_owner"])
	if err != nil {
		return "", "" // Postfix knows it by other means than /etc/passwd
	}
	allows := func(path string, bit fs.FileMode) (bool, fs.FileMode) { return allows(owner, path, bit) }
	dir := base
	for part := range strings.SplitSeq(strings.Trim(strings.TrimPrefix(filepath.Dir(path), filepath.Clean(base)), "/"), "/") {
		dir = filepath.Join(dir, part)
		if ok, mode := allows(dir, search); !ok && dir != filepath.Clean(base) {
			return "the directory " + dir + " has mode " + octal(mode), "chmod o+x " + dir + ", or serve the socket in Postfix's queue directory"
		}
	}
	if ok, mode := allows(path, write); !ok {
		return "it has mode " + octal(mode), "set " + p.run.name("SocketMode") + " to 0666, or give it to a group of " + owner.Username + "'s with " + p.run.name("SocketOwner")
	}
	return "", ""
}

// What a user may do, as a bit of a mode.
const search, write = 1, 2

// allows tells whether the mode of the file at path lets a user do that. A file
// that cannot be looked at is allowed: it is told of elsewhere.
func allows(who *user.User, path string, bit fs.FileMode) (allowed bool, mode fs.FileMode) {
	info, err := os.Stat(path)
	if err != nil {
		return true, 0
	}
	groups, _ := who.GroupIds()
	st := info.Sys().(*syscall.Stat_t)
	switch mode = info.Mode().Perm(); {
	case who.Uid == "0":
		return true, mode
	case strconv.Itoa(int(st.Uid)) == who.Uid:
		return mode>>6&bit != 0, mode
	case slices.Contains(groups, strconv.Itoa(int(st.Gid))):
		return mode>>3&bit != 0, mode
	}
	return mode&bit != 0, mode
}

func octal(mode fs.FileMode) string { return "0" + strconv.FormatUint(uint64(mode.Perm()), 8) }

// milters looks whether Postfix asks the daemon's milter, and the table for
// senders too, which then rewrites what the milter leaves alone.
func (p *postfix) milters(views []view) {
	r := p.run
	ours := func(t table) bool { _, ours := p.direction(t); return ours }
	asks := func(v view) bool { return slices.ContainsFunc(tablesIn(v.get("sender_canonical_maps")), ours) }
	both := slices.ContainsFunc(views, asks)
	lost := p.parameters["enable_original_recipient"] == "no" &&
		slices.ContainsFunc(views, func(v view) bool { return slices.ContainsFunc(tablesIn(v.get("recipient_canonical_maps")), ours) })
	p.eachMilter(func(where, item string) {
		if lost {
			r.found(Error, where, "take the daemon's table out of recipient_canonical_maps, or enable_original_recipient = no out of main.cf; see postsrsd(5)",
				"bounces are lost: with enable_original_recipient = no Postfix drops a recipient that both %s and the table turn back", item)
		}
		if both {
			r.found(Warning, where, "take the daemon's table out of sender_canonical_maps, or take the milter out here",
				"%s and the tables both rewrite: the milter leaves alone what stays here, and the tables rewrite that too", item)
		} else if !lost {
			r.found(OK, where, "", "Postfix asks the daemon's milter")
		}
	})
}

// asksMilter tells whether Postfix asks the daemon's milter anywhere.
func (p *postfix) asksMilter() (asks bool) {
	p.eachMilter(func(string, string) { asks = true })
	return asks
}

// eachMilter tells of the places where Postfix is told of the daemon's milter.
func (p *postfix) eachMilter(found func(where, item string)) {
	if p.run.Milter == (config.Endpoint{}) {
		return
	}
	seen := map[string]bool{}
	look := func(where, list string) {
		for _, item := range items(list) {
			if p.ownMilter(item) && !seen[where] {
				seen[where] = true
				found(where, strings.Trim(item, "{} "))
			}
		}
	}
	for _, name := range []string{"smtpd_milters", "non_smtpd_milters"} {
		look(p.main(name), p.parameters[name])
		for _, s := range p.services {
			look("master.cf: "+s.name+": "+name, s.parameters[name])
		}
	}
}

// ownMilter tells whether an item of a list of milters, inet:HOST:PORT or
// unix:PATH or one of these with options in braces, is the daemon's.
func (p *postfix) ownMilter(item string) bool {
	own := p.run.Milter
	item, _, _ = strings.Cut(strings.Trim(item, "{} \t"), ",")
	kind, rest, _ := strings.Cut(strings.TrimSpace(item), ":")
	switch {
	case kind == "unix" && own.Path != "":
		return sameFile(p.inside(rest, false), own.Path) || sameFile(p.inside(rest, true), own.Path)
	case kind == "inet":
		_, port, err := net.SplitHostPort(rest)
		return err == nil && samePort(port, own.Port)
	}
	return false
}
