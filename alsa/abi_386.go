package alsa

// elemValuePad: the 386 ABI aligns a long long in a struct to 4 bytes.
const elemValuePad = 0
