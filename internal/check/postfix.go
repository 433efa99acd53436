package check

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// postfix looks at Postfix's configuration, and asks the daemon as Postfix
// does.
func (r *run) postfix() {
	p, err := r.askPostconf()
	if err != nil {
		r.unseen("postconf", "run this where Postfix is, or leave this out with --skip=postfix", "Postfix cannot be asked for its configuration: %v", err)
		return
	}
	before := len(r.findings)
	views := slices.DeleteFunc(p.views(), func(v view) bool { return !v.asks() })
	if len(views) == 0 {
		views = p.views()[:1]
	}
	for _, v := range views {
		p.view(v)
	}
	p.milters(views)
	p.everywhere()
	p.sockets()
	if r.better(before) {
		r.found(OK, p.main("sender_canonical_maps"), "", "Postfix asks the daemon for envelope senders and recipients, and gets answers")
	}
	p.acceptance()
	p.local()
	r.host.addresses = p.sendingAddresses()
	r.host.families = p.families()
}

// A view is the parameters that some of the cleanup services go by.
type view struct {
	where func(parameter string) string
	get   func(parameter string) string
}

// views are those of main.cf, unless every cleanup service has its own maps,
// and of the cleanup services that have.
func (p *postfix) views() []view {
	main := view{p.main, func(name string) string { return p.parameters[name] }}
	var own []view
	plain := false
	for _, s := range p.services {
		if s.command != "cleanup" {
			continue
		}
		if !slices.ContainsFunc(canonical, func(name string) bool { _, ok := s.parameters[name]; return ok }) {
			plain = true
			continue
		}
		own = append(own, view{
			func(name string) string {
				if _, ok := s.parameters[name]; ok {
					return "master.cf: " + s.name + ": " + name
				}
				return p.main(name)
			},
			func(name string) string {
				if value, ok := s.parameters[name]; ok {
					return value
				}
				return p.parameters[name]
			},
		})
	}
	if plain || len(own) == 0 {
		return append([]view{main}, own...)
	}
	return own
}

var canonical = []string{"sender_canonical_maps", "sender_canonical_classes", "recipient_canonical_maps", "recipient_canonical_classes"}

// asks tells whether there is any table that could be the daemon's.
func (v view) asks() bool {
	return len(tablesIn(v.get("sender_canonical_maps")))+len(tablesIn(v.get("recipient_canonical_maps"))) > 0
}

// A table is one that is asked over a socket.
type table struct {
	text string // type:name
	item int    // which of the list it is in
	kind string // tcp, or of socketmap: inet, unix
	host string
	port string
	path string
	name string // of the map, socketmap only
}

var tableText = pattern(`(?:^|[\s,{:])(tcp:[^\s,{}]+|socketmap:(?:inet|unix):[^\s,{}]+)`)

// tablesIn finds the socket tables in a list, those within pipemap:{…} and
// the like too.
func tablesIn(list string) (tables []table) {
	for i, item := range items(list) {
		for _, m := range tableText().FindAllStringSubmatch(item, -1) {
			t := table{text: m[1], item: i}
			kind, rest, _ := strings.Cut(m[1], ":")
			if t.kind = kind; kind == "socketmap" {
				t.kind, rest, _ = strings.Cut(rest, ":")
				colon := max(strings.LastIndexByte(rest, ':'), 0)
				rest, t.name = rest[:colon], strings.TrimPrefix(rest[colon:], ":")
			}
			if t.kind == "unix" {
				t.path = rest
			} else if host, port, err := net.SplitHostPort(rest); err == nil {
				t.host, t.port = host, port
			} else {
				t.host, t.port = "localhost", rest
			}
			tables = append(tables, t)
		}
	}
	return tables
}

// direction is what the daemon answers to a table: forward, reverse, or another
// name of a map, which it does not have. ours is whether it is the daemon's.
func (p *postfix) direction(t table) (direction string, ours bool) {
	c := p.run.Config
	forward, reverse := samePort(t.port, c.ForwardPort), samePort(t.port, c.ReversePort)
	switch {
	case t.kind == "tcp" && forward:
		return "forward", true
	case t.kind == "tcp" && reverse:
		return "reverse", true
	case t.kind == "inet":
		return t.name, forward || reverse || samePort(t.port, c.Socketmap.Port)
	case t.kind == "unix" && c.Socketmap.Path != "":
		return t.name, sameFile(p.inside(t.path, false), c.Socketmap.Path) || sameFile(p.inside(t.path, true), c.Socketmap.Path)
	}
	return "", false
}

func samePort(a, b string) bool {
	m, err := net.LookupPort("tcp", a)
	n, wrong := net.LookupPort("tcp", b)
	return err == nil && wrong == nil && m == n && m != 0
}

// view looks at the canonical maps and classes that a cleanup service has.
func (p *postfix) view(v view) {
	r := p.run
	t, senders := p.maps(v, "sender_canonical_maps", "forward")
	if senders {
		all := items(v.get("sender_canonical_maps"))
		if after := all[t.item+1:]; len(after) > 0 {
			own := ""
			if t.kind == "tcp" {
				own = ", those of its own domain too"
			}
			r.found(Warning, v.where("sender_canonical_maps"), "put "+t.text+" last",
				"%s is not asked for senders that postsrsd answers for%s", strings.Join(after, " "), own)
		}
		p.live(v, t, sender, func(answer string) string {
			if !strings.HasPrefix(answer, "SRS0") && (r.Forward == nil || r.rewrites(sender)) {
				return "makes " + show(answer) + " of " + sender
			}
			return ""
		})
	}
	t, recipients := p.maps(v, "recipient_canonical_maps", "reverse")
	if recipients && r.Forward != nil {
		address, _ := r.Forward(sender)
		if address == "" {
			address = sender
		}
		for _, other := range items(v.get("recipient_canonical_maps"))[:t.item] {
			if answer, err := p.postmap(address, other); err == nil {
				r.found(Error, v.where("recipient_canonical_maps"), "put "+t.text+" first",
					"%s comes before %s and makes %s of %s: bounces do not come back", other, t.text, show(answer), address)
			}
		}
		p.live(v, t, address, func(answer string) string {
			if answer != sender && address != sender {
				return "does not reverse " + address
			}
			return ""
		})
	}
	// To a milter the classes do not matter.
	p.classes(v, senders || !p.asksMilter(), recipients || !p.asksMilter())
}

func show(answer string) string {
	if answer == "" {
		return "nothing"
	}
	return answer
}

// maps finds the daemon's table in a list of maps.
func (p *postfix) maps(v view, parameter, want string) (t table, ok bool) {
	cure := fmt.Sprintf("write \"%s = %s\"", parameter, p.right(want))
	var elsewhere []string
	for _, found := range tablesIn(v.get(parameter)) {
		switch direction, ours := p.direction(found); {
		case !ours:
			elsewhere = append(elsewhere, found.text)
		case direction == want:
			t, ok = found, true
		case direction == "forward" || direction == "reverse":
			p.run.found(Error, v.where(parameter), cure, "%s asks the daemon in the wrong direction", found.text)
			return t, false
		default:
			p.run.found(Error, v.where(parameter), cure, "%s asks the daemon for a map that it does not have: all mail is deferred", found.text)
			return t, false
		}
	}
	switch {
	case ok, p.asksMilter() && len(elsewhere) == 0:
	case len(elsewhere) > 0:
		p.run.found(Error, v.where(parameter), cure, "%s does not ask this daemon, which has %s for this", strings.Join(elsewhere, " "), p.served(want))
	case want == "forward":
		p.run.found(Error, v.where(parameter), cure, "Postfix does not ask the daemon: no sender is rewritten")
	default:
		p.run.found(Error, v.where(parameter), cure, "Postfix does not ask the daemon: no bounce comes back")
	}
	return t, ok
}

// served is where the daemon answers in a direction.
func (p *postfix) served(direction string) string {
	c := p.run.Config
	switch {
	case c.ForwardPort == "":
		return c.Socketmap.String()
	case direction == "forward":
		return "port " + c.ForwardPort
	}
	return "port " + c.ReversePort
}

// right is the table that asks the daemon in a direction.
func (p *postfix) right(direction string) string {
	c := p.run.Config
	switch {
	case c.ForwardPort != "" && direction == "forward":
		return "tcp:localhost:" + c.ForwardPort
	case c.ForwardPort != "":
		return "tcp:localhost:" + c.ReversePort
	case c.Socketmap.Path != "":
		path := c.Socketmap.Path
		if name, ok := strings.CutPrefix(path, p.parameters["queue_directory"]+"/"); ok {
			path = name // the same inside and outside of Postfix's jail
		}
		return "socketmap:unix:" + path + ":" + direction
	}
	host := c.Socketmap.Host
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "localhost"
	}
	return "socketmap:inet:" + net.JoinHostPort(host, c.Socketmap.Port) + ":" + direction
}

// classes looks at what kinds of addresses the maps are for.
func (p *postfix) classes(v view, ofSenders, ofRecipients bool) {
	r := p.run
	const two = `write "sender_canonical_classes = envelope_sender" and "recipient_canonical_classes = envelope_recipient, header_recipient"`
	senders, recipients := items(v.get("sender_canonical_classes")), items(v.get("recipient_canonical_classes"))
	if ofSenders && slices.Contains(senders, "header_sender") {
		r.found(Error, v.where("sender_canonical_classes"), two,
			"%s: Postfix rewrites the From: header too, and DMARC fails", strings.Join(senders, ", "))
	}
	if ofSenders && !slices.Contains(senders, "envelope_sender") {
		r.found(Error, v.where("sender_canonical_classes"), two, "without envelope_sender no sender is rewritten")
	}
	if ofRecipients && !slices.Contains(recipients, "envelope_recipient") {
		r.found(Error, v.where("recipient_canonical_classes"), two, "without envelope_recipient no bounce comes back")
	}
}

// everywhere looks for the daemon among maps that are for every address.
func (p *postfix) everywhere() {
	for _, t := range tablesIn(p.parameters["canonical_maps"]) {
		if _, ours := p.direction(t); ours {
			p.run.found(Error, p.main("canonical_maps"), "take "+t.text+" out",
				"%s is asked for senders and recipients, in envelope and headers: mail goes to the wrong address", t.text)
		}
	}
}

// live asks a table as Postfix does. wrong says what is wrong with an answer.
func (p *postfix) live(v view, t table, key string, wrong func(answer string) string) {
	r := p.run
	kind, _, _ := strings.Cut(t.text, ":")
	if !p.types[kind] {
		cure := `the other type does too: "tcp:localhost:PORT", "socketmap:inet:localhost:PORT:forward"`
		if r.Config.ForwardPort == "" {
			cure = "Postfix has it since 2.10; a settings file in place of the postsrsd.conf serves tcp, too"
		}
		r.found(Error, t.text, cure, "this Postfix (%s) has no table type %s", p.parameters["mail_version"], kind)
		return
	}
	if t.kind == "unix" && !p.reachableSocket(t) || t.kind != "unix" && !p.reachable(t) {
		return
	}
	text := t.text
	if t.kind == "unix" {
		text = "socketmap:unix:" + r.Config.Socketmap.Path + ":" + t.name // postmap is neither jailed nor in the queue directory
	}
	answer, err := p.postmap(key, text)
	if err != nil && err != errNotFound {
		r.found(Error, t.text, "see the log of postsrsd", "Postfix gets no answer: %v", err)
		return
	}
	if why := wrong(answer); why != "" {
		r.found(Warning, t.text, "reload postsrsd, or see whose port it is: ss -ltnp", "what Postfix asks %s", why)
	}
}

// reachable connects to a table at the addresses that Postfix tries.
func (p *postfix) reachable(t table) bool {
	r := p.run
	addresses, err := net.DefaultResolver.LookupNetIP(r.ctx, "ip", t.host)
	if err != nil {
		r.found(Error, t.text, "write 127.0.0.1 or ::1", "Postfix cannot find the host: %v", err)
		return false
	}
	families := p.families()
	var tried, left []string
	dialer := net.Dialer{Timeout: patience}
	for _, a := range addresses {
		address := net.JoinHostPort(a.Unmap().String(), t.port)
		conn, err := dialer.DialContext(r.ctx, "tcp", address)
		if err == nil {
			conn.Close()
		}
		switch usable := families[family(a.Unmap())]; {
		case usable && err == nil:
			return true
		case usable:
			tried = append(tried, address)
		case err == nil:
			left = append(left, address)
		}
	}
	if len(left) > 0 {
		listens := r.name("ListenAddr")
		if r.Config.ForwardPort == "" {
			listens = r.name("Socketmap")
		}
		r.found(Error, p.main("inet_protocols"), "let the daemon listen on an address of that kind ("+listens+"), or change inet_protocols",
			"%s: Postfix does not connect to %s, where the daemon listens", p.parameters["inet_protocols"], strings.Join(left, " and "))
		return false
	}
	r.found(Error, t.text, "start postsrsd", "nothing answers Postfix at %s: it defers all mail that it would ask about", strings.Join(tried, " and "))
	return false
}

// families are those of inet_protocols.
func (p *postfix) families() map[int]bool {
	families := map[int]bool{}
	for _, protocol := range items(p.parameters["inet_protocols"]) {
		families[4] = families[4] || protocol != "ipv6"
		families[6] = families[6] || protocol != "ipv4"
	}
	return families
}
