//go:build linux

// Jailed enters a jail as the worker does, with many threads running, and then
// tries to get out again. It prints what came of it as JSON and stays until its
// standard input ends, so that it can be looked at from outside. It is built
// without cgo by the tests of package privilege.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"postsrsd/internal/privilege"
)

type report struct {
	Warnings []string
	Err      string
	Escapes  []string // what succeeded and should not have
}

func main() {
	root := flag.String("root", "", "jail")
	user := flag.String("user", "", "user to become")
	without := flag.Int("without", -1, "capability to drop from the bounding set, then start again")
	kill := flag.Bool("kill", false, "be killed by the kernel for any privileged system call")
	peek := flag.Int("peek", 0, "only try to read the memory of this process")
	flag.Parse()
	switch {
	case *peek != 0:
		_, err := os.Open(fmt.Sprintf("/proc/%d/mem", *peek))
		fmt.Println(err)
		return
	case *without >= 0:
		runtime.LockOSThread()
		check(unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(*without), 0, 0, 0))
		check(syscall.Exec(os.Args[0], []string{"jailed", "-root", *root, "-user", *user}, nil))
	}

	var j privilege.Jail
	j.Root = *root
	if *user != "" {
		id, err := privilege.Lookup(*user)
		check(err)
		j.Identity = &id
	}
	saved, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	check(err)
	if *kill {
		killPrivileged()
	}

	threads := make([]chan func(), 12)
	for i := range threads {
		threads[i] = make(chan func())
		ready := make(chan bool)
		go func() {
			runtime.LockOSThread()
			close(ready)
			for f := range threads[i] {
				f()
			}
		}()
		<-ready
	}

	var r report
	r.Warnings, err = j.Enter()
	if err != nil {
		r.Err = err.Error()
	} else if !*kill {
		escapes := make(chan []string)
		for _, thread := range threads {
			thread <- func() {
				go func(e []string) { escapes <- e }(escape(saved, j))
			}
			r.Escapes = append(r.Escapes, <-escapes...)
		}
	}
	check(json.NewEncoder(os.Stdout).Encode(r))
	os.Stdin.Read(make([]byte, 1))
}

// escape tries in the thread it runs on.
func escape(saved int, j privilege.Jail) (succeeded []string) {
	try := func(name string, err error) {
		if err == nil {
			succeeded = append(succeeded, name)
		}
	}
	raw := func(name string, trap uintptr, args ...uintptr) {
		var a [3]uintptr
		copy(a[:], args)
		_, _, errno := syscall.RawSyscall(trap, a[0], a[1], a[2])
		if errno == 0 {
			succeeded = append(succeeded, name)
		}
	}
	const keep = ^uintptr(0)
	if os.Getuid() != 0 {
		raw("setuid(0)", unix.SYS_SETUID, 0)
		raw("seteuid(0)", unix.SYS_SETRESUID, keep, 0, keep)
		raw("setgid(0)", unix.SYS_SETGID, 0)
		raw("setegid(0)", unix.SYS_SETRESGID, keep, 0, keep)
	}
	group := uint32(0)
	raw("setgroups(0)", unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&group)))
	try("saved directory", unix.Fchdir(saved))
	try("inherited directory", unix.Fchdir(3))
	try("chroot", unix.Chroot("."))
	if j.Root != "" {
		for _, path := range []string{"/proc", "/etc/passwd", "../../../../../../etc/passwd", "/proc/1/root/etc/passwd"} {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			try(path, err)
			if err == nil {
				unix.Close(fd)
			}
		}
		try("user namespace", unix.Unshare(unix.CLONE_NEWUSER))
	}
	return succeeded
}

// killPrivileged installs a system call filter that kills whoever asks for
// another identity, root directory or capabilities, as service managers do by
// default.
func killPrivileged() {
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}} // the number of the call
	for _, nr := range []uint32{unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_SETGROUPS,
		unix.SYS_CAPSET, unix.SYS_CHROOT} {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		log.Fatal(errno)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
