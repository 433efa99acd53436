package tcptable_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"

	"postsrsd/tcptable"
)

// A table with one entry, and a client that asks it.
func Example() {
	table := func(dst, key []byte) ([]byte, error) {
		if string(key) != "alice smith@example.com" {
			return dst, errors.New("No such user")
		}
		return append(dst, "alice@example.net"...), nil
	}
	clientSide, serverSide := net.Pipe()
	go func() {
		defer serverSide.Close()
		tcptable.Serve(bufio.NewReader(serverSide), serverSide, 32768, table)
	}()
	defer clientSide.Close()

	client := tcptable.NewClient(clientSide)
	for _, key := range []string{"alice smith@example.com", "bob@example.com"} {
		value, err := client.Lookup(key)
		var refusal *tcptable.Error
		switch {
		case errors.As(err, &refusal) && refusal.Code == tcptable.CodeNotFound:
			fmt.Println(key, "is not there:", refusal.Text)
		case err != nil:
			fmt.Println("cannot ask:", err)
		default:
			fmt.Println(key, "is", value)
		}
	}
	// Output:
	// alice smith@example.com is alice@example.net
	// bob@example.com is not there: No such user
}

func ExampleAppendEncode() {
	fmt.Printf("%s\n", tcptable.AppendEncode(nil, []byte("\"a b\"@café.example")))
	// Output: "a%20b"@caf%c3%a9.example
}
