package board

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// machine is a device tree's root as the kernel shows it.
func machine(model string, compatible ...string) fs.FS {
	return fstest.MapFS{
		"model":      {Data: []byte(model + "\x00")},
		"compatible": {Data: []byte(strings.Join(compatible, "\x00") + "\x00")},
	}
}

// TestDetect has what real machines say of themselves: with the words that the
// firmware appends, and as the files of the kernel have it.
func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		tree fs.FS
		want string
	}{
		{machine("Raspberry Pi Zero W Rev 1.1", "raspberrypi,model-zero-w", "brcm,bcm2835"), "pi-zero-w"},
		{machine("Raspberry Pi Zero 2 W Rev 1.0", "raspberrypi,model-zero-2-w", "brcm,bcm2837"), "pi-zero-2-w"},
		{machine("Raspberry Pi 3 Model B Rev 1.2", "raspberrypi,3-model-b", "brcm,bcm2837"), "pi-3"},
		{machine("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberrypi,3-model-b-plus", "brcm,bcm2837"), "pi-3"},
		{machine("Raspberry Pi 3 Model B+", "raspberrypi,3-model-b-plus", "brcm,bcm2837"), "pi-3"},
		{machine("Raspberry Pi 3 Model A Plus Rev 1.0", "raspberrypi,3-model-a-plus", "brcm,bcm2837"), "pi-3"},
		{machine("Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b", "brcm,bcm2711"), "pi-4"},
		{machine("Raspberry Pi 400 Rev 1.0", "raspberrypi,400", "brcm,bcm2711"), "pi-400"},
		{machine("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b", "brcm,bcm2712"), "pi-5"},
		{machine("Raspberry Pi 5", "raspberrypi,5-model-b", "brcm,bcm2712"), "pi-5"},
		{machine("Raspberry Pi 500 Rev 1.0", "raspberrypi,500", "brcm,bcm2712"), "pi-500"},

		// One of both is enough; compatible counts if they differ.
		{fstest.MapFS{"compatible": {Data: []byte("raspberrypi,4-model-b\x00brcm,bcm2711\x00")}}, "pi-4"},
		{fstest.MapFS{"compatible": {Data: []byte("raspberrypi,4-model-b")}}, "pi-4"},
		{fstest.MapFS{"model": {Data: []byte("Raspberry Pi 4 Model B Rev 1.4\x00")}}, "pi-4"},
		{fstest.MapFS{"model": {Data: []byte("Raspberry Pi 400 Rev 1.0\x00")}}, "pi-400"},
		{fstest.MapFS{"model": {Data: []byte("Raspberry Pi 5 Model B Rev 1.0\n")}}, "pi-5"},
		{fstest.MapFS{"model": {Data: []byte("Raspberry Pi 500 Rev 1.0\x00")}}, "pi-500"},
		{machine("A box of mine", "raspberrypi,model-zero-2-w", "brcm,bcm2837"), "pi-zero-2-w"},
		{machine("Raspberry Pi 3 Model B Rev 1.2", "raspberrypi,5-model-b", "brcm,bcm2712"), "pi-5"},

		// Others, and those whose pins are not the header's.
		{machine("Raspberry Pi Compute Module 4 Rev 1.0", "raspberrypi,4-compute-module", "brcm,bcm2711"), Generic},
		{machine("Raspberry Pi Compute Module 5 Rev 1.0", "raspberrypi,5-compute-module", "brcm,bcm2712"), Generic},
		{machine("Raspberry Pi 2 Model B Rev 1.1", "raspberrypi,2-model-b", "brcm,bcm2836"), Generic},
		{machine("Raspberry Pi Zero Rev 1.3", "raspberrypi,model-zero", "brcm,bcm2835"), Generic},
		{machine("Xunlong Orange Pi PC", "xunlong,orangepi-pc", "allwinner,sun8i-h3"), Generic},
		{machine("linux,dummy-virt", "linux,dummy-virt"), Generic},
		{machine("Raspberry Pi 40", "brcm,bcm2711"), Generic},
		{machine("raspberry pi 4", "Raspberrypi,4-model-b"), Generic},

		// None, or nothing that could be read.
		{nil, Generic},
		{fstest.MapFS{}, Generic},
		{fstest.MapFS{"model": {Mode: fs.ModeDir}, "compatible": {Mode: fs.ModeDir}}, Generic},
		{machine("", ""), Generic},
		{machine(strings.Repeat("x", 1<<20), strings.Repeat("y\x00", 1<<20), "raspberrypi,4-model-b"), Generic},
	} {
		if got := Detect(tt.tree); got.Name != tt.want {
			t.Errorf("Detect(%.80q, %.80q) = %s, want %s", strings.Join(property(tt.tree, "model"), " "), strings.Join(property(tt.tree, "compatible"), " "), got.Name, tt.want)
		}
	}
}

func TestFindModel(t *testing.T) {
	pi4 := machine("Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b", "brcm,bcm2711")
	for name, want := range map[string]string{"": "pi-4", Auto: "pi-4", "pi-zero-w": "pi-zero-w", Generic: Generic} {
		if got, err := FindModel(name, pi4); err != nil || got.Name != want {
			t.Errorf("FindModel(%q) on a Pi 4 = %s, %v; want %s", name, got.Name, err, want)
		}
	}
	for _, m := range Models() {
		if got, err := FindModel(m.Name, nil); err != nil || got.Name != m.Name {
			t.Errorf("FindModel(%q) = %s, %v", m.Name, got.Name, err)
		}
	}
	if got, err := FindModel("pi4", pi4); err == nil || !strings.Contains(err.Error(), `"pi4"`) || !strings.Contains(err.Error(), "pi-4") {
		t.Errorf(`FindModel("pi4") = %s, %v; want an error that has the right name`, got.Name, err)
	}
}

// FuzzDetect: whatever is in the files, there is a model, and it is one of ours
// that the input names.
func FuzzDetect(f *testing.F) {
	f.Add([]byte("Raspberry Pi 4 Model B Rev 1.4\x00"), []byte("raspberrypi,4-model-b\x00brcm,bcm2711\x00"))
	f.Add([]byte("Raspberry Pi 5 Model B Rev 1.0"), []byte(nil))
	f.Add([]byte("\xff\x00\x00\n"), []byte("\x00,\x00"))
	f.Fuzz(func(t *testing.T, model, compatible []byte) {
		m := Detect(fstest.MapFS{"model": {Data: model}, "compatible": {Data: compatible}})
		if m.Name == Generic {
			return
		}
		named := m.Prefix != "" && strings.Contains(string(model), m.Prefix)
		for _, c := range m.Compatible {
			named = named || strings.Contains(string(compatible), c)
		}
		if !named || !slices.ContainsFunc(models, func(other Model) bool { return other.Name == m.Name }) {
			t.Errorf("Detect(%q, %q) = %s", model, compatible, m.Name)
		}
	})
}
