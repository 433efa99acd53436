//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

const senders = 4096 // different ones on each side

// sender is the i-th foreign envelope sender.
func sender(i int) string {
	return fmt.Sprintf("user.%04d@sender-%04d.example.net", i, i*7919%senders)
}

// rewrite asks the server on port to rewrite every sender and returns its
// words. What Debian's daemon signs is what both are then asked to reverse.
func rewrite(port int) ([]string, error) {
	conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(startLimit))
	lines := bufio.NewScanner(conn)
	var rewritten []string
	for i := range senders {
		if _, err := fmt.Fprintf(conn, "get %s\n", sender(i)); err != nil {
			return nil, err
		}
		if !lines.Scan() {
			return nil, fmt.Errorf("port %d: no answer for %s: %v", port, sender(i), lines.Err())
		}
		address, found := strings.CutPrefix(lines.Text(), "200 ")
		if !found || len(address) < len(opaque) || !strings.HasSuffix(address, "@"+homeDomain) {
			return nil, fmt.Errorf("port %d: answer %q for %s", port, lines.Text(), sender(i))
		}
		rewritten = append(rewritten, address)
	}
	return rewritten, nil
}

// opaque stands for what is not compared in the answer to a forward question.
const opaque = "SRS0=hash=TT"

// tcpQuestions are asked in tcp_table(5).
func tcpQuestions(sender, rewritten string) (forward, reverse question) {
	frame := func(s string) string { return s + "\n" }
	return build(frame, "get ", "get ", "200 ", sender, rewritten)
}

// socketmapQuestions are asked in socketmap_table(5).
func socketmapQuestions(sender, rewritten string) (forward, reverse question) {
	frame := func(s string) string { return fmt.Sprintf("%d:%s,", len(s), s) }
	return build(frame, "forward ", "reverse ", "OK ", sender, rewritten)
}

// echoQuestions expect an echo server's constant.
func echoQuestions(sender, rewritten string) (forward, reverse question) {
	forward, reverse = tcpQuestions(sender, rewritten)
	for _, q := range []*question{&forward, &reverse} {
		q.head, q.tail, q.size = echoAnswer, nil, len(echoAnswer)
	}
	return forward, reverse
}

func build(frame func(string) string, forwardVerb, reverseVerb, found, sender, rewritten string) (forward, reverse question) {
	answer := frame(found + rewritten)
	tag := strings.Index(answer, rewritten) + len("SRS0=")
	forward = question{
		ask:  []byte(frame(forwardVerb + sender)),
		head: []byte(answer[:tag]),
		tail: []byte(answer[tag+len(opaque)-len("SRS0="):]),
		size: len(answer),
	}
	answer = frame(found + sender)
	reverse = question{
		ask:  []byte(frame(reverseVerb + rewritten)),
		head: []byte(answer),
		size: len(answer),
	}
	return forward, reverse
}

// service is the server as its clients see it.
func (s server) service(rewritten []string) service {
	sides := service{{port: s.forward}, {port: s.reverse}}
	for i, address := range rewritten {
		forward, reverse := s.question(sender(i), address)
		sides[0].questions = append(sides[0].questions, forward)
		sides[1].questions = append(sides[1].questions, reverse)
	}
	return sides
}
