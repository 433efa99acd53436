package rewrite_test

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"postsrsd/internal/golden"
	"postsrsd/internal/rewrite"
	"postsrsd/srs"
	"postsrsd/tcptable"
)

// TestVectors answers every request that 1.x was asked, in 1.x's words or in
// those that testdata gives for us.
func TestVectors(t *testing.T) {
	for _, file := range []string{"postsrsd-1.x.exact.tsv", "postsrsd-1.x.deviating.tsv"} {
		for _, row := range golden.Read(t, file) {
			if got := answer(t, row); got != row.Ours {
				t.Errorf("%s: %v %.100q: %.100q, want %.100q", row.Name, row.Options, row.Input, got, row.Ours)
			}
		}
	}
}

// answer puts a row's request to our table, in process.
func answer(t *testing.T, row golden.Row) string {
	t.Helper()
	domain := row.Domain[strings.IndexByte(row.Domain, '@')+1:]
	o := srs.Options{Domain: domain, Now: func() time.Time { return time.Unix(row.Time, 0) }}
	for _, secret := range secrets(row.Secret) {
		o.Secrets = append(o.Secrets, []byte(secret))
	}
	var excluded []string
	hashMinimum := 4
	for _, flag := range row.Options {
		value := flag[2:]
		switch flag[:2] {
		case "-a":
			o.Separator = value[0]
		case "-A":
			o.AlwaysRewrite = true
		case "-n":
			o.HashLength = atoi(value)
		case "-N":
			hashMinimum = atoi(value)
		case "-X":
			excluded = append(excluded, strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(",; ", r) })...)
		default:
			t.Fatalf("%s: unknown flag %s", row.Name, flag)
		}
	}
	if o.HashLength == 0 {
		o.HashLength = 4
	}
	o.HashMinimum = min(hashMinimum, o.HashLength)
	codec, err := srs.New(o)
	if err != nil {
		t.Fatalf("%s: %v", row.Name, err)
	}
	policy := rewrite.New(codec, excluded, nil, func(int, []byte) {})
	lookup := policy.Reverse
	if strings.HasSuffix(row.Operation, "forward") {
		lookup = policy.ForwardTCP
	}
	request := row.Input
	if !strings.HasPrefix(row.Operation, "wire-") {
		request += "\n"
	}
	var reply bytes.Buffer
	if err := tcptable.Serve(bufio.NewReader(strings.NewReader(request)), &reply, 32768, lookup); err != nil {
		t.Fatalf("%s: %v", row.Name, err)
	}
	return reply.String()
}

func atoi(s string) (n int) {
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

// secrets reads a secret file as 1.x does.
func secrets(file string) (list []string) {
	for line := range strings.FieldsFuncSeq(file, func(r rune) bool { return r == '\n' || r == '\r' }) {
		for len(line) > 1023 {
			list, line = append(list, line[:1023]), line[1023:]
		}
		list = append(list, line)
	}
	return list
}
