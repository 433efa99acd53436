package check

import (
	"fmt"
	"testing"
)

func TestSendingAddresses(t *testing.T) {
	for _, test := range []struct{ bind, bind6, interfaces, want string }{
		{"", "", "all", "[]"},
		{"192.0.2.1", "", "all", "[192.0.2.1]"},
		{"192.0.2.1", "2001:db8::1", "all", "[192.0.2.1 2001:db8::1]"},
		{"", "", "loopback-only", "[]"},
		{"", "", "127.0.0.1, 192.0.2.2, [2001:db8::2], mail.example.com", "[192.0.2.2 2001:db8::2]"},
		{"192.0.2.1", "", "192.0.2.2 2001:db8::2", "[192.0.2.1 2001:db8::2]"},
		{"", "192.0.2.1", "all", "[]"},
	} {
		p := &postfix{parameters: map[string]string{"smtp_bind_address": test.bind, "smtp_bind_address6": test.bind6, "inet_interfaces": test.interfaces}}
		if got := fmt.Sprint(p.sendingAddresses()); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

func TestTablesIn(t *testing.T) {
	for list, want := range map[string]string{
		"":                              "[]",
		"hash:/etc/postfix/x":           "[]",
		"tcp:localhost:1, tcp:[::1]:2":  "[{tcp:localhost:1 0 tcp localhost 1  } {tcp:[::1]:2 1 tcp ::1 2  }]",
		"tcp:10001":                     "[{tcp:10001 0 tcp localhost 10001  }]",
		"hash:/a socketmap:inet:h:1:m":  "[{socketmap:inet:h:1:m 1 inet h 1  m}]",
		"socketmap:unix:srs/x:forward":  "[{socketmap:unix:srs/x:forward 0 unix   srs/x forward}]",
		"pipemap:{tcp:a:1, hash:/b}, c": "[{tcp:a:1 0 tcp a 1  }]",
		"socketmap:inet:":               "[]",
		"socketmap:inet:x":              "[{socketmap:inet:x 0 inet localhost   x}]",
		"proxy:tcp:h:1 xtcp:h:1":        "[{tcp:h:1 0 tcp h 1  }]",
	} {
		if got := fmt.Sprint(tablesIn(list)); got != want {
			t.Errorf("%q: %s", list, got)
		}
	}
}
