//go:build !race

package celt

const underRace = false
