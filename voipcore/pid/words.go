package pid

import (
	"github.com/tyler-smith/go-bip39/wordlists"
	"golang.org/x/crypto/argon2"
)

// What the check words cost: 16 MiB fit beside an idle box on the smallest
// board (512 MB in all). Argon2id with 3 passes is what RFC 9106 recommends
// where memory is short.
const (
	wordsLabel     = "hushbell check words v1"
	wordsMemoryKiB = 16 * 1024
	wordsPasses    = 3
)

// Words returns four words that two people read to each other to see that both
// have the same pid. They are words of the English BIP 39 list, of which no two
// begin with the same four letters.
//
// Their strength: 4 words are 44 bits, and each guess costs an Argon2id of
// 16 MiB and 3 passes, 30 ms of one core where it was measured (EPYC, 2 to 3
// GHz). Somebody who wants a pid with the words of a given one needs 2^44 guesses:
// 17,000 years of one such core, 17 of a thousand; special hardware may be ten
// or a hundred times cheaper. If any of n victims will do he needs an n-th of
// it. That is much for two people who compare over a voice that they know, and
// too little to stand for the pid itself: calls are placed by the whole pid.
//
// A call takes 16 MiB of memory for its time: tens of milliseconds on a PC,
// seconds on the smallest board. Do not call it for every pid in a list.
func (id ID) Words() [4]string {
	sum := argon2.IDKey(id[:], []byte(wordsLabel), wordsPasses, wordsMemoryKiB, 1, 8)
	var bits uint64
	for _, b := range sum {
		bits = bits<<8 | uint64(b)
	}
	var words [4]string
	for i := range words {
		words[i] = wordlists.English[bits>>53] // 11 bits, 2048 words
		bits <<= 11
	}
	return words
}
