// Package keytls configures crypto/tls the way all of Hushbell uses it: TLS 1.3
// only, Ed25519 certificates judged by their key and nothing else, no session
// tickets, the protocol's version as ALPN. It has no cryptography of its own.
package keytls

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"hushbell/voipcore/pid"
)

// ErrKey means that the other side holds another key than the one asked for.
var ErrKey = errors.New("the other side holds another key")

// Certificate returns a certificate for k. Serial number and validity are the
// same in every certificate, so it tells nothing but the key: no name, and no
// clock.
func Certificate(k *pid.Key) (tls.Certificate, error) {
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, 4.1.2.5: no end
	}
	key := k.Private()
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keytls: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Client returns the configuration of a client that talks to whoever holds
// the key far; nil is any Ed25519 key. own is the certificate that it shows
// when asked, nil for none.
func Client(alpn string, far *pid.ID, own *tls.Certificate) *tls.Config {
	c := base(alpn)
	c.InsecureSkipVerify = true // no names, no authorities: VerifyConnection judges the key
	if own != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		got, ok := PeerKey(&cs)
		if !ok || far != nil && got != *far {
			return ErrKey
		}
		return protocol(&cs, alpn)
	}
	return c
}

// Server returns the configuration of a server that holds own and asks for
// client certificates as auth says.
func Server(alpn string, own tls.Certificate, auth tls.ClientAuthType) *tls.Config {
	c := base(alpn)
	c.Certificates = []tls.Certificate{own}
	c.ClientAuth = auth
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if _, ok := PeerKey(&cs); !ok && len(cs.PeerCertificates) > 0 {
			return ErrKey
		}
		return protocol(&cs, alpn)
	}
	return c
}

// base leaves the key exchange to crypto/tls: its default is the hybrid
// X25519MLKEM768.
func base(alpn string) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		NextProtos:                  []string{alpn},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // record sizes shall not follow what is sent
	}
}

// protocol refuses peers that negotiated no protocol, which crypto/tls lets pass.
func protocol(cs *tls.ConnectionState, alpn string) error {
	if cs.NegotiatedProtocol != alpn {
		return fmt.Errorf("keytls: the other side does not speak %s", alpn)
	}
	return nil
}

// PeerKey returns the key that the other side has proved to hold. ok is false
// if it showed none, or one that is not Ed25519.
func PeerKey(cs *tls.ConnectionState) (id pid.ID, ok bool) {
	if len(cs.PeerCertificates) == 0 {
		return id, false
	}
	k, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || len(k) != len(id) {
		return id, false
	}
	return pid.ID(k), true
}
