package alsa

import (
	"math/bits"
	"runtime"
	"testing"
)

// The numbers that strace shows for the programs of alsa-utils: they hold type,
// number, direction and the size of the struct in one.
func TestRequestNumbers(t *testing.T) {
	type row struct {
		name           string
		got            uintptr
		want64, want32 uintptr
	}
	for _, r := range []row{
		{"PVERSION", reqPVersion, 0x80044100, 0x80044100},
		{"HW_REFINE", reqRefine, 0xc2604110, 0xc25c4110},
		{"HW_PARAMS", reqHWParams, 0xc2604111, 0xc25c4111},
		{"SW_PARAMS", reqSWParams, 0xc0884113, 0xc0684113},
		{"DELAY", reqDelay, 0x80084121, 0x80044121},
		{"PREPARE", reqPrepare, 0x4140, 0x4140},
		{"DROP", reqDrop, 0x4143, 0x4143},
		{"RESUME", reqResume, 0x4147, 0x4147},
		{"WRITEI_FRAMES", reqWrite, 0x40184150, 0x400c4150},
		{"READI_FRAMES", reqRead, 0x80184151, 0x800c4151},
		{"CARD_INFO", reqCardInfo, 0x81785501, 0x81785501},
		{"ELEM_LIST", reqElemList, 0xc0505510, 0xc0485510},
		{"ELEM_INFO", reqElemInfo, 0xc1105511, 0xc1105511},
		{"ELEM_READ", reqElemRead, 0xc4c85512, 0xc2c85512},
		{"ELEM_WRITE", reqElemWrite, 0xc4c85513, 0xc2c85513},
	} {
		want := r.want64
		if bits.UintSize == 32 {
			want = r.want32
		}
		if runtime.GOARCH == "386" && want>>16 == 0xc2c8 {
			want -= 4 << 16 // 708 bytes, not 712: no gap before the values
		}
		if r.got != want {
			t.Errorf("%s = %#x, want %#x", r.name, r.got, want)
		}
	}
}
