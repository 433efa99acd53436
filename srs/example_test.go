package srs_test

import (
	"fmt"
	"time"

	"postsrsd/srs"
)

func Example() {
	codec, err := srs.New(srs.Options{
		Domain:  "forwarder.example",
		Secrets: [][]byte{[]byte("tops3cr3t")},
		Now:     func() time.Time { return time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	sender, _ := codec.Forward("alice@example.org")
	fmt.Println(sender)
	recipient, _ := codec.Reverse(sender)
	fmt.Println(recipient)
	_, err = codec.Reverse("SRS0=AAAA=2W=example.org=alice@forwarder.example")
	fmt.Println(err)
	// Output:
	// SRS0=+xpx=2W=example.org=alice@forwarder.example
	// alice@example.org
	// Hash invalid in SRS address.
}
