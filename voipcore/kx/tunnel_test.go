package kx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"hushbell/voipcore/internal/simnet"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

func TestBuildRefusesImpossiblePaths(t *testing.T) {
	r, n := newLoopRelay(t, nil, Limits{}), newLoopClient(t)
	for _, p := range [][]Relay{nil, path(r, r, r, r), {{Key: r.Key}}, {r.Relay, {Key: r.Key}}} {
		if tun, err := n.Build(within(t), p); err == nil {
			tun.Close()
			t.Errorf("a path of %d hops was built: %v", len(p), p)
		}
	}
	if n.slots() != 0 {
		t.Errorf("%d slots are in use", n.slots())
	}
}

func TestPathAndKeyExchange(t *testing.T) {
	rs := relays(t, 3)
	n := newLoopClient(t)
	for hops := 1; hops <= 3; hops++ {
		tun, err := n.Build(within(t), path(rs[:hops]...))
		if err != nil {
			t.Fatal(err)
		}
		defer tun.Close()
		if got, want := fmt.Sprint(tun.Path()), fmt.Sprint(path(rs[:hops]...)); got != want {
			t.Errorf("path %s, want %s", got, want)
		}
		if got := tun.KeyExchange(); got != "X25519MLKEM768" {
			t.Errorf("keys were agreed by %s, want the hybrid with ML-KEM", got)
		}
	}
}

// Whatever a Build, a request or a Ready waits for, its context ends it at once.
func TestContextEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		h := s.Host(hostAddrs("5.6.0.1")...)
		a, b := s.relay(t, nil, "5.5.0.1"), s.relayOn(t, h, nil, "5.6.0.1")
		n := s.client(t, "9.9.0.1")
		warm, err := n.Build(t.Context(), []Relay{a.Relay, b.Relay})
		if err != nil {
			t.Fatal(err)
		}
		defer warm.Close()
		registered, err := n.BuildIn(t.Context(), []Relay{a.Relay}, NewSecret())
		if err != nil {
			t.Fatal(err)
		}
		defer registered.Close()
		h.Cut() // the second hop is silent, and nobody knows yet
		for _, c := range []struct {
			name string
			do   func(ctx context.Context) error
		}{
			{"Build, in TLS with the second hop", func(ctx context.Context) error {
				_, err := n.Build(ctx, []Relay{a.Relay, b.Relay})
				return err
			}},
			{"a request", func(ctx context.Context) error { _, err := warm.Describe(ctx); return err }},
			{"Ready", registered.Ready},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			start := time.Now()
			err := c.do(ctx)
			if took := time.Since(start); took != 2*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s ends after %v with %v", c.name, took, err)
			}
			cancel()
		}
	})
}

// A hop that does not answer is given up before long: a call waits for it.
func TestSilentHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		h := s.Host(hostAddrs("5.6.0.1")...)
		a, b := s.relay(t, nil, "5.5.0.1"), s.relayOn(t, h, nil, "5.6.0.1")
		n := s.client(t, "9.9.0.1")
		warm, err := n.Build(t.Context(), []Relay{a.Relay, b.Relay})
		if err != nil {
			t.Fatal(err)
		}
		defer warm.Close()
		h.Cut()
		start := time.Now()
		_, err = n.Build(t.Context(), []Relay{a.Relay, b.Relay})
		var he *HopError
		if took := time.Since(start); took != hopTimeout || !errors.Is(err, ErrUnreachable) || !errors.As(err, &he) || he.Key != b.Key {
			t.Errorf("Build ends after %v with %v", took, err)
		}
	})
}

// A client with a clock that it cannot trust asks each hop for the time.
func TestUntrustedClockAsksEachHop(t *testing.T) {
	rs := relays(t, 3)
	n := newLoopClient(t)
	clock := &recordingClock{}
	n.cfg.Clock = clock
	tun, err := n.Build(within(t), path(rs...))
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	for _, r := range rs {
		if clock.count(r.Addrs[0]) == 0 {
			t.Errorf("relay %v was not asked", r.Addrs[0])
		}
	}
}

// A relay without a DHT, and a DHT that fails or says nonsense, get a clear
// answer, and the tunnel stays.
func TestLookups(t *testing.T) {
	d := &mapDHT{items: map[[32]byte]wire.Item{}}
	r, none := newLoopRelay(t, d, Limits{}), newLoopRelay(t, nil, Limits{})
	n, ctx := newLoopClient(t), within(t)
	tun, err := n.Build(ctx, path(r))
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	key := [32]byte{1}
	if _, err := tun.Get(ctx, key); !errors.Is(err, ErrNotFound) {
		t.Errorf("GET of what is not there: %v", err)
	}
	item := wire.Item{Key: key, Seq: 5, Value: []byte("5:hello")}
	if stored, err := tun.Put(ctx, item); err != nil || stored != 1 {
		t.Errorf("PUT: %d, %v", stored, err)
	}
	if got, err := tun.Get(ctx, key); err != nil || got.Seq != 5 || string(got.Value) != "5:hello" {
		t.Errorf("GET: %v, %v", got, err)
	}
	item.Seq = 4
	if _, err := tun.Put(ctx, item); !errors.Is(err, ErrStale) {
		t.Errorf("PUT of an older one: %v", err)
	}
	d.mu.Lock()
	d.items[[32]byte{2}] = wire.Item{Key: key, Seq: 1, Value: []byte("another key")}
	d.items[[32]byte{3}] = wire.Item{Key: [32]byte{3}, Value: make([]byte, wire.MaxItemValue+1)}
	for i := range wire.MaxTraceHops + 5 {
		d.hops = append(d.hops, wire.TraceHop{ID: [32]byte{byte(i)}, Addr: r.Addrs[0]})
	}
	d.mu.Unlock()
	if _, err := tun.Get(ctx, [32]byte{2}); !errors.Is(err, ErrRefused) {
		t.Errorf("an item of another key: %v", err)
	}
	if _, err := tun.Get(ctx, [32]byte{3}); !errors.Is(err, ErrRefused) {
		t.Errorf("an item that is too long: %v", err)
	}
	if hops, err := tun.Trace(ctx, key); err != nil || len(hops) != wire.MaxTraceHops {
		t.Errorf("TRACE: %d hops, %v", len(hops), err)
	}
	d.mu.Lock()
	d.hops[3].Addr = addrs("[::ffff:1.2.3.4]:5")[0]
	d.mu.Unlock()
	if _, err := tun.Trace(ctx, key); !errors.Is(err, ErrRefused) {
		t.Errorf("a hop without a plain address: %v", err)
	}
	if _, err := tun.Get(ctx, key); err != nil {
		t.Errorf("after all that: %v", err)
	}
	without, err := n.Build(ctx, path(none))
	if err != nil {
		t.Fatal(err)
	}
	defer without.Close()
	if _, err := without.Get(ctx, key); !errors.Is(err, ErrRefused) {
		t.Errorf("GET at a relay without a DHT: %v", err)
	}
}

// Lookups cost a relay more than they cost who asks: they are slowed down for
// one tunnel, and refused when many ask.
func TestLookupsAreRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		r := s.relay(t, &mapDHT{}, "5.5.0.1")
		n := s.client(t, "9.9.0.1")
		build := func() *Tunnel {
			tun, err := n.Build(t.Context(), []Relay{r.Relay})
			if err != nil {
				t.Fatal(err)
			}
			return tun
		}
		tun := build()
		start := time.Now()
		for i := range tunnelLookupBurst + 5 {
			if _, err := tun.Get(t.Context(), [32]byte{1}); !errors.Is(err, ErrNotFound) {
				t.Fatalf("GET %d: %v", i, err)
			}
		}
		if took := time.Since(start); took < 4900*time.Millisecond || took > 5100*time.Millisecond {
			t.Errorf("%d lookups took %v, want 5 s", tunnelLookupBurst+5, took)
		}
		tun.Close()
		time.Sleep(time.Minute)
		full := 0
		for range 10 {
			tun := build()
			for range tunnelLookupBurst {
				if _, err := tun.Get(t.Context(), [32]byte{1}); errors.Is(err, ErrFull) {
					full++
				}
			}
			tun.Close()
		}
		if want := 10*tunnelLookupBurst - nodeLookupBurst; full != want {
			t.Errorf("%d of %d lookups were refused, want %d", full, 10*tunnelLookupBurst, want)
		}
	})
}

// The only hop of a tunnel may come from a stranger's record: it must be in the Internet.
func TestOneHopIntoOurNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simnetwork{Net: simnet.New(1)}
		defer s.close()
		n := s.open(t, s.Host(netip.MustParseAddr("9.9.0.1")), Config{})
		l, err := s.Host(netip.MustParseAddr("192.168.0.7")).Listen(22)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		if _, err := n.Build(within(t), []Relay{{pid.NewKey().ID(), addrs("192.168.0.7:22")}}); !errors.Is(err, ErrNotRoutable) {
			t.Errorf("Build = %v, want ErrNotRoutable", err)
		}
		l.Close()
		if err := <-ended; err == nil {
			t.Error("it was dialled")
		}
	})
}
