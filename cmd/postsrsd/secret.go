package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"postsrsd/internal/config"
	"postsrsd/srs"
)

const secretUsage = `Usage:
    postsrsd secret [--if-missing | --rotate] [--env-file FILE | -C FILE] [FILE]

Writes a new secret to FILE, or to where SRS_SECRET of the settings file says.
A secret that is there is never overwritten.

    --if-missing     do nothing if there is one
    --rotate         put a new one before those that are there
    --env-file FILE  read this settings file, not the usual ones
    -C FILE          read this postsrsd.conf instead
`

// secret is the command of that name.
func secret(args []string, stdout, stderr io.Writer) int {
	var ifMissing, rotate bool
	var files []string
	flags := flag.NewFlagSet("secret", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { io.WriteString(flags.Output(), secretUsage) }
	flags.BoolVar(&ifMissing, "if-missing", false, "")
	flags.BoolVar(&rotate, "rotate", false, "")
	flags.Func("C", "", func(file string) error { files = append(files, "-C", file); return nil })
	flags.Func("env-file", "", func(file string) error { files = append(files, "--env-file="+file); return nil })
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || flags.NArg() > 1 || ifMissing && rotate {
		if err == nil {
			flags.Usage()
		}
		return 2
	}
	path, length, err := config.SecretPlace(files, os.Environ())
	if err != nil {
		return fail(stderr, err)
	}
	if flags.NArg() == 1 {
		path = flags.Arg(0)
	}
	if path, err = target(path); err != nil {
		return fail(stderr, err)
	}

	old, err := os.ReadFile(path)
	there := err == nil && len(old) > 0
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fail(stderr, err)
	case there && ifMissing:
		return 0
	case there && !rotate:
		return fail(stderr, fmt.Errorf("%s holds a secret already; --rotate puts a new one before it", path))
	}
	if err := putFirst(path, srs.NewSecret(length), old); err != nil {
		return fail(stderr, err)
	}
	if !there {
		fmt.Fprintf(stdout, "%s: a new secret\n", path)
		return 0
	}
	last := time.Now().AddDate(0, 0, srs.DefaultMaxAge+1)
	fmt.Fprintf(stdout, "%s: a new secret, before those that were there\n"+
		"Reload postsrsd to sign with it. What the old ones signed is valid for %d days:\n"+
		"they may go on %s, if the reload is today.\n", path, srs.DefaultMaxAge, last.Format(time.DateOnly))
	return 0
}

// target follows symbolic links to the file that is to be written, which need
// not be there yet.
func target(path string) (string, error) {
	for range 40 {
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		path = link
	}
	return "", fmt.Errorf("%s: %w", path, syscall.ELOOP)
}

// putFirst replaces the file at path by the secret and, on the lines after it,
// what was there. Whoever reads it meanwhile, and whatever happens, sees the
// one or the other. A new file is its owner's alone; one that was there stays
// with its owner and mode.
func putFirst(path, secret string, old []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".postsrsd-secret-")
	if err != nil {
		return fmt.Errorf("cannot write a secret beside %s: %w", path, err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("cannot write the secret %s: %w", path, err)
		}
	}()
	if info, err := os.Stat(path); err == nil {
		owner := info.Sys().(*syscall.Stat_t)
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	}
	if _, err := f.Write(append([]byte(secret+"\n"), old...)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if len(old) == 0 {
		return linkNew(f.Name(), path)
	}
	return os.Rename(f.Name(), path)
}

// linkNew gives the file its name unless something has it already; an empty
// file, as a failed installation leaves, counts for nothing.
func linkNew(temporary, path string) error {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return os.Rename(temporary, path)
	}
	if err := os.Link(temporary, path); err != nil {
		return err
	}
	return os.Remove(temporary)
}
