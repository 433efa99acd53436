// Package milter serves Postfix's and Sendmail's mail filter protocol, as far
// as a filter needs it that looks at nothing but envelopes: it hears of senders
// and recipients, refuses some, and at the end of a message changes the
// sender, takes recipients out and puts others in. What is refused and changed
// comes from functions handed in.
//
// The protocol has no document of its own. Followed is what Sendmail's
// libmilter and Postfix (MILTER_README) have in common, in versions 2 to 6: a
// packet is a length of four octets, the most significant first, which counts
// what follows it; an octet that says what it is; and data, in which strings
// end with a NUL. The MTA speaks first, and may not do without the three
// actions that are asked of it. After that it sends commands, most of which
// want one answer each, and any number of messages, one after the other.
//
// A length is bounded before anything is done for its sake. What does not
// belong where it stands is answered with a temporary failure, and the
// conversation goes on if it can still be told where the next packet begins.
package milter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// What the MTA sends.
const (
	cmdAbort     = 'A' // the message is given up; no answer
	cmdBody      = 'B'
	cmdConnect   = 'C'
	cmdMacro     = 'D' // names and values that go with the next command; no answer
	cmdEnd       = 'E' // of the message
	cmdHelo      = 'H'
	cmdQuitReuse = 'K' // the SMTP connection has ended, another follows; no answer
	cmdHeader    = 'L'
	cmdMail      = 'M'
	cmdEndHeader = 'N'
	cmdNegotiate = 'O'
	cmdQuit      = 'Q' // no answer
	cmdRcpt      = 'R'
	cmdData      = 'T'
	cmdUnknown   = 'U' // an SMTP command that the MTA does not know
)

// What it is answered.
const (
	rspContinue  = 'c'
	rspTempfail  = 't'
	rspReply     = 'y' // with an SMTP reply
	rspAddRcpt   = '+'
	rspDelRcpt   = '-'
	rspChgFrom   = 'e'
	rspNegotiate = 'O'
)

const (
	leastVersion = 2
	mostVersion  = 6

	// The actions that are needed: add a recipient, delete one, change the
	// sender.
	actions = 0x04 | 0x08 | 0x40

	// The steps that the MTA may leave out, if it can: connect, HELO, body,
	// headers, end of headers, unknown commands, DATA.
	spared = 0x01 | 0x02 | 0x10 | 0x20 | 0x40 | 0x100 | 0x200
)

const (
	// maxPacket has room for what an MTA sends that was not asked for more: a
	// piece of a body of 64 KiB, or a header.
	maxPacket = 128 << 10

	// keepPacket is how much of the room for a packet is kept for the next.
	keepPacket = 4 << 10

	// maxAddress is the length of the longest recipient that is remembered, in
	// octets. A longer one is no SRS address, and nobody's mailbox.
	maxAddress = 1024

	// maxQueueID bounds what stands in front of log lines.
	maxQueueID = 64
)

var (
	// ErrActions says that an MTA does not let its filters do what is needed.
	// It has been hung up on.
	ErrActions = errors.New("the MTA does not let a milter change the sender and add and delete recipients")

	// errMalformed says that it cannot be told where the next packet begins.
	errMalformed = errors.New("milter: malformed packet")
)

// readPacket reads one packet, and leaves the data of one that is of use in
// room. Memory is used as octets arrive, not as they are announced.
func readPacket(r *bufio.Reader, room *bytes.Buffer) (command byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(head[:4])
	if n == 0 || n > maxPacket {
		return 0, errMalformed
	}
	if command, err = r.ReadByte(); err != nil {
		return 0, err
	}
	room.Reset()
	switch command {
	case cmdMacro, cmdMail, cmdNegotiate, cmdRcpt:
		_, err = io.CopyN(room, r, int64(n-1))
	default:
		_, err = r.Discard(int(n - 1))
	}
	return command, err
}

// appendPacket appends a packet to dst and returns the result.
func appendPacket(dst []byte, kind byte, data ...string) []byte {
	n := 1
	for _, d := range data {
		n += len(d)
	}
	dst = append(binary.BigEndian.AppendUint32(dst, uint32(n)), kind)
	for _, d := range data {
		dst = append(dst, d...)
	}
	return dst
}

// negotiate returns the answer to an MTA's offer. The error is ErrActions or
// errMalformed.
func negotiate(offer []byte) ([]byte, error) {
	if len(offer) < 12 {
		return nil, errMalformed
	}
	version, offered, steps := binary.BigEndian.Uint32(offer), binary.BigEndian.Uint32(offer[4:]), binary.BigEndian.Uint32(offer[8:])
	if version < leastVersion {
		return nil, errMalformed
	}
	if offered&actions != actions {
		return nil, ErrActions
	}
	answer := binary.BigEndian.AppendUint32(nil, min(version, mostVersion))
	answer = binary.BigEndian.AppendUint32(answer, actions)
	answer = binary.BigEndian.AppendUint32(answer, steps&spared)
	return appendPacket(nil, rspNegotiate, string(answer)), nil
}

// firstString is the first of the strings in data; ok is false if there is
// none.
func firstString(data []byte) (s []byte, ok bool) {
	s, _, ok = bytes.Cut(data, []byte{0})
	return s, ok
}

// address is what stands between the angle brackets of a path.
func address(path []byte) []byte {
	if len(path) >= 2 && path[0] == '<' && path[len(path)-1] == '>' {
		path = path[1 : len(path)-1]
	}
	return path
}

// macro finds a macro's value in the data of a command of macros.
func macro(data []byte, name string) (value []byte, ok bool) {
	if len(data) == 0 {
		return nil, false
	}
	for rest := data[1:]; ; { // behind the command that they go with
		var key []byte
		if key, rest, ok = bytes.Cut(rest, []byte{0}); !ok {
			return nil, false
		}
		if value, rest, ok = bytes.Cut(rest, []byte{0}); !ok {
			return nil, false
		}
		if string(key) == name {
			return value, true
		}
	}
}
