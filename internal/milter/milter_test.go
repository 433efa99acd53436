package milter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// packet is a packet as an MTA sends it.
func packet(command byte, data string) string { return string(appendPacket(nil, command, data)) }

// offer is the MTA's first packet.
func offer(version, actions, steps uint32) string {
	data := binary.BigEndian.AppendUint32(nil, version)
	data = binary.BigEndian.AppendUint32(data, actions)
	return packet('O', string(binary.BigEndian.AppendUint32(data, steps)))
}

var hello = offer(6, 0x1ff, 0x1fffff)

// answers takes apart what an MTA gets, a line for each packet.
func answers(got []byte) string {
	var lines []string
	for len(got) >= 5 {
		n := int(binary.BigEndian.Uint32(got))
		if len(got) < 4+n {
			break
		}
		line := string(got[4 : 4+n])
		if line[0] == 'O' {
			line = fmt.Sprintf("O %x", line[1:])
		}
		lines = append(lines, strings.TrimSuffix(line, "\x00"))
		got = got[4+n:]
	}
	if len(got) > 0 {
		lines = append(lines, fmt.Sprintf("%q", got))
	}
	return strings.Join(lines, "\n")
}

// judge refuses recipients that begin with "bad", turns those that begin with
// "srs" around, and has the sender say what it was asked.
func judge(asked *[]string) Rules {
	return Rules{
		Refuse: func(recipient string) error {
			if strings.HasPrefix(recipient, "bad") {
				return errors.New("Hash invalid.")
			}
			return nil
		},
		Change: func(id, sender string, recipients []string, more bool) (string, []string) {
			*asked = append(*asked, fmt.Sprint(id, " ", sender, " ", recipients, " ", more))
			changed := slices.Clone(recipients)
			for i, r := range changed {
				if strings.HasPrefix(r, "srs") {
					changed[i] = "back-" + r
				}
			}
			if sender == "" {
				return "", changed
			}
			return "new-" + sender, changed
		},
	}
}

// converse has one conversation of what an MTA sends.
func converse(input string) (got []byte, asked []string, err error) {
	var out bytes.Buffer
	c := conversation{w: &out, config: func() *Config { return &Config{Rules: judge(&asked), MaxRecipients: 3} }}
	r := bufio.NewReader(strings.NewReader(input))
	for err == nil {
		err = c.step(r)
	}
	return out.Bytes(), asked, err
}

const negotiated = "O 000000060000004c00000373"

func TestConversation(t *testing.T) {
	mail := packet('M', "<a@x>\x00SIZE=1\x00")
	rcpt := func(recipient string) string { return packet('R', recipient+"\x00") }
	long := strings.Repeat("l", maxAddress)
	for _, test := range []struct {
		name    string
		input   string
		answers string
		asked   string
		err     error
	}{
		{"two messages", hello + packet('D', "Ej\x00mx\x00i\x00ID\x00") + mail + rcpt("<b@y>") + rcpt("srs@y") + packet('D', "Ei\x00ID1\x00") + packet('E', "") +
			packet('D', "Mi\x00ID2\x00") + packet('M', "<>\x00") + rcpt("<b@y>") + packet('E', "") + packet('Q', ""),
			negotiated + "\nc\nc\nc\n-<srs@y>\n+<back-srs@y>\ne<new-a@x>\nc\nc\nc\nc",
			"ID1 a@x [b@y srs@y] false, ID2  [b@y] false", io.EOF},
		{"an old MTA", offer(2, 0xff, 0x3) + packet('C', "host\x00U") + packet('H', "helo\x00") + packet('U', "XX\x00") + mail + rcpt("b") + packet('T', "") +
			packet('L', "From\x00a\x00") + packet('N', "") + packet('B', "text") + packet('E', "text"),
			"O 000000020000004c00000003\nc\nc\nc\nc\nc\nc\nc\nc\nc\ne<new-a@x>\nc", " a@x [b] false", io.EOF},
		{"refused", hello + mail + rcpt("<bad>") + rcpt("<b>") + packet('E', ""), negotiated + "\nc\ny550 5.1.1 Hash invalid.\nc\ne<new-a@x>\nc", " a@x [b] false", io.EOF},
		{"given up", hello + mail + rcpt("<b>") + packet('A', "") + packet('M', "<c@x>\x00") + rcpt("<d>") + packet('E', ""),
			negotiated + "\nc\nc\nc\nc\ne<new-c@x>\nc", " c@x [d] false", io.EOF},
		{"not ended", hello + mail + rcpt("<b>") + packet('M', "<c@x>\x00") + rcpt("<d>") + packet('E', ""),
			negotiated + "\nc\nc\nc\nc\ne<new-c@x>\nc", " c@x [d] false", io.EOF},
		{"another SMTP connection", hello + mail + packet('K', "") + packet('C', "h\x00U") + packet('M', "<>\x00") + rcpt("<d>") + packet('E', ""),
			negotiated + "\nc\nc\nc\nc\nc", "  [d] false", io.EOF},
		{"as many recipients as may be", hello + mail + rcpt("1") + rcpt("2") + rcpt("3") + packet('E', ""), negotiated + "\nc\nc\nc\nc\ne<new-a@x>\nc", " a@x [1 2 3] false", io.EOF},
		{"one more", hello + mail + rcpt("1") + rcpt("2") + rcpt("3") + rcpt("4") + rcpt("bad5") + packet('E', ""),
			negotiated + "\nc\nc\nc\nc\nc\ny550 5.1.1 Hash invalid.\ne<new-a@x>\nc", " a@x [1 2 3] true", io.EOF},
		{"a long recipient", hello + mail + rcpt("<"+long+">") + rcpt("<"+long+"l>") + packet('E', ""), negotiated + "\nc\nc\nc\ne<new-a@x>\nc", " a@x [" + long + "] true", io.EOF},
		{"no recipient", hello + mail + packet('E', ""), negotiated + "\nc\ne<new-a@x>\nc", " a@x [] false", io.EOF},
		{"odd addresses", hello + packet('M', "\x00") + rcpt("<") + rcpt("") + rcpt("<<>>") + packet('E', ""), negotiated + "\nc\nc\nc\nc\nc", "  [<  <>] false", io.EOF},
		{"a long queue ID", hello + mail + rcpt("b") + packet('D', "Ei\x00"+strings.Repeat("I", 1000)+"\x00") + packet('E', ""),
			negotiated + "\nc\nc\ne<new-a@x>\nc", strings.Repeat("I", maxQueueID) + " a@x [b] false", io.EOF},

		{"recipient before sender", hello + rcpt("b") + mail + rcpt("b") + packet('E', ""), negotiated + "\nt\nc\nc\ne<new-a@x>\nc", " a@x [b] false", io.EOF},
		{"end before sender", hello + packet('E', "") + mail, negotiated + "\nt\nc", "", io.EOF},
		{"end twice", hello + mail + packet('E', "") + packet('E', ""), negotiated + "\nc\ne<new-a@x>\nc\nt", " a@x [] false", io.EOF},
		{"content before sender", hello + packet('T', "") + packet('L', "") + packet('N', "") + packet('B', "") + mail, negotiated + "\nt\nt\nt\nt\nc", "", io.EOF},
		{"an offer twice", hello + hello + mail, negotiated + "\nt\nc", "", io.EOF},
		{"no offer", mail + rcpt("b"), "t", "", errMalformed},
		{"macros before the offer", packet('D', "Ci\x00a\x00") + hello, "t", "", errMalformed},
		{"quit at once", packet('Q', "") + hello, "", "", io.EOF},
		{"an offer cut short", packet('O', "\x00\x00\x00\x06\x00") + mail, "t", "", errMalformed},
		{"version 1", offer(1, 0x1ff, 0) + mail, "t", "", errMalformed},
		{"version 77", offer(77, 0x1ff, 0), "O 000000060000004c00000000", "", io.EOF},
		{"no change of sender", offer(6, 0x3f, 0x1fffff) + mail, "", "", ErrActions},
		{"no deletion", offer(6, 0x1f7, 0x1fffff) + mail, "", "", ErrActions},
		{"no addition", offer(6, 0x1fb, 0x1fffff) + mail, "", "", ErrActions},
		{"strings without their end", hello + packet('M', "<a@x>") + mail + packet('R', "b") + packet('R', "") + rcpt("c") + packet('E', ""),
			negotiated + "\nt\nc\nt\nt\nc\ne<new-a@x>\nc", " a@x [c] false", io.EOF},
		{"macros without their end", hello + packet('D', "") + packet('D', "E") + packet('D', "Ei") + packet('D', "Ei\x00ID") + packet('D', "E\x00\x00\x00") + mail + packet('E', ""),
			negotiated + "\nc\ne<new-a@x>\nc", " a@x [] false", io.EOF},
		{"a command that is none", hello + packet('z', "x") + mail, negotiated + "\nt", "", errMalformed},
		{"an empty packet", hello + "\x00\x00\x00\x00" + mail, negotiated + "\nt", "", errMalformed},
		{"a packet too long", hello + "\x00\x02\x00\x01M", negotiated + "\nt", "", errMalformed},
		{"a length that is none", hello + "\xff\xff\xff\xffM", negotiated + "\nt", "", errMalformed},
		{"another protocol", "get user@example.org\n", "t", "", errMalformed},
		{"cut off in a length", hello + "\x00\x00", negotiated, "", io.ErrUnexpectedEOF},
		{"cut off before a command", hello + "\x00\x00\x00\x05", negotiated, "", io.EOF},
		{"cut off in data", hello + mail + packet('R', "<b@y>\x00")[:8], negotiated + "\nc", "", io.EOF},
		{"cut off in a body", hello + mail + packet('B', "text")[:6], negotiated + "\nc", "", io.EOF},
		{"the longest body", hello + mail + packet('B', strings.Repeat("b", maxPacket-1)) + packet('E', ""), negotiated + "\nc\nc\ne<new-a@x>\nc", " a@x [] false", io.EOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, asked, err := converse(test.input)
			if said := answers(got); said != test.answers || err != test.err {
				t.Errorf("%v\n%s\nwant %v\n%s", err, said, test.err, test.answers)
			}
			if judged := strings.Join(asked, ", "); judged != test.asked {
				t.Errorf("asked %q, want %q", judged, test.asked)
			}
		})
	}
}

// TestRoomIsGivenBack holds that a long packet costs nothing once it is
// answered.
func TestRoomIsGivenBack(t *testing.T) {
	c := conversation{w: io.Discard, config: func() *Config { return &Config{} }}
	r := bufio.NewReader(strings.NewReader(hello + packet('D', "E"+strings.Repeat("m\x00v\x00", 20000))))
	c.step(r)
	if err := c.step(r); err != nil || c.room.Cap() > keepPacket {
		t.Errorf("%v, %d octets are kept", err, c.room.Cap())
	}
}

// FuzzConversation holds that whatever comes ends, with whole answers, no more
// than were asked for.
func FuzzConversation(f *testing.F) {
	f.Add(hello + packet('M', "<a@x>\x00") + packet('R', "<srs@y>\x00") + packet('D', "Ei\x00ID\x00") + packet('E', ""))
	f.Add(hello + packet('A', "") + packet('K', "") + packet('Q', ""))
	f.Add("\x00\x00\x00\x00")
	f.Fuzz(func(t *testing.T, input string) {
		got, asked, err := converse(input)
		if err == nil {
			t.Error("it did not end")
		}
		finals := 0
		for line := range strings.SplitSeq(answers(got), "\n") {
			if line == "" {
				continue
			}
			if !strings.Contains("cty+-eO", line[:1]) {
				t.Errorf("answer %q", line)
			}
			if strings.Contains("ctyO", line[:1]) {
				finals++
			}
		}
		if finals > len(input)/5+1 {
			t.Errorf("%d answers to %d octets", finals, len(input))
		}
		for _, a := range asked {
			if len(a) > 2*len(input)+100 {
				t.Errorf("asked %q", a)
			}
		}
	})
}
