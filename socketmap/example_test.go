package socketmap_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"

	"postsrsd/socketmap"
)

// A server with one map of one entry, and a client that asks it.
func Example() {
	lookup := func(dst, name, key []byte) ([]byte, error) {
		switch {
		case string(name) != "aliases":
			return dst, socketmap.ErrUnknownMap
		case string(key) != "alice@example.com":
			return dst, errors.New("No such user")
		}
		return append(dst, "alice@example.net"...), nil
	}
	clientSide, serverSide := net.Pipe()
	go func() {
		defer serverSide.Close()
		socketmap.Serve(bufio.NewReader(serverSide), serverSide, 8192, lookup)
	}()
	defer clientSide.Close()

	client := socketmap.NewClient(clientSide)
	for _, query := range [][2]string{{"aliases", "alice@example.com"}, {"aliases", "bob@example.com"}, {"users", "x"}} {
		value, err := client.Lookup(query[0], query[1])
		var refusal *socketmap.Error
		switch {
		case errors.As(err, &refusal) && refusal.Status == socketmap.StatusNotFound:
			fmt.Println(query[1], "is not there:", refusal.Text)
		case err != nil:
			fmt.Println("cannot ask:", err)
		default:
			fmt.Println(query[1], "is", value)
		}
	}
	// Output:
	// alice@example.com is alice@example.net
	// bob@example.com is not there: No such user
	// cannot ask: PERM Invalid map.
}

func ExampleAppendNetstring() {
	fmt.Printf("%s\n", socketmap.AppendNetstring(nil, []byte("forward alice@example.com")))
	// Output: 25:forward alice@example.com,
}
