package kx

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"

	"hushbell/voipcore/internal/keytls"
	"hushbell/voipcore/pid"
)

// A countingConn counts what was written to it and taken at the other end.
type countingConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// Of a certificate without end a relay takes no more than a handshake needs.
func TestHandshakeWithoutEnd(t *testing.T) {
	r := newLoopRelay(t, nil, Limits{})
	cert, err := keytls.Certificate(pid.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	for range 14 {
		cert.Certificate = append(cert.Certificate, make([]byte, 16<<10))
	}
	ours, theirs := net.Pipe() // nothing is kept on the way
	defer ours.Close()
	if !r.links.reserve(&r.links.accepted, 512) {
		t.Fatal("no place for a link")
	}
	served := make(chan struct{})
	go func() { r.serveLink(theirs); close(served) }()
	count := &countingConn{Conn: ours}
	c := tls.Client(count, keytls.Client(alpnLink, &r.Key, &cert))
	if err := c.HandshakeContext(within(t)); err == nil {
		_, err = c.Read(make([]byte, 1)) // in TLS 1.3 the client learns of it here
		if err == nil {
			t.Error("it was taken")
		}
	}
	ours.Close()
	<-served
	if n := count.written.Load(); n > 2*handshakeBytes {
		t.Errorf("the relay has taken %d bytes", n)
	}
}
