package store

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	prefix   = "PostSRSd/"
	maxConns = 8 // connections at once; more requests wait
)

// redisServer keeps each address as a string that expires. Connections are
// made when they are needed.
type redisServer struct{ pool *redis.Pool }

func newRedis(addresses []string) *redisServer {
	return &redisServer{&redis.Pool{
		MaxActive:   maxConns,
		MaxIdle:     maxConns,
		IdleTimeout: 5 * time.Minute,
		Wait:        true,
		DialContext: func(ctx context.Context) (redis.Conn, error) { return dial(ctx, addresses) },
	}}
}

// dial tries the addresses one after the other, each for its share of the time.
func dial(ctx context.Context, addresses []string) (redis.Conn, error) {
	dialer := net.Dialer{Timeout: timeout / time.Duration(len(addresses))}
	var conn net.Conn
	var err error
	for _, address := range addresses {
		network := "tcp"
		if strings.HasPrefix(address, "/") {
			network = "unix"
		}
		if conn, err = dialer.DialContext(ctx, network, address); err == nil {
			return redis.NewConn(conn, timeout, timeout), nil
		}
	}
	return nil, err
}

func (r *redisServer) renew(ctx context.Context, key []byte) (there bool, err error) {
	return redis.Bool(r.do(ctx, "EXPIRE", prefix+string(key), int(Lifetime/time.Second)))
}

func (r *redisServer) add(ctx context.Context, key, address []byte) error {
	_, err := r.do(ctx, "SETEX", prefix+string(key), int(Lifetime/time.Second), address)
	return err
}

func (r *redisServer) get(ctx context.Context, key []byte) (address []byte, err error) {
	// Others may have put anything there: no more than an address is fetched.
	return redis.Bytes(r.do(ctx, "GETRANGE", prefix+string(key), 0, maxAddress))
}

// sweep has nothing to do: entries expire by themselves.
func (r *redisServer) sweep(context.Context) (more bool, err error) { return false, nil }

func (r *redisServer) close() { r.pool.Close() }

// do runs one command. A connection that was idle may turn out to be closed, as
// after a restart of the server; then the next one is tried.
func (r *redisServer) do(ctx context.Context, command string, arguments ...any) (reply any, err error) {
	deadline, _ := ctx.Deadline()
	for range maxConns + 1 {
		var conn redis.Conn
		if conn, err = r.pool.GetContext(ctx); err != nil {
			return nil, err
		}
		reply, err = redis.DoWithTimeout(conn, max(time.Until(deadline), 1), command, arguments...)
		broken := conn.Err() != nil
		conn.Close()
		if !broken || ctx.Err() != nil {
			break
		}
	}
	return reply, err
}
