package dht

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/krpc"
)

// A store keeps the items of others. It is a bep44.Store: the library checks
// signature and seq of an item before it comes here, and asks without looking
// at the age, so that an expired item does not stand in the way of one with a
// lower seq.
//
// When it is full the items farthest from our own id go: others are responsible
// for those. An attacker can make keys that are near, as everywhere in such
// networks; what he then pushes out is found at the other seven nodes.
type store struct {
	id     [20]byte
	max    int
	expire time.Duration
	now    func() time.Time

	mu    sync.Mutex
	items map[[20]byte]stored // guarded by mu
}

type stored struct {
	item *bep44.Item
	at   time.Time
}

// What a storing node refuses though BEP 44 allows it: we have no use for it,
// and less to keep is less to abuse.
var errOnlyMutable = krpc.Error{Code: krpc.ErrorCodeGenericError, Msg: "only signed items without salt, of a short string"}

var errFull = krpc.Error{Code: krpc.ErrorCodeServerError, Msg: "full"}

func newStore(id [20]byte, max int, expire time.Duration, now func() time.Time) *store {
	return &store{id: id, max: max, expire: expire, now: now, items: map[[20]byte]stored{}}
}

// Put keeps a valid item.
func (s *store) Put(i *bep44.Item) error {
	value, ok := i.V.(string)
	if !ok || len(value) > MaxValue || !i.IsMutable() || len(i.Salt) != 0 || i.Seq < 0 || i.Seq > MaxSeq {
		return errOnlyMutable
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	target := i.Target()
	if _, ok := s.items[target]; !ok && len(s.items) >= s.max {
		s.sweepLocked()
		if len(s.items) >= s.max && !s.makeRoomLocked(target) {
			return errFull
		}
	}
	s.items[target] = stored{i, s.now()}
	return nil
}

// makeRoomLocked drops the farthest item if it is farther than target.
func (s *store) makeRoomLocked(target [20]byte) bool {
	farthest := target
	for t := range s.items {
		if closer(s.id, farthest, t) {
			farthest = t
		}
	}
	if farthest == target {
		return false
	}
	delete(s.items, farthest)
	return true
}

// Get returns an item that has not expired.
func (s *store) Get(target bep44.Target) (*bep44.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, ok := s.items[target]
	if !ok || s.expired(kept) {
		return nil, bep44.ErrItemNotFound
	}
	return kept.item, nil
}

// Del forgets an item.
func (s *store) Del(target bep44.Target) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, target)
	return nil
}

// sweep drops what has expired and returns how many items are left.
func (s *store) sweep() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepLocked()
	return len(s.items)
}

func (s *store) sweepLocked() {
	for target, kept := range s.items {
		if s.expired(kept) {
			delete(s.items, target)
		}
	}
}

func (s *store) expired(kept stored) bool { return s.now().Sub(kept.at) >= s.expire }

// item returns what the store has of a key, checked like an answer of others.
func (s *store) item(key [32]byte) (Item, error) {
	i, err := s.Get(Target(key))
	if errors.Is(err, bep44.ErrItemNotFound) || err == nil && i.K != key {
		return Item{}, ErrNotFound
	}
	if err != nil {
		return Item{}, err
	}
	value, _ := i.V.(string)
	it := Item{Key: i.K, Seq: i.Seq, Sig: i.Sig, Value: []byte(value)}
	return it, it.Verify()
}

// closer reports whether a is closer to target than b, in Kademlia's measure.
func closer(target, a, b [20]byte) bool {
	for i := range target {
		a[i] ^= target[i]
		b[i] ^= target[i]
	}
	return bytes.Compare(a[:], b[:]) < 0
}
