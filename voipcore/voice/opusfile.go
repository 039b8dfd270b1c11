package voice

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/pion/opus"
	"github.com/pion/opus/pkg/oggreader"
)

// maxOpusSeconds bounds what ReadOpus puts into memory: 10 minutes are 58 MB.
const maxOpusSeconds = 600

// ReadOpus decodes an Ogg Opus file (RFC 7845) of one mono stream with packets
// of one 20 ms frame, such as opusenc makes by default, to 48 kHz: without the
// samples that the file says to skip at the beginning and at the end. It
// takes at most 10 minutes, one stream, and no output gain.
func ReadOpus(r io.Reader) ([]int16, error) {
	ogg, head, err := oggreader.NewWith(r)
	if err != nil {
		return nil, fmt.Errorf("voice: read opus file: %w", noEOF(err))
	}
	if head.Channels != 1 || head.ChannelMap != 0 || head.OutputGain != 0 {
		return nil, fmt.Errorf("voice: read opus file: %d channels, mapping %d, gain %d: only plain mono is taken",
			head.Channels, head.ChannelMap, head.OutputGain)
	}
	decoder, err := opus.NewDecoderWithOutput(RateHz, 1)
	if err != nil {
		return nil, fmt.Errorf("voice: make decoder: %w", err)
	}
	var (
		pcm  []int16
		out  [FrameSamples]int16
		end  uint64 // samples in the stream, as its last page has it
		tags bool
	)
	for {
		packet, page, err := ogg.ParseNextPacket()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("voice: read opus file: %w", err)
		}
		if !tags { // RFC 7845, section 5.2: the second packet
			if !bytes.HasPrefix(packet, []byte("OpusTags")) {
				return nil, fmt.Errorf("voice: read opus file: no comment header")
			}
			tags = true
			continue
		}
		if !singleFrame(packet) {
			return nil, fmt.Errorf("voice: read opus file: a packet is not one mono frame of 20 ms")
		}
		if n, err := decoder.DecodeToInt16(packet, out[:]); err != nil || n != FrameSamples {
			return nil, fmt.Errorf("voice: read opus file: decode packet %d: %v", len(pcm)/FrameSamples, err)
		}
		if len(pcm) > maxOpusSeconds*RateHz {
			return nil, fmt.Errorf("voice: read opus file: longer than %d s", maxOpusSeconds)
		}
		pcm = append(pcm, out[:]...)
		end = page.GranulePosition
	}
	if end < uint64(len(pcm)) {
		pcm = pcm[:end]
	}
	if int(head.PreSkip) >= len(pcm) {
		return nil, fmt.Errorf("voice: read opus file: no sound in it")
	}
	return pcm[head.PreSkip:], nil
}

// singleFrame reports whether a packet's first byte (RFC 6716, section 3.1)
// says one frame, mono, 20 ms. The frame length goes with the configuration:
// SILK 10 20 40 60, hybrid 10 20, CELT 2.5 5 10 20.
func singleFrame(packet []byte) bool {
	if len(packet) < 2 || packet[0]&7 != 0 {
		return false
	}
	switch config := packet[0] >> 3; {
	case config < 12:
		return config%4 == 1
	case config < 16:
		return config%2 == 1
	default:
		return config%4 == 3
	}
}

// noEOF makes the end of a file that has not even a header an error of its own.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
