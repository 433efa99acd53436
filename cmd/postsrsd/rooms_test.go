package main_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestRooms holds which package may know which: a lookup has one way through
// the house, and the codec and the protocols can be used without the rest.
func TestRooms(t *testing.T) {
	mayImport := map[string][]string{
		"srs":                 {},
		"tcptable":            {},
		"socketmap":           {},
		"internal/rewrite":    {"srs"},
		"internal/config":     {},
		"internal/store":      {},
		"internal/server":     {"tcptable", "socketmap"},
		"internal/milter":     {},
		"internal/aliasmap":   {"tcptable", "socketmap", "internal/config"},
		"internal/privilege":  {},
		"internal/metrics":    {"internal/milter", "srs", "internal/rewrite", "internal/server"},
		"internal/supervisor": {"internal/config", "internal/metrics", "internal/milter", "internal/privilege", "internal/server"},
		"internal/check":      {"tcptable", "socketmap", "internal/config"},
		"cmd/postsrsd":        {"srs", "internal/aliasmap", "internal/check", "internal/config", "internal/milter", "internal/rewrite", "internal/server", "internal/store", "internal/supervisor"},

		// What no part of the daemon imports: tests and what make runs.
		"internal/golden":                    {},
		"internal/dnstest":                   {},
		"internal/demo":                      {"srs", "tcptable"},
		"internal/e2e":                       {},
		"internal/bench":                     {"srs", "tcptable", "socketmap"},
		"internal/privilege/testdata/jailed": {"internal/privilege"},
		"packaging":                          {},
		"packaging/guest":                    {},
	}
	// The codec is pure.
	mustNot := map[string][]string{
		"srs": {"net", "os", "log", "log/slog"},
	}
	list := exec.Command("go", "list", "-f", "{{.ImportPath}}:{{join .Imports \" \"}}", "../../...")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		room := strings.TrimPrefix(path, "postsrsd/")
		allowed, known := mayImport[room]
		if !known {
			t.Errorf("%s is a new room: say here what it may import", room)
		}
		for _, imported := range strings.Fields(imports) {
			if ours, ok := strings.CutPrefix(imported, "postsrsd/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s", room, ours)
			}
			if slices.Contains(mustNot[room], imported) {
				t.Errorf("%s imports %s", room, imported)
			}
		}
	}
	deps, err := exec.Command("go", "list", "-deps", "../../srs").Output()
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(strings.Fields(string(deps)), "net") {
		t.Error("srs depends on package net")
	}
}
