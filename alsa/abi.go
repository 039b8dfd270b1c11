package alsa

import "unsafe"

// Structs and requests of the kernel's <sound/asound.h> (PCM protocol 2.0.15,
// control protocol 2.0.8), as far as they are used. STATUS and SYNC_PTR are left
// alone: their layout on 32 bit depends on the width of time_t.

// The kernel's C long is as wide as a Go int on every board we build for.
type (
	long  = int
	ulong = uint
)

// mask is struct snd_mask: one bit a value.
type mask struct{ bits [8]uint32 }

// interval is struct snd_interval.
type interval struct{ min, max, flags uint32 }

const intervalInteger = 1 << 2 // openmin 1, openmax 2, integer 4, empty 8

// hwParams is struct snd_pcm_hw_params.
type hwParams struct {
	flags              uint32
	masks              [3]mask // access, format, subformat
	_                  [5]mask
	intervals          [12]interval // from firstInterval on
	_                  [9]interval
	rmask, cmask, info uint32
	msbits             uint32
	rateNum, rateDen   uint32
	fifoSize           ulong
	_                  [64]byte
}

// Numbers of the hardware parameters, SNDRV_PCM_HW_PARAM_*.
const (
	paramAccess     = 0
	paramFormat     = 1
	firstInterval   = 8
	paramChannels   = 10
	paramRate       = 11
	paramPeriodSize = 13
	paramBufferSize = 17
)

const accessRWInterleaved = 3

// swParams is struct snd_pcm_sw_params.
type swParams struct {
	tstampMode                              int32
	periodStep, sleepMin                    uint32
	availMin, xferAlign                     ulong
	startThreshold, stopThreshold           ulong
	silenceThreshold, silenceSize, boundary ulong
	proto, tstampType                       uint32
	_                                       [56]byte
}

// xferi is struct snd_xferi.
type xferi struct {
	result long
	buf    unsafe.Pointer // not uintptr: the collector must see the samples
	frames ulong
}

// cardInfo is struct snd_ctl_card_info.
type cardInfo struct {
	card, _    int32
	id, driver [16]byte
	name       [32]byte
	longname   [80]byte
	_          [16]byte
	mixer      [80]byte
	components [128]byte
}

// elemID is struct snd_ctl_elem_id.
type elemID struct {
	numid             uint32
	iface             int32
	device, subdevice uint32
	name              [44]byte
	index             uint32
}

const ifaceMixer = 2

// elemList is struct snd_ctl_elem_list.
type elemList struct {
	offset, space, used, count uint32
	ids                        unsafe.Pointer
	_                          [50]byte
}

// elemInfo is struct snd_ctl_elem_info with the integer arm of its union.
type elemInfo struct {
	id             elemID
	typ            int32
	access, count  uint32
	owner          int32
	min, max, step long
	_              [128 - 3*word]byte
	_              [64]byte
}

const (
	elemBoolean = 1
	elemInteger = 2

	elemReadable = 1 << 0
	elemWritable = 1 << 1
)

// elemValue is struct snd_ctl_elem_value with the integer arm of its union. The
// union holds a C long long, which C aligns to 8 bytes except on 386 and Go to 4
// on all 32-bit boards, so the gap is spelled out (elemValuePad, by board).
type elemValue struct {
	id       elemID
	indirect uint32
	_        [elemValuePad]byte
	value    [128]long
	_        [128]byte
}

const word = unsafe.Sizeof(uintptr(0))

// Sizes and places on 64 and on 32 bit, as C compilers for amd64, arm64, arm and
// 386 lay them out. wide is 1 on 64 bit, else 0.
const wide = word/4 - 1

const (
	sizeHWParams  = 604 + 4*wide
	sizeSWParams  = 104 + 32*wide
	sizeXferi     = 12 + 12*wide
	sizeElemList  = 72 + 8*wide
	sizeElemInfo  = 272
	sizeElemValue = elemValueAt + 128*word + 128
	elemValueAt   = 68 + elemValuePad // 68 on 386, 72 elsewhere
)

// These lines compile only if the layout is the kernel's: each constant is zero
// when it is right, and a wrong one overflows and stops the build for that board.
const (
	_ = unsafe.Sizeof(hwParams{}) - sizeHWParams
	_ = sizeHWParams - unsafe.Sizeof(hwParams{})
	_ = unsafe.Offsetof(hwParams{}.intervals) - 260
	_ = 260 - unsafe.Offsetof(hwParams{}.intervals)
	_ = unsafe.Offsetof(hwParams{}.rmask) - 512
	_ = 512 - unsafe.Offsetof(hwParams{}.rmask)
	_ = unsafe.Offsetof(hwParams{}.fifoSize) - 536
	_ = 536 - unsafe.Offsetof(hwParams{}.fifoSize)

	_ = unsafe.Sizeof(swParams{}) - sizeSWParams
	_ = sizeSWParams - unsafe.Sizeof(swParams{})
	_ = unsafe.Offsetof(swParams{}.availMin) - (12 + 4*wide)
	_ = (12 + 4*wide) - unsafe.Offsetof(swParams{}.availMin)
	_ = unsafe.Offsetof(swParams{}.stopThreshold) - (24 + 16*wide)
	_ = (24 + 16*wide) - unsafe.Offsetof(swParams{}.stopThreshold)
	_ = unsafe.Offsetof(swParams{}.proto) - (40 + 32*wide)
	_ = (40 + 32*wide) - unsafe.Offsetof(swParams{}.proto)

	_ = unsafe.Sizeof(xferi{}) - sizeXferi
	_ = sizeXferi - unsafe.Sizeof(xferi{})
	_ = unsafe.Offsetof(xferi{}.buf) - word
	_ = word - unsafe.Offsetof(xferi{}.buf)

	_ = unsafe.Sizeof(cardInfo{}) - 376
	_ = 376 - unsafe.Sizeof(cardInfo{})
	_ = unsafe.Sizeof(elemID{}) - 64
	_ = 64 - unsafe.Sizeof(elemID{})

	_ = unsafe.Sizeof(elemList{}) - sizeElemList
	_ = sizeElemList - unsafe.Sizeof(elemList{})
	_ = unsafe.Offsetof(elemList{}.ids) - 16
	_ = 16 - unsafe.Offsetof(elemList{}.ids)

	_ = unsafe.Sizeof(elemInfo{}) - sizeElemInfo
	_ = sizeElemInfo - unsafe.Sizeof(elemInfo{})
	_ = unsafe.Offsetof(elemInfo{}.min) - 80
	_ = 80 - unsafe.Offsetof(elemInfo{}.min)

	_ = unsafe.Sizeof(elemValue{}) - sizeElemValue
	_ = sizeElemValue - unsafe.Sizeof(elemValue{})
	_ = unsafe.Offsetof(elemValue{}.value) - elemValueAt
	_ = elemValueAt - unsafe.Offsetof(elemValue{}.value)
)

// Directions of a request, _IO, _IOW, _IOR and _IOWR of <asm-generic/ioctl.h>.
const (
	dirNone   = 0
	dirOut    = 1 << 30
	dirIn     = 2 << 30
	dirBoth   = 3 << 30
	pcmType   = 'A' << 8
	ctlType   = 'U' << 8
	sizeShift = 16
)

// A request number holds the size of its struct, so the two cannot drift apart.
const (
	reqPVersion = dirIn | unsafe.Sizeof(int32(0))<<sizeShift | pcmType // and 0
	reqRefine   = dirBoth | unsafe.Sizeof(hwParams{})<<sizeShift | pcmType | 0x10
	reqHWParams = dirBoth | unsafe.Sizeof(hwParams{})<<sizeShift | pcmType | 0x11
	reqSWParams = dirBoth | unsafe.Sizeof(swParams{})<<sizeShift | pcmType | 0x13
	reqDelay    = dirIn | unsafe.Sizeof(long(0))<<sizeShift | pcmType | 0x21
	reqPrepare  = dirNone | pcmType | 0x40
	reqDrop     = dirNone | pcmType | 0x43
	reqResume   = dirNone | pcmType | 0x47
	reqWrite    = dirOut | unsafe.Sizeof(xferi{})<<sizeShift | pcmType | 0x50
	reqRead     = dirIn | unsafe.Sizeof(xferi{})<<sizeShift | pcmType | 0x51

	reqCardInfo  = dirIn | unsafe.Sizeof(cardInfo{})<<sizeShift | ctlType | 0x01
	reqElemList  = dirBoth | unsafe.Sizeof(elemList{})<<sizeShift | ctlType | 0x10
	reqElemInfo  = dirBoth | unsafe.Sizeof(elemInfo{})<<sizeShift | ctlType | 0x11
	reqElemRead  = dirBoth | unsafe.Sizeof(elemValue{})<<sizeShift | ctlType | 0x12
	reqElemWrite = dirBoth | unsafe.Sizeof(elemValue{})<<sizeShift | ctlType | 0x13
)
