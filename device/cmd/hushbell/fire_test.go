package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// relayAt runs TLS with a relay as its clients do, and returns its key.
func relayAt(t *testing.T, addr string) ed25519.PublicKey {
	t.Helper()
	d := &net.Dialer{Timeout: 30 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"hush-link/1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Its hello, a cell.
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 512)); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].PublicKey.(ed25519.PublicKey)
}

// A relay under fire on both its ports goes on serving, with as much memory as
// before; and one whose plug is pulled is the same relay afterwards.
func TestRelayUnderFire(t *testing.T) {
	state, addr := t.TempDir(), fmt.Sprintf("127.0.0.1:%d", freePort(t, "127.0.0.1"))
	args := []string{"relay", "--listen", addr, "--state", state, "--test-network"}
	p := start(t, "", args...)
	p.expect("relay ready at")
	key := relayAt(t, addr)
	const idle = 25 << 10 // kB, what an idle relay may need
	before := rssKB(p.Process.Pid)
	if before == 0 || before > idle && !testing.Short() { // the race detector needs more
		t.Errorf("an idle relay has %d kB of memory, want less than %d", before, idle)
	}
	u, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	noise := make([]byte, 1500)
	for i := range 5000 {
		rand.Read(noise)
		n := i % len(noise)
		switch i % 3 {
		case 0:
			copy(noise, "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t1:a1:y1:q")
		case 1:
			n = 320 // as long as a voice cell
		}
		if _, err := u.Write(noise[:n]); err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 {
			time.Sleep(time.Millisecond) // let some of it arrive
		}
	}
	for i := range 100 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([][]byte{nil, noise, []byte("GET / HTTP/1.1\r\n\r\n"), append([]byte{22, 3, 1, 255, 255}, noise...)}[i%4])
		c.Close()
	}
	if again := relayAt(t, addr); !again.Equal(key) {
		t.Error("after the garbage it is another relay")
	}
	if after := rssKB(p.Process.Pid); after > 2*idle && !testing.Short() {
		t.Errorf("garbage made %d kB of %d", after, before)
	}
	if out := p.output(); strings.Count(out, "127.0.0.1") != 1 || strings.Contains(out, "panic") { // the address that it is ready at
		t.Errorf("it says\n%s", out)
	}

	p.Process.Kill()
	p.Wait()
	p = start(t, "", args...)
	p.expect("relay ready at")
	if again := relayAt(t, addr); !again.Equal(key) {
		t.Error("after a power cut it is another relay")
	}
	if fi, err := os.Stat(state + "/relay.key"); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("its key: %v, %v", fi, err)
	}
	p.stop()
}
