//go:build guest

package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// packages is the directory that TestMain builds the packages into, scratch
// where copies of the image run.
var packages, scratch string

// The programs that the suite runs on the host, and the Debian packages that have them.
var tools = map[string]string{
	"apparmor_parser":                    "apparmor",
	"debootstrap":                        "debootstrap",
	"lintian":                            "lintian",
	"m4":                                 "m4",
	"make":                               "make",
	"man":                                "man-db",
	"mandoc":                             "mandoc",
	"rpm":                                "rpm",
	"rpmlint":                            "rpmlint",
	"shellcheck":                         "shellcheck",
	"systemd-nspawn":                     "systemd-container",
	"checkmodule":                        "checkpolicy",
	"semodule_package":                   "semodule-utils",
	"/usr/share/selinux/devel/Makefile":  "selinux-policy-dev",
	"/etc/apparmor.d/abstractions/base":  "apparmor",
	"/usr/share/debootstrap/scripts/sid": "debootstrap",
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	defer removeCgroups(cgroups())
	err := prepare()
	defer os.RemoveAll(scratch)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		return 1
	}
	return m.Run()
}

func prepare() error {
	if os.Getuid() != 0 {
		return errors.New("systems boot only as root: run this suite as root")
	}
	// Not below /tmp, which a guest of systemd-nspawn may not lie in.
	var err error
	if scratch, err = os.MkdirTemp("/var/tmp", "postsrsd-guest-"); err != nil {
		return err
	}
	if err := installTools(); err != nil {
		return err
	}
	packages = filepath.Join(scratch, "packages")
	if _, err := command("../build.sh", packages); err != nil {
		return err
	}
	return makeImage()
}

func installTools() error {
	missing := map[string]bool{}
	for tool, name := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if _, err := os.Stat(tool); err != nil {
				missing[name] = true
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := command("apt-get", "--quiet", "update"); err != nil {
		return err
	}
	args := []string{"install", "--quiet", "--yes", "--no-install-recommends"}
	for name := range missing {
		args = append(args, name)
	}
	_, err := command("apt-get", args...)
	return err
}

// longest is how long one program may take; only debootstrap and apt take minutes.
const longest = 5 * time.Minute

// command runs a program of the host and returns what it printed; the error has that too.
func command(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second // for what it left running
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// must runs a program of the host that has to succeed.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := command(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// built is the path of the one package that matches the pattern.
func built(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(packages, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v: want one package", pattern, found, err)
	}
	return found[0]
}

// cgroups are the control groups next to ours that systemd-nspawn may make and leave.
func cgroups() map[string]bool {
	there := map[string]bool{}
	own, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(own)) {
		if part := strings.SplitN(strings.TrimSpace(line), ":", 3); len(part) == 3 && (part[1] == "" || part[1] == "name=systemd") {
			for _, hierarchy := range []string{"", "systemd", "unified"} {
				for _, name := range []string{"payload", "supervisor"} {
					dir := filepath.Join("/sys/fs/cgroup", hierarchy, part[2], name)
					_, err := os.Stat(dir)
					there[dir] = err == nil
				}
			}
		}
	}
	return there
}

// removeCgroups removes those that were not there before. One that something
// still runs in cannot be removed.
func removeCgroups(before map[string]bool) {
	for dir, wasThere := range before {
		if !wasThere {
			exec.Command("find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").Run()
		}
	}
}
