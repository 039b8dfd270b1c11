// Package simnet is a network in memory for tests: hosts with addresses,
// datagrams, streams, NAT boxes, and everything that goes wrong between them.
// What it hands out has the methods of *net.UDPConn, net.Listener and net.Conn,
// so the code under test is the code that runs over sockets.
//
//	n := simnet.New(seed)
//	defer n.Close()
//	a := n.Host(netip.MustParseAddr("198.51.100.1"))
//	b := n.Host(netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7"))
//	n.SetDefault(simnet.Link{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.01})
//	udp, err := a.ListenUDP(7000)
//	lis, err := b.Listen(7000)
//	conn, err := a.Dial(ctx, netip.AddrPortFrom(b.Addr(), 7000))
//
// Chance comes from the seed only, and every ordered pair of hosts has its own
// source: what happens to the n-th datagram from a to b does not depend on how
// the goroutines of other hosts were scheduled. A test prints n.Seed() when it
// fails. Time comes from package time, and whoever waits here waits on channels
// and conditions, so a Net works in a testing/synctest bubble (make it inside)
// and outside of one. Datagrams live in a fixed pool: once as many were under
// way at a time as a test needs, sending and receiving allocate nothing.
//
// It is not a model of TCP: there is no congestion, the window is one constant
// and opens as soon as the reader reads, a lost segment is one that comes a
// retransmission later, and a dead peer is never noticed by keep-alive: a stream
// over a cut link stalls until it is healed or somebody closes it. Bandwidth has
// no limit. NATs do not nest and do not hairpin, and forget no streams by time.
package simnet
