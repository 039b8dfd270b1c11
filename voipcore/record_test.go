package voipcore

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hushbell/voipcore/dht"
	"hushbell/voipcore/kx"
	"hushbell/voipcore/pid"
	"hushbell/voipcore/wire"
)

// Boxes whose clocks are wrong, as those of boards without a clock of their
// own are, still find each other.
func TestClocksThatAreWrong(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	skew := func(d time.Duration) func(*Config) {
		return func(c *Config) { c.Wall = func() time.Time { return time.Now().Add(d) } }
	}
	boxes := map[string]*box{
		"12 h behind": s.newBox(t, "behind", skew(-12*time.Hour)),
		"12 h ahead":  s.newBox(t, "ahead", skew(12*time.Hour)),
		"in 1970":     s.newBox(t, "1970", skew(-time.Since(time.Unix(3600, 0)))),
	}
	for from, a := range boxes {
		if !a.clock.Trusted() {
			t.Errorf("the clock %s was not corrected", from)
		}
		for to, b := range boxes {
			if a == b {
				continue
			}
			a.call(t, b.key.ID())
			e := a.wait(t, Answered)
			b.wait(t, Answered)
			a.HangUp(e.Call)
			a.wait(t, Ended)
			b.wait(t, Ended)
			t.Logf("%s reached %s", from, to)
		}
	}
}

// forgery is a record of a pid as a test makes it.
type forgery struct {
	key  *pid.Key
	seq  int64
	rec  wire.Record
	edit func(*wire.Item)
}

func (f *forgery) item(t *testing.T, day pid.Day) wire.Item {
	t.Helper()
	value, err := f.rec.Seal(f.key.ID(), day)
	if err != nil {
		t.Fatal(err)
	}
	blinded, err := f.key.ID().Blind(day)
	if err != nil {
		t.Fatal(err)
	}
	it := wire.Item{Key: blinded, Seq: f.seq, Value: value}
	it.Sig = f.key.SignBlinded(day, dht.SignedBytes(it.Seq, it.Value))
	if f.edit != nil {
		f.edit(&it)
	}
	return it
}

// put puts an item through a tunnel, as a callee does.
func (b *box) put(t *testing.T, it wire.Item) error {
	t.Helper()
	tunnel, err := b.build(t.Context(), b.pathTo(kx.Relay{}), b.node.Build)
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	_, err = tunnel.Put(t.Context(), it)
	return err
}

func TestRecords(t *testing.T) {
	s := newSwarm(t, 8, "127.0.0.1")
	a := s.newBox(t, "a", nil)
	today := pid.DayOf(time.Now())
	valid := func(left time.Duration) wire.Record {
		return wire.Record{
			ServerKey: pid.NewKey().ID(), ValidUntil: time.Now().Add(left).Unix(),
			ExchangePoints: []wire.ExchangePoint{{Relay: s.relays[0].cfg.RelayKey.ID(), Addr: s.boot[0]}},
		}
	}
	lookup := func(id pid.ID) (*wire.Record, error) {
		rec, asked, err := a.lookup(t.Context(), id)
		if len(asked) < lookupRelays || asked[0] == asked[1] {
			t.Errorf("asked %d relays, or one of them twice", len(asked))
		}
		return rec, err
	}

	t.Run("missing", func(t *testing.T) {
		if _, err := lookup(pid.NewKey().ID()); !errors.Is(err, ErrNotFound) {
			t.Errorf("lookup = %v, want ErrNotFound", err)
		}
	})
	t.Run("of yesterday, and of tomorrow", func(t *testing.T) {
		for _, day := range []pid.Day{today - 1, today + 1} {
			f := forgery{key: pid.NewKey(), seq: 1, rec: valid(time.Hour)}
			if err := a.put(t, f.item(t, day)); err != nil {
				t.Fatal(err)
			}
			if rec, err := lookup(f.key.ID()); err != nil || rec.ServerKey != f.rec.ServerKey {
				t.Errorf("day %+d: lookup = %v", day-today, err)
			}
		}
	})
	t.Run("out of date", func(t *testing.T) {
		f := forgery{key: pid.NewKey(), seq: 1, rec: valid(-time.Minute)}
		if err := a.put(t, f.item(t, today)); err != nil {
			t.Fatal(err)
		}
		if _, err := lookup(f.key.ID()); !errors.Is(err, ErrNotFound) {
			t.Errorf("lookup = %v, want ErrNotFound", err)
		}
	})
	t.Run("wrongly signed", func(t *testing.T) {
		f := forgery{key: pid.NewKey(), seq: 1, rec: valid(time.Hour), edit: func(it *wire.Item) { it.Sig[3] ^= 1 }}
		if err := a.put(t, f.item(t, today)); err == nil {
			t.Error("the DHT took it")
		}
		if _, err := lookup(f.key.ID()); !errors.Is(err, ErrNotFound) {
			t.Errorf("lookup = %v, want ErrNotFound", err)
		}
	})
	t.Run("signed by somebody who knows the pid", func(t *testing.T) {
		f := forgery{key: pid.NewKey(), seq: 1, rec: valid(time.Hour)}
		it := f.item(t, today)
		it.Sig = [64]byte(ed25519.Sign(pid.NewKey().Private(), dht.SignedBytes(it.Seq, it.Value)))
		if err := a.put(t, it); err == nil {
			t.Error("the DHT took it")
		}
	})
	t.Run("older than another", func(t *testing.T) {
		f := forgery{key: pid.NewKey(), seq: 10, rec: valid(time.Hour)}
		if err := a.put(t, f.item(t, today)); err != nil {
			t.Fatal(err)
		}
		old := forgery{key: f.key, seq: 9, rec: valid(time.Hour)}
		if err := a.put(t, old.item(t, today)); !errors.Is(err, kx.ErrStale) {
			t.Errorf("put of an older one = %v, want ErrStale", err)
		}
		if rec, err := lookup(f.key.ID()); err != nil || rec.ServerKey != f.rec.ServerKey {
			t.Errorf("lookup = %v, or the older record", err)
		}
	})
	t.Run("the state of a callee was lost", func(t *testing.T) {
		// A record with a seq far ahead is there already: the callee goes past it.
		k := pid.NewKey()
		f := forgery{key: k, seq: time.Now().Add(24 * time.Hour).Unix(), rec: valid(time.Hour)}
		if err := a.put(t, f.item(t, today)); err != nil {
			t.Fatal(err)
		}
		b := s.newBox(t, "b", func(c *Config) { c.Keys = []*pid.Key{k} })
		a.call(t, k.ID())
		a.HangUp(a.wait(t, Answered).Call)
		a.wait(t, Ended)
		b.wait(t, Ended)
	})
}

// A liar is a lookup relay that answers as it likes.
type liar struct {
	kx.DHT
	get func(key [32]byte) (wire.Item, error)
}

func (l liar) Get(_ context.Context, key [32]byte) (wire.Item, error) { return l.get(key) }

// One lookup relay that lies does not keep a callee from being found, nor can
// it pass off another record.
func TestLookupRelayThatLies(t *testing.T) {
	old := wire.Item{}
	lies := map[string]func(key [32]byte) (wire.Item, error){
		"no such record": func([32]byte) (wire.Item, error) { return wire.Item{}, kx.ErrNotFound },
		"garbage":        func(key [32]byte) (wire.Item, error) { return wire.Item{Key: key, Value: []byte("x")}, nil },
		"another key":    func([32]byte) (wire.Item, error) { return wire.Item{Value: []byte("x")}, nil },
		"an older record": func(key [32]byte) (wire.Item, error) {
			if key != old.Key {
				return wire.Item{}, kx.ErrNotFound
			}
			return old, nil
		},
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			s := &swarm{}
			s.grow(t, 7, "127.0.0.1", nil)
			s.grow(t, 1, "127.0.0.1", func(c *Core) kx.DHT { return liar{(*lookupService)(c.dht), lie} })
			bad := s.relays[7].cfg.RelayKey.ID()
			a := s.newBox(t, "a", func(c *Config) { c.Hops = 1 })
			k, today := pid.NewKey(), pid.DayOf(time.Now())
			rec := wire.Record{ServerKey: pid.NewKey().ID(), ValidUntil: time.Now().Add(time.Hour).Unix(),
				ExchangePoints: []wire.ExchangePoint{{Relay: s.relays[0].cfg.RelayKey.ID(), Addr: s.boot[0]}}}
			stale := rec
			stale.ServerKey = pid.NewKey().ID()
			old = (&forgery{key: k, seq: 5, rec: stale}).item(t, today)
			fresh := forgery{key: k, seq: 6, rec: rec}
			for a.put(t, fresh.item(t, today)) != nil {
			}
			a.learn(t, len(s.relays))
			// Only the liar and one more can be drawn: both are asked.
			for _, r := range s.relays[1:7] {
				a.relays.Failed(kx.Relay{Key: r.cfg.RelayKey.ID(), Addrs: []netip.AddrPort{r.cfg.Listen}})
			}
			got, asked, err := a.lookup(t.Context(), k.ID())
			if err != nil || got.ServerKey != rec.ServerKey {
				t.Errorf("lookup = %v, or the wrong record", err)
			}
			if !slices.Contains(asked, bad) {
				t.Error("the liar was not asked")
			}
		})
	}
}

// One relay that lies, asked twice since another one is slow, does not outvote it.
func TestSimLiarBesideASlowRelay(t *testing.T) {
	inWorld(t, 6, wan, func(t *testing.T, w *world) {
		var asked atomic.Bool // lookups are slow from then on
		w.addRelayWith(t, w.host("23.7.0.1"), nil, func(c *Core) kx.DHT {
			d := (*lookupService)(c.dht)
			return liar{d, func(key [32]byte) (wire.Item, error) {
				if asked.Load() {
					time.Sleep(headStart + headStart/2)
				}
				return d.Get(context.Background(), key)
			}}
		})
		w.addRelayWith(t, w.host("23.8.0.1"), nil, func(c *Core) kx.DHT {
			return liar{(*lookupService)(c.dht), func([32]byte) (wire.Item, error) { return wire.Item{}, kx.ErrNotFound }}
		})
		a := w.box(t, "a", w.host("45.1.0.1"), func(c *Config) { c.Hops = 1 })
		k := pid.NewKey()
		f := forgery{key: k, seq: 1, rec: wire.Record{ServerKey: pid.NewKey().ID(), ValidUntil: time.Now().Add(time.Hour).Unix(),
			ExchangePoints: []wire.ExchangePoint{{Relay: w.relays[0].cfg.RelayKey.ID(), Addr: w.boot[0]}}}}
		a.learn(t, len(w.relays))
		if err := a.put(t, f.item(t, pid.DayOf(time.Now()))); err != nil {
			t.Fatal(err)
		}
		// Only the slow one and the liar can be drawn; of the third draw it is either.
		for _, r := range w.relays[:6] {
			a.relays.Failed(kx.Relay{Key: r.cfg.RelayKey.ID(), Addrs: []netip.AddrPort{r.cfg.Listen}})
		}
		asked.Store(true)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, _, err := a.lookup(t.Context(), k.ID()); err != nil {
					t.Errorf("lookup = %v", err)
				}
			})
		}
		wg.Wait()
	})
}
