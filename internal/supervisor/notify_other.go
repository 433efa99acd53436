//go:build !linux

package supervisor

import "time"

// Only Linux has service managers that speak sd_notify(3).

func notify(string) {}

func watchdogInterval() time.Duration { return 0 }

func monotonicTime() string { return "" }
