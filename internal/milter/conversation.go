package milter

import (
	"bufio"
	"bytes"
	"io"
)

// Rules are what is decided about envelopes. Addresses come and go in the form
// of an SMTP command without the angle brackets; "" is the null sender. They
// are called on many goroutines at once.
type Rules struct {
	// Refuse returns an error if a recipient is to be refused for good; its
	// text is what the client is told.
	Refuse func(recipient string) error

	// Change returns what is to change about a message that has arrived. It
	// is told the queue ID, "" if the MTA does not say, the sender, and the
	// recipients that were not refused; more says that there are others,
	// beyond the limit. The sender that it returns is the new one, "" to leave
	// it; of the recipients it returns as many as it was told, each the old or
	// another in its place. It keeps no recipients' slice and changes none.
	Change func(queueID, sender string, recipients []string, more bool) (newSender string, newRecipients []string)
}

// A conversation is what one connection knows.
type conversation struct {
	w      io.Writer
	config func() *Config // what holds now

	negotiated bool
	begun      bool // a message
	message    message
	room       bytes.Buffer
}

// A message is what is known of it.
type message struct {
	queueID, sender string
	recipients      []string
	more            bool // recipients that are not among these
}

// step reads one packet and answers it. io.EOF means that the MTA is done;
// with any other error there is nothing to be done but close the connection.
func (c *conversation) step(r *bufio.Reader) error {
	command, err := readPacket(r, &c.room)
	if err == errMalformed {
		c.answer(rspTempfail)
	}
	if err != nil {
		return err
	}
	defer func() {
		if c.room.Cap() > keepPacket {
			c.room = bytes.Buffer{}
		}
	}()
	data := c.room.Bytes()
	if !c.negotiated && command != cmdNegotiate && command != cmdQuit {
		c.answer(rspTempfail)
		return errMalformed
	}
	switch command {
	case cmdNegotiate:
		if c.negotiated {
			return c.answer(rspTempfail)
		}
		answer, err := negotiate(data)
		if err == errMalformed {
			c.answer(rspTempfail)
		}
		if err != nil {
			return err
		}
		c.negotiated = true
		_, err = c.w.Write(answer)
		return err
	case cmdMacro:
		if id, ok := macro(data, "i"); ok {
			c.message.queueID = string(id[:min(len(id), maxQueueID)])
		}
		return nil
	case cmdAbort, cmdQuitReuse:
		c.forget()
		return nil
	case cmdQuit:
		return io.EOF
	case cmdConnect, cmdHelo, cmdUnknown:
		return c.answer(rspContinue)
	case cmdMail:
		return c.mail(data)
	case cmdRcpt:
		return c.rcpt(data)
	case cmdData, cmdHeader, cmdEndHeader, cmdBody:
		if !c.begun {
			return c.answer(rspTempfail)
		}
		return c.answer(rspContinue)
	case cmdEnd:
		return c.end()
	}
	c.answer(rspTempfail) // whether it waits for an answer is not known
	return errMalformed
}

func (c *conversation) answer(kind byte, data ...string) error {
	_, err := c.w.Write(appendPacket(nil, kind, data...))
	return err
}

// forget is what a message leaves behind.
func (c *conversation) forget() { c.begun, c.message = false, message{} }

// mail begins a message, also where the one before was not ended.
func (c *conversation) mail(data []byte) error {
	id := c.message.queueID
	c.forget()
	path, ok := firstString(data)
	if !ok {
		return c.answer(rspTempfail)
	}
	c.begun = true
	c.message.queueID, c.message.sender = id, string(address(path))
	return c.answer(rspContinue)
}

func (c *conversation) rcpt(data []byte) error {
	path, ok := firstString(data)
	if !c.begun || !ok {
		return c.answer(rspTempfail)
	}
	recipient := string(address(path))
	if len(recipient) > maxAddress {
		c.message.more = true
		return c.answer(rspContinue)
	}
	if why := c.config().Refuse(recipient); why != nil {
		return c.answer(rspReply, "550 5.1.1 "+why.Error(), "\x00")
	}
	if len(c.message.recipients) < c.config().MaxRecipients {
		c.message.recipients = append(c.message.recipients, recipient)
	} else {
		c.message.more = true
	}
	return c.answer(rspContinue)
}

// end answers the end of a message in one write: what was changed, and that it
// may go on.
func (c *conversation) end() error {
	if !c.begun {
		return c.answer(rspTempfail)
	}
	m := &c.message
	sender, recipients := c.config().Change(m.queueID, m.sender, m.recipients, m.more)
	var reply []byte
	for i, old := range m.recipients {
		if recipients[i] != old {
			reply = appendPacket(reply, rspDelRcpt, "<", old, ">\x00")
		}
	}
	for i, old := range m.recipients {
		if recipients[i] != old {
			reply = appendPacket(reply, rspAddRcpt, "<", recipients[i], ">\x00")
		}
	}
	if sender != "" {
		reply = appendPacket(reply, rspChgFrom, "<", sender, ">\x00")
	}
	c.forget()
	_, err := c.w.Write(appendPacket(reply, rspContinue))
	return err
}
