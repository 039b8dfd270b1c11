package gpio

import "testing"

// The numbers as C programs have them, from include/uapi/linux/gpio.h.
func TestRequestNumbers(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"GPIO_GET_CHIPINFO_IOCTL", getChipInfo, 0x8044b401},
		{"GPIO_V2_GET_LINEINFO_IOCTL", getLineInfo, 0xc100b405},
		{"GPIO_V2_GET_LINE_IOCTL", getLine, 0xc250b407},
		{"GPIO_V2_LINE_GET_VALUES_IOCTL", getValues, 0xc010b40e},
		{"GPIO_V2_LINE_SET_VALUES_IOCTL", setValues, 0xc010b40f},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %#x, want %#x", tt.name, tt.got, tt.want)
		}
	}
}

func TestText(t *testing.T) {
	var b [32]byte
	if got := text(&b); got != "" {
		t.Errorf("no text = %q", got)
	}
	copy(b[:], "gpiochip0\x00rest")
	if got := text(&b); got != "gpiochip0" {
		t.Errorf("text = %q", got)
	}
	for i := range b {
		b[i] = 'x'
	}
	if got := text(&b); len(got) != len(b) {
		t.Errorf("text without an end has %d bytes", len(got))
	}
}
