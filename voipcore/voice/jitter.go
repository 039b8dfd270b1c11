package voice

const (
	// jitterSlots is how many frames the ring remembers, those that were
	// played included: enough to know what became of a frame that comes up to
	// a second late. A power of two, so that a frame number maps to a slot
	// with a mask.
	jitterSlots = 64

	// maxDepth bounds the delay: the newest frame is played at most so many
	// frames later than it could be. 240 ms is past what a conversation takes.
	maxDepth = 12

	// startDepth is how many frames are waited for at first. Two: then the
	// copy that repairs a lost frame is mostly there when it is needed.
	startDepth = 2

	// The buffer is found too deep when for so many pulls on end it was never
	// emptier than that; then frames are merged, not more often than every
	// mergePause pulls. 2 s and 160 ms.
	shrinkWindow = 100
	mergePause   = 8
)

// A verdict says what a pull is to play.
type verdict uint8

const (
	playNothing verdict = iota // the stream has not begun
	playPacket                 // the packet
	playBoth                   // two packets, faded into one frame: the delay shrinks by one
	playConceal                // the frame is lost, or the buffer is empty
)

// A jitter puts packets in order, repairs lost ones from the copies that came
// with their followers, and keeps the delay as small as the network allows:
//
//   - when it runs empty it lets the speaker wait and does not move on, so that
//     the frames that come late are heard and the buffer is one deeper then;
//   - when it has been deeper than needed for a while, frames are merged;
//   - deeper than maxDepth it never gets: the oldest frames go.
//
// Frames are known by their timestamps, in samples; any timestamp may be the
// first. It copies what it keeps into a fixed ring, and belongs to one
// goroutine at a time. The zero value is ready to use.
type jitter struct {
	slots   [jitterSlots]slot
	started bool
	playing bool
	next    uint32 // number of the frame that the next pull is for; numbers count from 0 with the first frame
	newest  uint32 // highest number seen
	left    uint32 // frames below it were given up for being too old
	first   uint32 // timestamp of frame 0, moved along with next so that the distance never wraps
	base    uint32 // number of the frame that has timestamp first
	held    uint32 // pulls that found the buffer empty, and for which next did not move

	window int    // pulls since the depth was last judged
	least  uint32 // least depth among them
	excess uint32 // frames still to be merged
	pause  int    // pulls since the last merge

	count Counters
}

type slot struct {
	number uint32
	state  slotState
	n      uint8
	packet [MaxPackets]byte
}

type slotState uint8

const (
	slotEmpty  slotState = iota
	slotCopied           // filled from the copy in the frame after it
	slotOwn              // filled from its own frame
	slotPlayed           // was slotOwn
	slotMissed           // its own frame had not come when its time was up
)

// push stores the packets of one frame.
func (j *jitter) push(timestamp uint32, packet, copied []byte) {
	if !j.started {
		// Numbers start in the middle, so that frames that were overtaken by
		// the very first one to arrive have numbers too.
		j.started, j.first, j.base, j.next, j.newest = true, timestamp, 1<<31, 1<<31, 1<<31
		j.left = j.next - maxDepth
	}
	distance := int32(timestamp - j.first) // wraps with the timestamp
	if distance%FrameSamples != 0 {
		j.count.Malformed++
		return
	}
	number := j.base + uint32(distance/FrameSamples)
	ahead := int32(number - j.next)
	if ahead < 0 && !j.playing && int32(j.newest-number) < maxDepth && int32(number-j.left) >= 0 {
		j.next, ahead = number, 0 // overtaken before playing began
	}
	if ahead < 0 {
		j.late(number)
		return
	}
	if ahead < maxDepth && j.at(number).state == slotOwn {
		j.count.Repeated++
		return
	}
	j.count.Received++
	for int32(number-j.next) >= maxDepth {
		j.leave(number)
		j.left = j.next
	}
	if int32(number-j.newest) > 0 {
		j.newest = number
	}
	j.put(number, slotOwn, packet)
	if before := number - 1; len(copied) > 0 && int32(before-j.next) >= 0 && j.at(before).state == slotEmpty {
		j.put(before, slotCopied, copied)
	}
	j.first, j.base = timestamp, number
}

// late counts a frame that came after its time.
func (j *jitter) late(number uint32) {
	s := &j.slots[number%jitterSlots]
	if s.number != number || s.state == slotEmpty {
		j.count.Late++ // from before the stream, or from so long ago that it stays lost as well
		return
	}
	switch s.state {
	case slotMissed:
		j.count.Late++
		j.count.Lost--
		s.state = slotPlayed
	default:
		j.count.Repeated++
	}
}

// leave gives up the frame that next is at, and then those after it that are
// not there, up to limit.
func (j *jitter) leave(limit uint32) {
	if j.at(j.next).state != slotEmpty {
		j.count.Dropped++
	}
	j.done()
	for j.next != limit && j.at(j.next).state == slotEmpty {
		if skip := limit - j.next; skip > jitterSlots && int32(j.next-j.newest) > 0 {
			// Nothing has come after newest: no need to look at each.
			j.count.Lost += uint64(skip - jitterSlots)
			j.next += skip - jitterSlots
		}
		j.done()
	}
}

// pull decides what is played now. It copies one packet to a, or two to a and
// b, and gives their lengths.
func (j *jitter) pull(a, b *[MaxPackets]byte) (v verdict, na, nb int) {
	if !j.playing {
		if !j.started || j.newest-j.next+1 < startDepth && j.held < startDepth {
			if j.started {
				j.held++ // a stream of a single frame is played, too
			}
			return playNothing, 0, 0
		}
		j.playing, j.held = true, 0
		j.judge()
	}
	if int32(j.newest-j.next) < 0 { // empty
		j.held++
		j.judge()
		j.count.Concealed++
		return playConceal, 0, 0
	}
	// What is missing at the end of an empty time was concealed already.
	for j.held > 0 && j.next != j.newest && j.at(j.next).state == slotEmpty {
		j.held--
		j.done()
	}
	j.held = 0

	depth := j.newest - j.next
	j.least = min(j.least, depth)
	j.pause++
	if j.window++; j.window >= shrinkWindow {
		excess := j.least
		j.judge()
		if excess > startDepth-1 {
			j.excess = excess - (startDepth - 1)
		}
	}

	s := j.at(j.next)
	if s.state == slotEmpty {
		j.done()
		j.count.Concealed++
		return playConceal, 0, 0
	}
	na = copy(a[:], s.packet[:s.n])
	j.done()
	if j.excess > 0 && j.pause >= mergePause && j.newest != j.next-1 {
		if s := j.at(j.next); s.state != slotEmpty {
			nb = copy(b[:], s.packet[:s.n])
			j.done()
			j.count.Merged++
			j.excess--
			j.pause = 0
			return playBoth, na, nb
		}
	}
	return playPacket, na, 0
}

// judge begins to measure the depth anew.
func (j *jitter) judge() {
	j.window, j.least, j.excess = 0, maxDepth, 0
}

// done moves past the frame that next is at, and counts what became of it.
func (j *jitter) done() {
	s := j.at(j.next)
	switch s.state {
	case slotOwn:
		s.state = slotPlayed
	case slotCopied:
		j.count.Repaired++
		fallthrough
	default:
		j.count.Lost++
		s.state = slotMissed
	}
	clear(s.packet[:s.n]) // nobody's voice outlives its moment
	s.n = 0
	j.next++
}

// at returns the slot of a frame that has not been played, emptied of what an
// older frame has left there.
func (j *jitter) at(number uint32) *slot {
	s := &j.slots[number%jitterSlots]
	if s.number != number {
		s.number, s.state, s.n = number, slotEmpty, 0
	}
	return s
}

func (j *jitter) put(number uint32, state slotState, packet []byte) {
	s := j.at(number)
	s.state, s.n = state, uint8(copy(s.packet[:], packet))
}
