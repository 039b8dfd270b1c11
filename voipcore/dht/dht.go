// Package dht stores and finds small signed items in a network of nodes, and
// names the nodes on the way to a place in it: the seed's PUT, GET and TRACE.
//
// The protocol is that of the BitTorrent mainline DHT: KRPC (BEP 5), IPv6 as a
// network of its own (BEP 32), read-only clients (BEP 43) and mutable items
// signed by an Ed25519 key (BEP 44). By default the nodes form a swarm of their
// own, but nothing here would keep them from joining the public one.
//
// The engine is github.com/anacrolix/dht/v2 v2.23.0: its server answers
// queries, keeps the table of nodes and matches replies to queries. What was
// found wrong with it, and what is done about it here (read and reproduced in
// 2026; a newer version that mends it would let much of this go):
//
//   - Short packets crash it, and others reach the program's standard logger:
//     parse (krpc.go) lets only what it can take come near it.
//   - A query of an unknown method leaves its name in an expvar map for good:
//     parse knows five methods and drops the rest.
//   - find_node and get are answered for info_hash, which they do not have:
//     the query hook copies the target there.
//   - exts/getput crashes on a reply without seq, counts nodes twice, serves
//     what its own node published and takes the first value instead of the
//     newest: Put and Get are made here.
//   - package traversal may end a search before it has begun (its Stalled can win
//     against nodes just added): search is made here.
//   - A bootstrap without any address to ask leaks a goroutine a minute: it is
//     given one that is never asked.
//   - An error of the socket is a panic: it reads from an Inbox, which has none.
//   - Close waits for nothing: Node.Close does, as far as it can be seen.
//   - Transaction ids are a counter, the same for all nodes of a process: who
//     can guess them and forge source addresses can forge replies. Items are
//     signed, so all he can do is lead a search astray. Not mended here.
//
// The package does not know pids, records or tunnels. A publisher who does not
// want the storing nodes to know his address lets somebody else Put for him. To
// put again before an item expires is the publisher's business.
package dht

import (
	"context"
	"crypto/ed25519"
	"crypto/sha1"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// MaxValue is the largest value of an Item in bytes. BEP 44 allows 1000 with
// the length in front; the rest is left for whoever wraps it.
const MaxValue = 900

// MaxSeq is the largest seq of an Item: what 18 digits hold.
const MaxSeq = 1e18 - 1

// Errors that callers tell apart.
var (
	// ErrNotFound means that nodes were asked and none has a valid item.
	ErrNotFound = errors.New("dht: no such item")
	// ErrNoNodes means that no node answered: we are cut off, or alone.
	ErrNoNodes = errors.New("dht: no node answers")
	// ErrNotStored means that nodes answered and none took the item.
	ErrNotStored = errors.New("dht: no node stored the item")
	// ErrClosed means that the node is closed.
	ErrClosed = errors.New("dht: closed")
)

// A StaleError means that an item was not put because the nodes have a newer
// one of that key, with a valid signature. To replace it put Seq + 1.
type StaleError struct{ Seq int64 }

func (e *StaleError) Error() string {
	return "dht: the nodes have a newer item, with seq " + strconv.FormatInt(e.Seq, 10)
}

// An Item is a value that its key's owner has signed. Of two items of one key
// the one with the higher Seq counts.
type Item struct {
	Key   [32]byte // Ed25519 public key
	Seq   int64    // 0 to MaxSeq
	Sig   [64]byte // of SignedBytes
	Value []byte   // at most MaxValue bytes
}

// SignedBytes returns what an item's signature covers: the bencoded seq and
// value as BEP 44 has them, without salt.
func SignedBytes(seq int64, value []byte) []byte {
	b := make([]byte, 0, 40+len(value))
	b = append(b, "3:seqi"...)
	b = strconv.AppendInt(b, seq, 10)
	b = append(b, "e1:v"...)
	b = strconv.AppendInt(b, int64(len(value)), 10)
	b = append(b, ':')
	return append(b, value...)
}

// Verify reports what is wrong with the item, if anything is.
func (it Item) Verify() error {
	switch {
	case len(it.Value) > MaxValue:
		return fmt.Errorf("dht: a value of %d bytes, at most %d are allowed", len(it.Value), MaxValue)
	case it.Seq < 0 || it.Seq > MaxSeq:
		return errors.New("dht: a seq out of range")
	case it.Key == [32]byte{}:
		return errors.New("dht: an item without a key")
	case !ed25519.Verify(it.Key[:], SignedBytes(it.Seq, it.Value), it.Sig[:]):
		return errors.New("dht: the signature does not fit the item")
	}
	return nil
}

// Target returns the place of a key's item in the network.
func Target(key [32]byte) [20]byte { return sha1.Sum(key[:]) }

// A Hop is a node of the network.
type Hop struct {
	ID   [20]byte
	Addr netip.AddrPort
}

// supersedes reports whether old cannot take the place of it: it has a higher seq,
// or the same and another value, for which a storing node refuses old as well.
func (it Item) supersedes(old Item) bool {
	return it.Seq > old.Seq || it.Seq == old.Seq && string(it.Value) != string(old.Value)
}

// ended returns ErrClosed if the node is closed, else what went wrong in ctx.
func (n *Node) ended(ctx context.Context) error {
	if n.ctx.Err() != nil {
		return ErrClosed
	}
	return ctx.Err()
}
