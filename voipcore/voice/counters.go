package voice

// Counters say what became of the frames of one direction of a call.
//
// For a stream that has come to its end, Received + Late + Lost is the number
// of frames from the first that was received to the last, unless some came
// more than a second late: those are both.
type Counters struct {
	Received  uint64 // came in time to be played
	Lost      uint64 // have not come
	Late      uint64 // came after their time
	Repaired  uint64 // of those lost or late: played from the copy in the next frame
	Repeated  uint64 // came a second time
	Concealed uint64 // frames of sound that were made up
	Merged    uint64 // frames that were faded into the one before, to shorten the delay
	Dropped   uint64 // frames that were thrown away, since the delay had reached its limit
	Malformed uint64 // payloads, timestamps or packets that no sender of ours makes
}
