//go:build !linux

package supervisor

import (
	"os"

	"golang.org/x/sys/unix"
)

// Only Linux makes the first process of a container bury the others' children.
func childSignals() <-chan os.Signal { return nil }

func (s *Supervisor) reap() {}

// nameProcess is not needed where the worker is started by the program's path.
func nameProcess(string) {}

func hide() { noCore() }

// dup makes newFD another name for oldFD.
func dup(oldFD, newFD int) error { return unix.Dup2(oldFD, newFD) }
