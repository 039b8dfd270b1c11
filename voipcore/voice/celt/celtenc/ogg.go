package main

import (
	"encoding/binary"
	"io"

	"hushbell/voipcore/voice/celt"
)

// An oggOpus writes Opus packets to an Ogg stream (RFC 3533, RFC 7845). A page is
//
//	 0  "OggS"
//	 4  version, 0
//	 5  flags: 2 first page, 4 last page
//	 6  position: samples at 48 kHz up to the end of the page, 8 bytes
//	14  serial number of the stream, 4 bytes
//	18  page number, 4 bytes
//	22  CRC of the page with these 4 bytes as zero
//	26  number of segments, then the size of each
//
// all little-endian. Packets here are below 255 bytes, so each is one segment.
type oggOpus struct {
	w     io.Writer
	frame int // samples in a packet
	page  uint32
	at    int64 // samples written, with the delay
	ended int64 // samples that the input had

	sizes []byte
	data  []byte
}

const (
	flagFirst = 2
	flagLast  = 4
	// packetsPerPage keeps a page to a second or less, as RFC 7845 advises.
	packetsPerPage = 50
)

func newOggOpus(w io.Writer, frame int) (*oggOpus, error) {
	o := &oggOpus{w: w, frame: frame}
	head := []byte("OpusHead\x01\x01") // version 1, one channel
	head = binary.LittleEndian.AppendUint16(head, celt.Delay)
	head = binary.LittleEndian.AppendUint32(head, 48000)
	head = append(head, 0, 0, 0) // gain, mapping family
	o.sizes, o.data = []byte{byte(len(head))}, head
	if err := o.flush(flagFirst, 0); err != nil {
		return nil, err
	}
	const vendor = "hushbell celtenc"
	tags := binary.LittleEndian.AppendUint32([]byte("OpusTags"), uint32(len(vendor)))
	tags = append(tags, vendor...)
	tags = append(tags, 0, 0, 0, 0) // no comments
	o.sizes, o.data = []byte{byte(len(tags))}, tags
	return o, o.flush(0, 0)
}

// write adds a packet, of which n samples of the input are new.
func (o *oggOpus) write(packet []byte, n int) error {
	// A page goes out when the next packet is there, so that the last one is kept for close.
	if len(o.sizes) == packetsPerPage {
		if err := o.flush(0, o.at); err != nil {
			return err
		}
	}
	o.sizes = append(o.sizes, byte(len(packet)))
	o.data = append(o.data, packet...)
	o.at += int64(o.frame)
	o.ended += int64(n)
	return nil
}

// close writes the last page, whose position cuts off what the input did not have.
func (o *oggOpus) close() error {
	return o.flush(flagLast, min(o.at, o.ended+celt.Delay))
}

func (o *oggOpus) flush(flags byte, position int64) error {
	const serial = 0x48757368
	page := append([]byte("OggS\x00"), flags)
	page = binary.LittleEndian.AppendUint64(page, uint64(position))
	page = binary.LittleEndian.AppendUint32(page, serial)
	page = binary.LittleEndian.AppendUint32(page, o.page)
	page = append(page, 0, 0, 0, 0, byte(len(o.sizes)))
	page = append(page, o.sizes...)
	page = append(page, o.data...)
	binary.LittleEndian.PutUint32(page[22:], oggCRC(page))
	o.page++
	o.sizes, o.data = o.sizes[:0], o.data[:0]
	_, err := o.w.Write(page)
	return err
}

// oggCRC is CRC-32 with the polynomial 0x04c11db7, most significant bit first
// and no inversion: not the one of hash/crc32.
func oggCRC(b []byte) uint32 {
	crc := uint32(0)
	for _, v := range b {
		crc ^= uint32(v) << 24
		for range 8 {
			carry := crc >> 31
			crc = crc<<1 ^ carry*0x04c11db7
		}
	}
	return crc
}
