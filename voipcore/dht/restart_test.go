package dht

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A node that has been in the network finds its way back when the nodes of its
// configuration are gone, and is the same node there.
func TestRestartWithDeadBootstrap(t *testing.T) {
	t.Parallel()
	nodes := swarm(t, 5, "127.0.0.1:0", Config{})
	state := filepath.Join(t.TempDir(), "nodes")
	cfg := Config{StateFile: state, Bootstrap: []netip.AddrPort{nodes[0].addr()}}
	n := open(t, cfg)
	waitReady(t, n)
	eventually(t, "it knows all", func() bool { return n.Stats().Good == 5 })
	id := n.overlays[0].id
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	nodes[0].Close()

	n = open(t, cfg)
	waitReady(t, n)
	if n.overlays[0].id != id {
		t.Error("another id after the restart")
	}
	it := sign(key(1), 1, "after the restart")
	mustPut(t, n, it)
	assertGet(t, nodes[3], it)

	// A client keeps the nodes, not the id.
	client := open(t, Config{ReadOnly: true, StateFile: state})
	waitReady(t, client)
	if client.overlays[0].id == id {
		t.Error("a client uses the id of the file")
	}
	assertGet(t, client, it)
	// Nor does a node that meets nobody forget what it knew.
	client.Close()
	for _, n := range append(nodes, n) {
		n.Close()
	}
	before, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	lonely := open(t, cfg)
	lonely.Close()
	if after, err := os.ReadFile(state); err != nil || !bytes.Equal(before, after) {
		t.Errorf("after a start without network the file is %q, %v, was %q", after, err, before)
	}
}

// The network is not there yet when the node starts, and comes later.
func TestNetworkComesLater(t *testing.T) {
	t.Parallel()
	reserved := listen(t, "127.0.0.1:0")
	at := reserved.LocalAddr().(*net.UDPAddr).AddrPort()
	reserved.Close()
	n := open(t, Config{Bootstrap: []netip.AddrPort{at}})
	if _, err := n.Get(testContext(t), key32(1)); err != ErrNoNodes {
		t.Errorf("Get without network = %v, want ErrNoNodes", err)
	}
	select {
	case <-n.Ready():
		t.Error("ready without network")
	default:
	}
	first := open(t, Config{Conn: listen(t, at.String())})
	it := sign(key(1), 1, "late")
	mustPut(t, n, it) // asks the configured node as long as it knows no other
	waitReady(t, n)
	if s := first.Stats(); s.Items != 1 {
		t.Errorf("the late node has %d items, want 1", s.Items)
	}
}

func TestDamagedNodesFile(t *testing.T) {
	state := filepath.Join(t.TempDir(), "nodes")
	if err := os.WriteFile(state, []byte("hushbell nodes 1\nnode xyz"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	n := open(t, Config{StateFile: state, Log: slog.New(slog.NewTextHandler(&out, nil))})
	waitReady(t, n)
	n.Close()
	if !strings.Contains(out.String(), "line 2") {
		t.Errorf("the log does not name the line: %s", &out)
	}
}

func TestNodesFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes")
	if v, err := loadNodes(path); err != nil || len(v.nodes) != 0 {
		t.Errorf("no file: %v, %v", v, err)
	}
	want := saved{self4: [20]byte{1}, self6: [20]byte{2}, nodes: []Hop{
		{[20]byte{3}, netip.MustParseAddrPort("1.2.3.4:5")},
		{[20]byte{4}, netip.MustParseAddrPort("[2001:db8::1]:7000")},
	}}
	if err := saveNodes(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := loadNodes(path)
	if err != nil || got.self4 != want.self4 || got.self6 != want.self6 || len(got.nodes) != 2 ||
		got.nodes[0] != want.nodes[0] || got.nodes[1] != want.nodes[1] {
		t.Errorf("loadNodes = %v, %v, want %v", got, err, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for range 600 {
		want.nodes = append(want.nodes, want.nodes[0])
	}
	if err := saveNodes(path, want); err != nil {
		t.Fatal(err)
	}
	if got, err := loadNodes(path); err != nil || len(got.nodes) != maxFileNodes {
		t.Errorf("%d nodes, %v, want %d", len(got.nodes), err, maxFileNodes)
	}
}

func FuzzNodesFile(f *testing.F) {
	f.Add("hushbell nodes 1\nself4 " + strings.Repeat("01", 20) + "\nnode " + strings.Repeat("02", 20) + " 1.2.3.4:5\n")
	f.Add("hushbell nodes 1")
	f.Add("hushbell nodes 1\nself6 00\n\nnode")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseNodes([]byte(text))
		if err != nil {
			if len(v.nodes) != 0 || v.self4 != [20]byte{} {
				t.Errorf("an error and a result: %v", v)
			}
			return
		}
		path := filepath.Join(t.TempDir(), "nodes")
		if err := saveNodes(path, v); err != nil {
			t.Fatal(err)
		}
		if again, err := loadNodes(path); err != nil || len(again.nodes) != len(v.nodes) || again.self4 != v.self4 || again.self6 != v.self6 {
			t.Errorf("%q is %v, and after a round through the file %v, %v", text, v, again, err)
		}
	})
}

// Close ends what is under way and leaves no goroutine behind, the library's
// included.
func TestCloseLeavesNothing(t *testing.T) {
	runtime.GC()
	before := runtime.NumGoroutine()
	dead := listen(t, "127.0.0.1:0") // takes queries and answers none
	defer dead.Close()
	at := dead.LocalAddr().(*net.UDPAddr).AddrPort()
	first := open(t, Config{})
	n := open(t, Config{Bootstrap: []netip.AddrPort{first.addr(), at}})
	waitReady(t, n)
	errs := make(chan error)
	for i := range 8 {
		go func() {
			for {
				if _, err := n.Put(context.Background(), sign(key(i), 1, "x")); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	eventually(t, "something is stored", func() bool { return first.Stats().Items > 0 })
	for range 2 {
		if err := n.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	for range 8 {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("a Put under way = %v, want ErrClosed", err)
		}
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// The socket is closed by somebody else: no panic, and Close says so.
func TestSocketClosedByAnother(t *testing.T) {
	socket := listen(t, "127.0.0.1:0")
	n := open(t, Config{Conn: socket})
	waitReady(t, n)
	socket.Close()
	time.Sleep(50 * time.Millisecond)
	if _, err := n.Get(testContext(t), key32(1)); err != ErrNoNodes {
		t.Errorf("Get = %v, want ErrNoNodes", err)
	}
	if err := n.Close(); err == nil || !strings.Contains(err.Error(), "closed by somebody else") {
		t.Errorf("Close = %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Open(Config{}); err == nil {
		t.Error("Open without a socket works")
	}
	c, err := net.ListenPacket("unixgram", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := Open(Config{Conn: c}); err == nil {
		t.Error("Open on a unix socket works")
	}
}
