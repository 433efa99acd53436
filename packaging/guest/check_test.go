//go:build guest

package guest

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestLintian(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		out := must(t, "lintian", "--allow-root", "--fail-on", "error,warning", "--display-info", built(t, "*_"+arch+".deb"))
		if strings.Contains(out, "-override ") {
			t.Errorf("an override is out of use: %s", out)
		}
	}
}

func TestRpmlint(t *testing.T) {
	out := must(t, "rpmlint", "--config", "../rpm/rpmlint.toml", built(t, "*.x86_64.rpm"), built(t, "*.aarch64.rpm"))
	if !strings.Contains(out, "2 packages and 0 specfiles checked; 0 errors, 0 warnings") {
		t.Error(out)
	}
}

func TestShellcheck(t *testing.T) {
	scripts := []string{"../build.sh", "../launcher", "../debian/init", "../debian/preinst", "../debian/postinst", "../debian/prerm", "../debian/postrm"}
	rpm, _ := filepath.Glob("../rpm/*.sh")
	if len(rpm) != 5 {
		t.Fatalf("the rpm has %d scripts: %v", len(rpm), rpm)
	}
	// debconf's library is not part of the host; rpm runs scripts with a shell that knows -ef.
	must(t, "shellcheck", append([]string{"--shell=sh", "--exclude=SC1091,SC2119,SC3013"}, append(scripts, rpm...)...)...)
}

func TestManualRendersWithoutWarnings(t *testing.T) {
	pages, _ := filepath.Glob("../man/*.[58]")
	if len(pages) != 2 {
		t.Fatalf("there are %d pages: %v", len(pages), pages)
	}
	// A reference to the other page cannot be found before it is installed.
	found := regexp.MustCompile(`(?m)^.*(referenced manual not found|outdated mandoc.db).*\n`)
	for _, page := range pages {
		out, _ := command("mandoc", "-T", "lint", page)
		if out, _, _ = strings.Cut(out, "\nmandoc -T lint"); found.ReplaceAllString(out, "") != "" {
			t.Error(out)
		}
		if out := must(t, "sh", "-c", `man --warnings --encoding=UTF-8 --local-file "$1" 2>&1 >/dev/null`, "sh", page); out != "" {
			t.Errorf("%s: %s", page, out)
		}
	}
}

// The unit is judged where what it names is installed.
func TestUnit(t *testing.T) {
	m := newMachine(t)
	m.put("/root", built(t, "*_amd64.deb"))
	out := m.bare(installOurs + ` >/dev/null 2>&1
		systemd-analyze verify --man=no /usr/lib/systemd/system/postsrsd.service 2>&1
		systemd-analyze security --offline=yes --no-pager /usr/lib/systemd/system/postsrsd.service | tail -n 1`)
	score := regexp.MustCompile(`^→ Overall exposure level for postsrsd.service: ([0-9.]+) .*$`).FindStringSubmatch(out)
	if score == nil {
		t.Fatal(out)
	}
	const most = 2.3
	if exposure, err := strconv.ParseFloat(score[1], 64); err != nil || exposure > most {
		t.Errorf("the exposure level is %s, %v; at most %v", score[1], err, most)
	}
}

func TestAppArmorProfile(t *testing.T) {
	profile := "../apparmor/usr.sbin.postsrsd"
	if name := must(t, "apparmor_parser", "--skip-kernel-load", "--skip-cache", "--names", profile); !strings.Contains(name, "/usr/sbin/postsrsd\n") {
		t.Errorf("the profile's name is not the one that PostSRSd 1.x's has, so that both would be loaded: %s", name)
	}
	must(t, "apparmor_parser", "--skip-kernel-load", "--skip-cache", "--quiet", profile)
}

func TestSELinuxModule(t *testing.T) {
	dir := t.TempDir()
	must(t, "cp", "../selinux/postsrsd.te", "../selinux/postsrsd.fc", dir)
	must(t, "make", "--directory", dir, "--file", "/usr/share/selinux/devel/Makefile", "postsrsd.pp")
	if _, err := os.Stat(filepath.Join(dir, "postsrsd.pp")); err != nil {
		t.Error(err)
	}
}

// Completion is asked as bash asks it.
func TestBashCompletion(t *testing.T) {
	for _, tt := range []struct{ words, want string }{
		{"postsrsd --env", "--env-file"},
		{"postsrsd s", "secret"},
		{"postsrsd secret --r", "--rotate"},
		{"postsrsd --log = sy", "syslog"},
		{"postsrsd -a ", "= + -"},
		{"postsrsd -d ", ""},
	} {
		got := must(t, "bash", "-c", `. ../completion/postsrsd.bash
			IFS=' ' read -ra COMP_WORDS <<<"$1"
			[[ $1 == *' ' ]] && COMP_WORDS+=('')
			COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
			_postsrsd
			echo "${COMPREPLY[*]}"`, "bash", tt.words)
		if got = strings.TrimSpace(got); got != tt.want {
			t.Errorf("%q is completed by %q, not %q", tt.words, got, tt.want)
		}
	}
}

// What the packages are made of decides alone what they are: not the time, the
// place, the umask or the files' times.
func TestBuildIsReproducible(t *testing.T) {
	again := t.TempDir()
	must(t, "sh", "-c", `umask 077
		mkdir "$1/source" "$1/packages"
		git -C ../.. ls-files -z --cached --others --exclude-standard | (cd ../.. && xargs -0 cp --parents -t "$1/source" 2>/dev/null)
		export SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
		exec "$1/source/packaging/build.sh" "$1/packages"`, "sh", again)
	first, second := must(t, "sh", "-c", `cd "$1" && sha256sum postsrsd*`, "sh", packages),
		must(t, "sh", "-c", `cd "$1" && sha256sum postsrsd*`, "sh", filepath.Join(again, "packages"))
	if first != second || strings.Count(first, "\n") != 4 {
		t.Errorf("the first build made\n%sthe second\n%s", first, second)
	}
}
