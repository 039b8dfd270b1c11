package call

import "testing"

func TestChoose(t *testing.T) {
	tests := []struct {
		name              string
		offer, ours, want Params
		ok                bool
	}{
		{"both the default", DefaultParams, DefaultParams, Params{1, 20, 32, 1}, true},
		{"they have less", Params{1, 20, 16, 0}, DefaultParams, Params{1, 20, 16, 0}, true},
		{"we have less", DefaultParams, Params{1, 20, 24, 0}, Params{1, 20, 24, 0}, true},
		{"both can 10 ms", Params{1, 10, 64, 1}, Params{1, 10, 48, 1}, Params{1, 10, 48, 1}, true},
		{"one can 10 ms: 20, and the rate shrinks to fit", Params{1, 10, 64, 1}, Params{1, 20, 64, 0}, Params{1, 20, 64, 0}, true},
		{"the copy stays", Params{1, 10, 64, 1}, Params{1, 20, 39, 1}, Params{1, 20, 39, 1}, true},
		{"another codec", Params{2, 20, 32, 1}, DefaultParams, Params{}, false},
		{"nothing of ours", DefaultParams, Params{}, Params{}, false},
		{"another frame length", Params{1, 15, 32, 1}, DefaultParams, Params{}, false},
		{"too slow", Params{1, 20, 15, 0}, DefaultParams, Params{}, false},
		{"too big for the payload", Params{1, 20, 64, 1}, DefaultParams, Params{}, false},
	}
	for _, tt := range tests {
		got, ok := Choose(tt.offer, tt.ours)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: Choose(%v, %v) = %v, %v; want %v, %v", tt.name, tt.offer, tt.ours, got, ok, tt.want, tt.ok)
		}
	}
}

// Whatever two ends want, the choice is valid, keeps to both, and does not
// depend on who calls whom.
func TestChooseAll(t *testing.T) {
	var all []Params
	for _, ms := range []uint8{10, 20} {
		for kbps := uint8(minKbps); kbps <= maxKbps; kbps++ {
			for r := range uint8(2) {
				if p := (Params{OpusCELT, ms, kbps, r}); p.Valid() {
					all = append(all, p)
				}
			}
		}
	}
	for _, a := range all {
		for _, b := range all {
			p, ok := Choose(a, b)
			q, _ := Choose(b, a)
			if !ok || !p.Valid() || !p.within(a) || !p.within(b) || p != q {
				t.Fatalf("Choose(%v, %v) = %v, %v; the other way %v", a, b, p, ok, q)
			}
		}
	}
	if n := len(all); n < 100 {
		t.Errorf("only %d valid parameters tried", n)
	}
}

func TestPacketBytes(t *testing.T) {
	if got := DefaultParams.PacketBytes(); got != 80 {
		t.Errorf("PacketBytes of %v = %d, want 80", DefaultParams, got)
	}
}
