package wire

import "testing"

func TestZero(t *testing.T) {
	for _, n := range []int{0, 1, 7, CellSize - 1, CellSize, CellSize + 1, 2 * CellSize, 3*CellSize + 5} {
		b := make([]byte, n)
		if !zero(b) {
			t.Errorf("%d zero bytes are not zero", n)
		}
		for i := range b {
			b[i] = 0x80
			if zero(b) {
				t.Errorf("byte %d of %d is set and counts as zero", i, n)
			}
			b[i] = 0
		}
	}
}
