package wire

import (
	"testing"
)

// TestLayerLeavesNoRoom: what lies behind the layers is zero after each step,
// whatever was there before. Else the last hop could mark cells for the first
// hop through an honest one between them, and the two would know by one cell
// that they are on one tunnel.
func TestLayerLeavesNoRoom(t *testing.T) {
	var key [KeySize]byte
	for layers := range MaxLayers {
		var b [BodySize]byte
		used := FrameSize + layers*layerSize
		for i := used; i < BodySize; i++ {
			b[i] = 0xff
		}
		if err := NewLayerSealer(&key).Seal(&b, layers); err != nil {
			t.Fatal(err)
		}
		if !zero(b[used+layerSize:]) {
			t.Errorf("layer %d sealed: marks remain behind it", layers+1)
		}
		for i := used + layerSize; i < BodySize; i++ {
			b[i] = 0xff
		}
		if err := NewLayerOpener(&key).Open(&b, layers+1); err != nil {
			t.Fatal(err)
		}
		if !zero(b[used:]) {
			t.Errorf("layer %d opened: marks remain behind it", layers+1)
		}
	}
}
