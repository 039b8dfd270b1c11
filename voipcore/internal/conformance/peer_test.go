// Package conformance holds a second implementation of the protocol against the
// first: a caller written from voipcore/PROTOCOL.md with the standard library
// and an AEAD alone. It lays out every byte itself and uses nothing of packages
// wire, keytls and session, nor the client of kx. What it does not do is what no
// correct relay makes it do: it has no error handling, it fails the test.
package conformance

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// guard bounds everything that waits for the other side.
const guard = 60 * time.Second

// tlsConfig is TLS 1.3 with a protocol and, if key is not nil, a certificate.
func tlsConfig(t *testing.T, alpn string, key ed25519.PrivateKey) *tls.Config {
	t.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, InsecureSkipVerify: true}
	if key == nil {
		return c
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	c.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return c
}

// handshake runs the client's side of TLS and checks who answers.
func handshake(t *testing.T, over net.Conn, alpn string, own ed25519.PrivateKey, want [32]byte) *tls.Conn {
	t.Helper()
	c := tls.Client(over, tlsConfig(t, alpn, own))
	check(t, c.Handshake())
	cs := c.ConnectionState()
	if cs.NegotiatedProtocol != alpn {
		t.Fatalf("protocol %q, want %q", cs.NegotiatedProtocol, alpn)
	}
	cert := cs.PeerCertificates[0]
	if key, ok := cert.PublicKey.(ed25519.PublicKey); !ok || [32]byte(key) != want {
		t.Fatalf("%s: the certificate holds key %x, want %x", alpn, cert.PublicKey, want)
	}
	// The same in every certificate, so that it tells nothing but the key.
	if cert.SerialNumber.Int64() != 1 || cert.NotBefore.Unix() != 0 || cert.NotAfter.Year() != 9999 || len(cert.RawSubject) != 2 {
		t.Errorf("%s: certificate number %v of %v to %v for %x", alpn, cert.SerialNumber, cert.NotBefore, cert.NotAfter, cert.RawSubject)
	}
	if cs.CurveID != tls.X25519MLKEM768 {
		t.Errorf("%s: keys agreed by %v, want the hybrid X25519MLKEM768", alpn, cs.CurveID)
	}
	return c
}

// export returns both halves of 64 bytes of the exporter.
func export(t *testing.T, c *tls.Conn, label string) (there, back voiceKey) {
	t.Helper()
	cs := c.ConnectionState()
	b, err := cs.ExportKeyingMaterial(label, nil, 64)
	check(t, err)
	return voiceKey{key: b[:32]}, voiceKey{key: b[32:]}
}

// A voiceKey is one key in one direction, with the sender's counter.
type voiceKey struct {
	key  []byte
	next uint64
}

func (k *voiceKey) aead() (a interface {
	Seal(dst, nonce, text, ad []byte) []byte
	Open(dst, nonce, text, ad []byte) ([]byte, error)
}) {
	a, err := chacha20poly1305.New(k.key)
	if err != nil {
		panic(err)
	}
	return a
}

func nonce(counter uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 4), counter) }

// seal is counter u32, then the sealed text.
func (k *voiceKey) seal(text, ad []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(k.next))
	k.next++
	return k.aead().Seal(b, nonce(k.next-1), text, ad)
}

func (k *voiceKey) open(b, ad []byte) ([]byte, error) {
	return k.aead().Open(nil, nonce(uint64(binary.BigEndian.Uint32(b))), b[4:], ad)
}

// A linkConn is one link: cells over TLS, and one tunnel at most.
type linkConn struct {
	t   *testing.T
	tls *tls.Conn

	writing sync.Mutex // holds whole cells

	mu     sync.Mutex // guards what follows
	cond   sync.Cond
	data   []byte // of the tunnel, not read yet
	credit int    // DATA cells that we may send
	voice  [][]byte
	err    error
	reason int // of a DESTROY; -1 if there was none
}

const tunnelID = 1 // the dialling side's are odd

func newLink(t *testing.T, c *tls.Conn) *linkConn {
	l := &linkConn{t: t, tls: c, credit: 16, reason: -1}
	l.cond.L = &l.mu
	return l
}

// send writes one cell: tunnel u32, command u8, length u16, data, zeros.
func (l *linkConn) send(tunnel uint32, command byte, data []byte) {
	var cell [512]byte
	binary.BigEndian.PutUint32(cell[:], tunnel)
	cell[4] = command
	binary.BigEndian.PutUint16(cell[5:], uint16(len(data)))
	copy(cell[7:], data)
	l.writing.Lock()
	defer l.writing.Unlock()
	l.tls.Write(cell[:]) // an error shows where an answer is waited for
}

// receive reads one cell.
func (l *linkConn) receive() (tunnel uint32, command byte, data []byte, err error) {
	var cell [512]byte
	if _, err := io.ReadFull(l.tls, cell[:]); err != nil {
		return 0, 0, nil, err
	}
	n := binary.BigEndian.Uint16(cell[5:])
	return binary.BigEndian.Uint32(cell[:]), cell[4], cell[7 : 7+n], nil
}

// run reads cells until the link ends.
func (l *linkConn) run() {
	got := 0
	for {
		tunnel, command, data, err := l.receive()
		l.mu.Lock()
		if err != nil {
			l.err = err
			l.cond.Broadcast()
			l.mu.Unlock()
			return
		}
		give := false
		switch {
		case command == 0 && tunnel == 0: // PADDING
		case command == 3 && tunnel == tunnelID: // DATA
			l.data = append(l.data, data...)
			got++
			give = got%8 == 0
		case command == 4 && tunnel == tunnelID: // CREDIT
			l.credit += int(binary.BigEndian.Uint16(data))
		case command == 5 && tunnel == tunnelID: // DESTROY
			l.reason, l.err = int(data[0]), io.EOF
		case command == 6 && tunnel == tunnelID: // VOICE
			l.voice = append(l.voice, data)
		default:
			l.t.Errorf("cell with command %d on tunnel %d", command, tunnel)
		}
		l.cond.Broadcast()
		l.mu.Unlock()
		if give {
			l.send(tunnelID, 4, []byte{0, 8})
		}
	}
}

// Read reads the tunnel's stream.
func (l *linkConn) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.data) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		l.cond.Wait()
	}
	n := copy(p, l.data)
	l.data = l.data[n:]
	return n, nil
}

// Write writes the tunnel's stream in cells of 505 bytes, as credit allows.
func (l *linkConn) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		l.mu.Lock()
		for l.credit == 0 && l.err == nil {
			l.cond.Wait()
		}
		l.credit--
		err := l.err
		l.mu.Unlock()
		if err != nil {
			return all - len(p), err
		}
		n := min(len(p), 505)
		l.send(tunnelID, 3, p[:n])
		p = p[n:]
	}
	return all, nil
}

// awaitVoice waits for a body in a VOICE cell.
func (l *linkConn) awaitVoice() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.voice) == 0 {
		if l.err != nil {
			l.t.Fatalf("waiting for voice: %v", l.err)
		}
		l.cond.Wait()
	}
	v := l.voice[0]
	l.voice = l.voice[1:]
	return v
}

// What else TLS wants of a net.Conn.
func (l *linkConn) Close() error                     { return l.tls.Close() }
func (l *linkConn) LocalAddr() net.Addr              { return l.tls.LocalAddr() }
func (l *linkConn) RemoteAddr() net.Addr             { return l.tls.RemoteAddr() }
func (l *linkConn) SetDeadline(time.Time) error      { return nil }
func (l *linkConn) SetReadDeadline(time.Time) error  { return nil }
func (l *linkConn) SetWriteDeadline(time.Time) error { return nil }

// read reads exactly n bytes.
func read(t *testing.T, r io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	check(t, err)
	return b
}

func write(t *testing.T, w io.Writer, parts ...[]byte) {
	t.Helper()
	_, err := w.Write(join(parts...))
	check(t, err)
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
