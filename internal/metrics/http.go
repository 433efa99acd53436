package metrics

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// Limits of the endpoint. Whoever asks has a connection for one request; more
// than so many at once wait, and none waits for long.
const (
	maxClients = 16
	maxHeader  = 4096            // bytes; net/http adds as many
	timeout    = 5 * time.Second // for a request to arrive, and again for the answer to be taken
)

// Serve answers GET /metrics on ln, and 404 to anything else, until the server
// that it returns is closed. What clients do wrong is not logged.
func (m *Metrics) Serve(ln net.Listener) io.Closer {
	s := &http.Server{
		Handler:        m,
		ReadTimeout:    m.timeout,
		WriteTimeout:   2 * m.timeout, // begins with the request's header
		MaxHeaderBytes: maxHeader,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	s.SetKeepAlivesEnabled(false)
	go func() {
		if err := s.Serve(netutil.LimitListener(ln, maxClients)); !errors.Is(err, http.ErrServerClosed) {
			ln.Close()
		}
	}()
	return s
}

// ServeHTTP implements http.Handler.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/metrics":
		http.NotFound(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "GET this", http.StatusMethodNotAllowed)
	default:
		var text bytes.Buffer
		m.set.WritePrometheus(&text)
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Write(text.Bytes())
	}
}
