//go:build !race

package voipcore

const raceEnabled = false
