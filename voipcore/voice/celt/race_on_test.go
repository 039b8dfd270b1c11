//go:build race

package celt

// underRace shortens loops that only repeat.
const underRace = true
