package config

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

const maxAliasFile = 16 << 20 // bytes

// AliasMap is a lookup table that tells where mail to a recipient goes.
type AliasMap struct {
	Name     string            // as it was written
	Protocol string            // "tcp" or "socketmap", "" for a file
	Endpoint Endpoint          // of a protocol; Host is an address or localhost
	Map      string            // the name in a socketmap
	Entries  map[string]string // of a file, the keys in small letters
}

// addAliasMaps adds the maps of one list to those of earlier ones.
func addAliasMaps(c *Config, v string) error {
	for _, name := range strings.FieldsFunc(v, isListSeparator) {
		m, err := parseAliasMap(name)
		if err != nil {
			return fmt.Errorf("%s: %w", show(name), err)
		}
		c.AliasMaps = append(c.AliasMaps, m)
	}
	return nil
}

// parseAliasMap reads Postfix's notation of a lookup table.
func parseAliasMap(name string) (m AliasMap, err error) {
	m.Name = name
	kind, rest, _ := strings.Cut(name, ":")
	switch kind {
	case "texthash":
		if !strings.HasPrefix(rest, "/") {
			return m, errors.New("give the whole path of the file: texthash:/etc/postfix/virtual")
		}
		return m, nil
	case "tcp":
		m.Protocol, rest = "tcp", "inet:"+rest
	case "socketmap":
		end := strings.LastIndexByte(rest, ':')
		if end < 0 || end == len(rest)-1 {
			return m, errors.New("give socketmap:inet:HOST:PORT:NAME or socketmap:unix:PATH:NAME")
		}
		m.Protocol, rest, m.Map = "socketmap", rest[:end], rest[end+1:]
	default:
		return m, errors.New("give texthash:PATH, tcp:HOST:PORT, socketmap:inet:HOST:PORT:NAME or socketmap:unix:PATH:NAME")
	}
	if m.Endpoint, err = ParseEndpoint(rest); err != nil {
		return m, err
	}
	if host := m.Endpoint.Host; m.Endpoint.Path == "" && host != "localhost" && net.ParseIP(host) == nil {
		return m, errors.New("give the host as an address or localhost, as names cannot be looked up from a jail")
	}
	return m, nil
}

// readAliasMaps reads those of c that are files.
func (ld *loading) readAliasMaps(c *Config) error {
	for i := range c.AliasMaps {
		m := &c.AliasMaps[i]
		path, file := strings.CutPrefix(m.Name, "texthash:")
		if !file {
			continue
		}
		data, err := readFile(path, maxAliasFile)
		if err != nil {
			return fmt.Errorf("%s: cannot read the file: %w", c.Sources["AliasMaps"].said(m.Name), err)
		}
		entries, wrong := parseAliases(string(data))
		if len(wrong) > 0 {
			ld.warn("%s:%d: neither an entry as in virtual(5) nor one as in aliases(5) (%d such in all)", printable(path), wrong[0], len(wrong))
		}
		m.Entries = entries
	}
	return nil
}

// parseAliases reads a table of virtual(5), a key and white space before its
// value, or of aliases(5), a key and a colon. wrong are the lines that are
// neither.
func parseAliases(text string) (entries map[string]string, wrong []int) {
	entries = map[string]string{}
	var entry string
	begun, n := 0, 0
	end := func() {
		if begun == 0 {
			return
		}
		if key, value, ok := parseAlias(entry); !ok {
			wrong = append(wrong, begun)
		} else if before, twice := entries[key]; twice {
			entries[key] = before + ", " + value
		} else {
			entries[key] = value
		}
		begun = 0
	}
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimRight(line, " \t\r")
		switch stripped := strings.TrimLeft(line, " \t"); {
		case stripped == "" || stripped[0] == '#':
		case stripped != line && begun > 0: // goes on from the line before
			entry += line
		default:
			end()
			entry, begun = stripped, n
		}
	}
	end()
	return entries, wrong
}

func parseAlias(entry string) (key, value string, ok bool) {
	end := 0
	for quoted := false; end < len(entry) && (quoted || strings.IndexByte(" \t:", entry[end]) < 0); end++ {
		switch entry[end] {
		case '\\':
			end++
		case '"':
			quoted = !quoted
		}
	}
	if end >= len(entry) {
		return "", "", false
	}
	key, value = entry[:end], strings.TrimLeft(entry[end:], " \t")
	value = strings.TrimLeft(strings.TrimPrefix(value, ":"), " \t")
	if !strings.Contains(key, "@") {
		key = strings.Trim(key, `"`)
	}
	return strings.ToLower(key), value, key != "" && value != ""
}
