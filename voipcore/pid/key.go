package pid

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"hushbell/voipcore/durable"
)

// A Key is the private half of a pseudo-identity. It cannot be printed: fmt
// and slog show a fixed text, and there is no encoding but the file. The zero
// Key is of no use.
type Key struct {
	// private returns the seed and the public key. It is a function because fmt
	// does not ask Format for fields that are not exported, nor for %p, and
	// follows pointers; of a function it prints the address.
	private func() *[ed25519.PrivateKeySize]byte
}

// NewKey returns a fresh random key.
func NewKey() *Key {
	var seed [ed25519.SeedSize]byte
	rand.Read(seed[:]) // never fails since Go 1.24
	return KeyFromSeed(seed)
}

// KeyFromSeed returns the key of an RFC 8032 seed.
func KeyFromSeed(seed [ed25519.SeedSize]byte) *Key {
	private := [ed25519.PrivateKeySize]byte(ed25519.NewKeyFromSeed(seed[:]))
	return &Key{private: func() *[ed25519.PrivateKeySize]byte { return &private }}
}

// ID returns the pseudo-identity of k.
func (k *Key) ID() ID { return ID(k.private()[ed25519.SeedSize:]) }

// Private returns a copy of the key, for crypto/tls.
func (k *Key) Private() ed25519.PrivateKey {
	private := *k.private()
	return private[:]
}

const hidden = "pid.Key(hidden)"

// String returns a constant.
func (Key) String() string { return hidden }

// GoString returns a constant.
func (Key) GoString() string { return hidden }

// Format prints a constant, whatever the verb.
func (Key) Format(f fmt.State, verb rune) { io.WriteString(f, hidden) }

// LogValue returns a constant.
func (Key) LogValue() slog.Value { return slog.StringValue(hidden) }

// The file: a comment for whoever finds it, then the seed as bech32m. The
// checksum notices a torn or rotten file; 1 in 10^9 random ones passes.
const (
	filePrefix = "hushkey"
	fileHead   = "# A private key of Hushbell. Whoever has it can be called in your place.\n"
	fileMax    = 4096
)

// ErrOtherKey means that a file already holds a key that is not the one to be
// saved in it.
var ErrOtherKey = errors.New("there is another key in this file")

// Save writes k to a new file that only its owner can read. If path holds k
// already it is left as it is. If it holds anything else nothing is written:
// the error matches ErrOtherKey if that is a key. A power cut leaves no file or
// the whole one.
func (k *Key) Save(path string) error {
	text := fileHead + encode(filePrefix, k.private()[:ed25519.SeedSize]) + "\n"
	err := durable.CreateFile(path, []byte(text), 0o600)
	if !errors.Is(err, fs.ErrExist) {
		if err != nil {
			return fmt.Errorf("pid: save key: %w", err)
		}
		return nil
	}
	switch there, err := LoadKey(path); {
	case err != nil:
		return fmt.Errorf("pid: save key: %s is there already and is not overwritten: %v", path, err)
	case *there.private() != *k.private():
		return fmt.Errorf("pid: save key: %s: %w; move it away first", path, ErrOtherKey)
	}
	return nil
}

// LoadKey reads a file that Save wrote. It refuses a file that others can
// read, one that is no regular file, and one that is incomplete or damaged; the
// error says what to do. If there is no file it matches fs.ErrNotExist.
func LoadKey(path string) (*Key, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a named pipe would wait for a writer
	if err != nil {
		return nil, fmt.Errorf("pid: load key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("pid: load key: %w", err)
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("pid: load key: %s is not a regular file", path)
	case mode.Perm()&0o077 != 0:
		return nil, fmt.Errorf("pid: load key: %s is open to other users (mode %04o): "+
			"if nobody can have read it run chmod 600 %s, otherwise make a new pid", path, mode.Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, fileMax))
	if err != nil {
		return nil, fmt.Errorf("pid: load key: %w", err)
	}
	var seed ID
	if err := decode(&seed, filePrefix, keyLine(string(text))); err != nil {
		return nil, fmt.Errorf("pid: load key: %s is incomplete or damaged (%v): "+
			"restore it from a backup or make a new pid", path, err)
	}
	return KeyFromSeed(seed), nil
}

// keyLine returns what is left without comments and blank lines.
func keyLine(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, " ")
}
