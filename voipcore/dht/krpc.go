package dht

// The filter in front of the library: of all packets only those pass that are
// one well-formed KRPC message of a kind that we use, bencoded in the one way
// that bencoding has. TestParsedIsHarmless and FuzzParse hold it to this: what
// passes the library decodes without an error.

// A kind is what a KRPC message is.
type kind byte

const (
	garbage kind = iota
	query
	response
	failure
)

const (
	maxPacket  = 1500 // the largest that a node without a fault sends is below 1400
	maxDepth   = 8    // of lists and dictionaries that nobody looks at
	maxNodes   = 16   // in one reply; it should be 8
	maxDigits  = 18   // of an integer: always within 64 bits
	maxSmall   = 9    // always within 32 bits, which is int on some boards
	maxToken   = 64
	maxTransID = 20
)

// parse returns what kind of message a packet is, or garbage. It allocates
// nothing.
func parse(packet []byte) kind {
	if len(packet) > maxPacket || len(packet) == 0 || packet[0] != 'd' {
		return garbage
	}
	s := scanner{b: packet}
	var has struct{ a, r, e, t bool }
	var method, y string
	ok := s.dict(func(key []byte) bool {
		switch string(key) {
		case "a":
			has.a = true
			return s.body(query)
		case "r":
			has.r = true
			return s.body(response)
		case "e":
			has.e = true
			return s.errorList()
		case "q":
			method = methodOf(s.text(1, 16))
			return method != ""
		case "t":
			has.t = true
			return s.size(1, maxTransID)
		case "y":
			v, ok := s.text(1, 1)
			if ok {
				y = yOf(v[0])
			}
			return y != ""
		case "v":
			return s.size(0, 16)
		case "ip":
			v, ok := s.text(6, 18)
			return ok && (len(v) == 6 || len(v) == 18)
		case "ro":
			return s.integer(1)
		}
		return s.any(0)
	})
	switch {
	case !ok || s.i != len(packet) || !has.t:
		return garbage
	case y == "q" && has.a && method != "":
		return query
	case y == "r" && has.r:
		return response
	case y == "e" && has.e:
		return failure
	}
	return garbage
}

// methodOf returns the method without a copy, if we know it. announce_peer is
// not among them: nobody here is a peer for a torrent.
func methodOf(v []byte, ok bool) string {
	if ok {
		for _, m := range [...]string{"ping", "find_node", "get_peers", "get", "put"} {
			if string(v) == m {
				return m
			}
		}
	}
	return ""
}

func yOf(c byte) string {
	switch c {
	case 'q':
		return "q"
	case 'r':
		return "r"
	case 'e':
		return "e"
	}
	return ""
}

// A scanner walks over bencoded bytes. Its methods report whether what they
// expect is next, and step over it.
type scanner struct {
	b []byte
	i int
}

// body steps over the dictionary of arguments or results, which must have an id.
// It asks for the kind because a function in its place would make the scanner
// escape to the heap.
func (s *scanner) body(of kind) bool {
	id := false
	return s.dict(func(key []byte) bool {
		if string(key) == "id" {
			id = true
			return s.size(20, 20)
		}
		if of == query {
			return s.argument(key)
		}
		return s.result(key)
	}) && id
}

func (s *scanner) argument(key []byte) bool {
	switch string(key) {
	case "target", "info_hash":
		return s.size(20, 20)
	case "want":
		return s.list(func() bool { return s.size(2, 2) })
	case "port", "implied_port", "noseed", "scrape":
		return s.integer(maxSmall)
	}
	return s.item(key)
}

func (s *scanner) result(key []byte) bool {
	switch string(key) {
	case "nodes":
		return s.multiple(26, maxNodes)
	case "nodes6":
		return s.multiple(38, maxNodes)
	case "samples":
		return s.multiple(20, maxPacket)
	case "values":
		return s.list(func() bool {
			v, ok := s.text(6, 18)
			return ok && (len(v) == 6 || len(v) == 18)
		})
	case "BFsd", "BFpe":
		return s.size(256, 256)
	case "interval", "num":
		return s.integer(maxDigits)
	}
	return s.item(key)
}

// item steps over a field of BEP 44, which arguments and results share.
func (s *scanner) item(key []byte) bool {
	switch string(key) {
	case "k":
		return s.size(32, 32)
	case "sig":
		return s.size(64, 64)
	case "salt":
		return s.size(0, 64)
	case "token":
		return s.size(0, maxToken)
	case "seq", "cas":
		return s.integer(maxDigits)
	case "v":
		return s.size(0, 1000) // of other types we have no items
	}
	return s.any(0)
}

// errorList steps over [code, text].
func (s *scanner) errorList() bool {
	n := 0
	return s.list(func() bool {
		n++
		return n == 1 && s.integer(maxSmall) || n == 2 && s.size(0, maxPacket)
	}) && n == 2
}

// dict steps over a dictionary with its keys in ascending order; value steps
// over one value.
func (s *scanner) dict(value func(key []byte) bool) bool {
	if !s.next('d') {
		return false
	}
	var last []byte
	for first := true; !s.next('e'); first = false {
		key, ok := s.text(0, 64)
		if !ok || !first && string(key) <= string(last) || !value(key) {
			return false
		}
		last = key
	}
	return true
}

func (s *scanner) list(element func() bool) bool {
	if !s.next('l') {
		return false
	}
	for !s.next('e') {
		if !element() {
			return false
		}
	}
	return true
}

// next steps over c if it is next.
func (s *scanner) next(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// text steps over a string of at least min and at most max bytes.
func (s *scanner) text(min, max int) ([]byte, bool) {
	n, start := 0, s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		if n = n*10 + int(s.b[s.i]-'0'); n > max {
			return nil, false
		}
		s.i++
	}
	digits := s.i - start
	if digits == 0 || digits > 1 && s.b[start] == '0' || n < min || !s.next(':') || len(s.b)-s.i < n {
		return nil, false
	}
	s.i += n
	return s.b[s.i-n : s.i], true
}

func (s *scanner) size(min, max int) bool {
	_, ok := s.text(min, max)
	return ok
}

// multiple steps over a string of at most max pieces of a size.
func (s *scanner) multiple(size, max int) bool {
	v, ok := s.text(0, min(size*max, maxPacket))
	return ok && len(v)%size == 0
}

// integer steps over an integer of at most max digits.
func (s *scanner) integer(max int) bool {
	if !s.next('i') {
		return false
	}
	negative := s.next('-')
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	digits := s.i - start
	zero := digits > 0 && s.b[start] == '0'
	return digits > 0 && digits <= max && !(zero && (negative || digits > 1)) && s.next('e')
}

// any steps over a value that nobody looks at.
func (s *scanner) any(depth int) bool {
	if s.i >= len(s.b) || depth > maxDepth {
		return false
	}
	switch s.b[s.i] {
	case 'i':
		return s.integer(maxDigits)
	case 'l':
		return s.list(func() bool { return s.any(depth + 1) })
	case 'd':
		return s.dict(func([]byte) bool { return s.any(depth + 1) })
	}
	return s.size(0, maxPacket)
}
