package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	programTime   = 5 * time.Second // that one of Postfix's programs may run
	programOutput = 1 << 20         // bytes of its output that are looked at
)

// A postfix is a Postfix's configuration, as postconf tells it.
type postfix struct {
	run        *run
	parameters map[string]string // of main.cf, with $name expanded
	services   []service
	types      map[string]bool // of lookup tables
}

// A service is one of master.cf.
type service struct {
	name, command string
	chroot        bool
	parameters    map[string]string // -o
}

// parameterNames are what is looked at.
var parameterNames = []string{
	"mail_version", "compatibility_level", "config_directory", "queue_directory",
	"sender_canonical_maps", "sender_canonical_classes", "recipient_canonical_maps", "recipient_canonical_classes", "canonical_maps",
	"inet_protocols", "inet_interfaces", "smtp_bind_address", "smtp_bind_address6",
	"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains", "parent_domain_matches_subdomains",
	"myhostname", "double_bounce_sender", "mail_owner", "smtpd_milters", "non_smtpd_milters", "enable_original_recipient",
}

// askPostconf reads the configuration.
func (r *run) askPostconf() (*postfix, error) {
	p := &postfix{run: r, parameters: map[string]string{}, types: map[string]bool{}}
	main, err := r.program("postconf", append([]string{"-x"}, parameterNames...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(main) {
		if name, value, ok := strings.Cut(line, "="); ok {
			p.parameters[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	types, err := r.program("postconf", "-m")
	if err != nil {
		return nil, err
	}
	for _, name := range strings.Fields(types) {
		p.types[name] = true
	}
	master, err := r.program("postconf", "-M")
	if err != nil {
		return nil, err
	}
	byName := map[string]int{}
	for line := range strings.Lines(master) {
		// service type private unprivileged chroot wakeup maxproc command
		if f := strings.Fields(line); len(f) >= 8 {
			byName[f[0]+"/"+f[1]] = len(p.services)
			// Until compatibility level 1 a dash means chrooted.
			chroot := f[4] == "y" || f[4] == "-" && p.parameters["compatibility_level"] == "0"
			p.services = append(p.services, service{f[0] + "/" + f[1], f[7], chroot, map[string]string{}})
		}
	}
	options, err := r.program("postconf", "-P", "-x")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(options) {
		name, value, _ := strings.Cut(line, "=")
		slash := strings.LastIndexByte(name, '/')
		if at, ok := byName[name[:max(slash, 0)]]; ok {
			p.services[at].parameters[strings.TrimSpace(name[slash+1:])] = strings.TrimSpace(value)
		}
	}
	return p, nil
}

// main names a parameter of main.cf as a place to look at.
func (p *postfix) main(parameter string) string {
	return filepath.Join(p.parameters["config_directory"], "main.cf") + ": " + parameter
}

// errNotFound is postmap's answer that a table does not have a key: it fails
// without a word. So may another program, hence the text.
var errNotFound = errors.New("it fails without a word")

// postmap looks key up in table as Postfix would.
func (p *postfix) postmap(key, table string) (string, error) {
	value, err := p.run.program("postmap", "-q", key, table)
	return strings.TrimSuffix(value, "\n"), err
}

// program runs one of Postfix's programs and returns its output. Where it
// fails, the error is what it writes to standard error, or errNotFound.
func (r *run) program(name string, args ...string) (string, error) {
	path, err := lookPath(name)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(r.ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if dir, ok := os.LookupEnv("MAIL_CONFIG"); ok {
		cmd.Env = append(cmd.Env, "MAIL_CONFIG="+dir)
	}
	var stdout, stderr bounded
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	said, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s does not end", name)
	case errors.As(err, &exit) && said == "" && stdout.Len() == 0:
		return "", errNotFound
	case err != nil && said != "":
		return "", errors.New(said)
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return stdout.String(), nil
}

// lookPath also finds what only root has in the path.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	if err != nil {
		return "", fmt.Errorf("%s is not there", name)
	}
	return path, nil
}

// bounded keeps the first programOutput bytes written to it.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), programOutput-b.Len())])
	return len(p), nil
}

// items are the elements of a list parameter; {…} keeps together.
func items(list string) []string {
	depth := 0
	return strings.FieldsFunc(list, func(c rune) bool {
		switch c {
		case '{':
			depth++
		case '}':
			depth--
		}
		return depth <= 0 && strings.ContainsRune(", \t\r\n", c)
	})
}
