//go:build !386

package alsa

// elemValuePad: a long long is aligned to 8 bytes, and 68 bytes come before it.
const elemValuePad = 4
