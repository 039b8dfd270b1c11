package dht

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
)

func stub(n int) *bep44.Item {
	return &bep44.Item{K: [32]byte{byte(n), byte(n >> 8), byte(n >> 16), 1}, V: "v", Seq: int64(n)}
}

// A full store keeps the items nearest to its own id, in whatever order they
// come.
func TestStoreIsBounded(t *testing.T) {
	const max, all = 50, 500
	id := [20]byte{0x5a}
	s := newStore(id, max, time.Hour, time.Now)
	full := 0
	for _, n := range rand.Perm(all) {
		switch err := s.Put(stub(n)); {
		case errors.Is(err, errFull):
			full++
		case err != nil:
			t.Fatal(err)
		}
		if len(s.items) > max {
			t.Fatalf("%d items, at most %d are allowed", len(s.items), max)
		}
	}
	if full == 0 || len(s.items) != max {
		t.Errorf("%d items, %d refused, want %d and some", len(s.items), full, max)
	}
	for n := range all {
		target := stub(n).Target()
		nearer := 0
		for m := range all {
			if closer(id, stub(m).Target(), target) {
				nearer++
			}
		}
		if _, kept := s.items[target]; kept != (nearer < max) {
			t.Errorf("item %d with %d nearer ones: kept %v", n, nearer, kept)
		}
	}
	// What is there can be put again when it is full.
	for target, kept := range s.items {
		if err := s.Put(kept.item); err != nil {
			t.Errorf("refresh of %x: %v", target, err)
		}
	}
}

func TestStoreExpires(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newStore([20]byte{}, 2, time.Hour, func() time.Time { return now })
	for n := range 2 {
		if err := s.Put(stub(n)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Hour - 1)
	if _, err := s.Get(stub(0).Target()); err != nil {
		t.Errorf("Get before the hour: %v", err)
	}
	if err := s.Put(stub(1)); err != nil {
		t.Fatal(err)
	}
	now = now.Add(1)
	if _, err := s.Get(stub(0).Target()); err != bep44.ErrItemNotFound {
		t.Errorf("Get after the hour: %v", err)
	}
	if err := s.Put(stub(7)); err != nil { // what has expired makes room
		t.Errorf("Put into a store with expired items: %v", err)
	}
	if left := s.sweep(); left != 2 {
		t.Errorf("%d items left, want 2", left)
	}
	if err := s.Del(stub(7).Target()); err != nil || s.sweep() != 1 {
		t.Errorf("Del: %v, %d items left", err, s.sweep())
	}
}

func TestStoreRefuses(t *testing.T) {
	s := newStore([20]byte{}, 10, time.Hour, time.Now)
	for name, change := range map[string]func(*bep44.Item){
		"an immutable item": func(i *bep44.Item) { i.K = [32]byte{} },
		"a salt":            func(i *bep44.Item) { i.Salt = []byte("s") },
		"a number":          func(i *bep44.Item) { i.V = int64(1) },
		"no value":          func(i *bep44.Item) { i.V = nil },
		"a large value":     func(i *bep44.Item) { i.V = string(make([]byte, MaxValue+1)) },
		"a negative seq":    func(i *bep44.Item) { i.Seq = -1 },
		"a large seq":       func(i *bep44.Item) { i.Seq = MaxSeq + 1 },
	} {
		i := stub(1)
		change(i)
		if err := s.Put(i); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if len(s.items) != 0 {
		t.Errorf("%d items", len(s.items))
	}
}

func TestVerify(t *testing.T) {
	it := sign(key(1), 42, "value")
	if err := it.Verify(); err != nil {
		t.Fatal(err)
	}
	// BEP 44's own example of what is signed, without and with our value.
	if got, want := string(SignedBytes(4, []byte("Hello world!"))), "3:seqi4e1:v12:Hello world!"; got != want {
		t.Errorf("SignedBytes = %q, want %q", got, want)
	}
	for name, change := range map[string]func(*Item){
		"key":    func(i *Item) { i.Key[3] ^= 1 },
		"no key": func(i *Item) { i.Key = [32]byte{} },
		"seq":    func(i *Item) { i.Seq++ },
		"sig":    func(i *Item) { i.Sig[40] ^= 1 },
		"value":  func(i *Item) { i.Value = []byte("Value") },
		"empty":  func(i *Item) { i.Value = nil },
	} {
		bent := it
		change(&bent)
		if bent.Verify() == nil {
			t.Errorf("another %s is not noticed", name)
		}
	}
}
