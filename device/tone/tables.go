package tone

// A Step is one piece of a cadence: a tone, or silence.
type Step struct {
	Ms    int   // how long
	Hz    []int // what sounds together, at most maxHz; none is silence
	ModHz int   // amplitude modulation by this frequency; 0 is none
	DB    int   // against the other steps of its tone
}

// A Cadence is steps, over and over.
type Cadence []Step

// Tones are what the network of one country plays. They are data: the player
// adds nothing of its own but a level.
type Tones struct {
	Code, Name  string
	Ringback    Cadence // the far end is being called
	Busy        Cadence // the far end is in another call
	Information Cadence // special information tone: there is no way to the far end
	Congestion  Cadence // nor will there be soon
	Waiting     Cadence // into a call that goes on: somebody else is calling
	Ring        []int   // how a bell rings: ms of ringing, of silence, and so on
	Source      string
}

func on(ms int, hz ...int) Step { return Step{Ms: ms, Hz: hz} }
func off(ms int) Step           { return Step{Ms: ms} }

// sit is the special information tone as E.180 has it: 950, 1400 and 1800 Hz
// for 330 ms each, then 1 s of silence; tolerances are 50 Hz, 70 ms and 250 ms.
func sit() Cadence { return Cadence{on(330, 950), on(330, 1400), on(330, 1800), off(1000)} }

// Where the numbers are from. None was measured or made up here.
//
//   - itu: "Various tones used in national networks (according to ITU-T
//     Recommendation E.180) (03/1998)", annex to ITU Operational Bulletin 781
//     of 1 February 2003 (tones-0203.pdf), which continues E.180 Supplement 2.
//   - pbx: the transcription that Asterisk carries and corrects, of the same
//     list and of what it names beside it: configs/samples/indications.conf.sample
//     of github.com/asterisk/asterisk, commit 0a7fe3097f1e. It is what was read,
//     for every country. A source that says pbx alone is one for which that file
//     does not name the list.
//
// Variants of a country that the list tells apart by number ("busy tone II") are
// left out; so is how often a tone repeats, which is for the box to decide.
const (
	itu = "ITU-T E.180 Supplement 2 as of ITU Operational Bulletin 781 (2003), by way of Asterisk's indications.conf"
	pbx = "Asterisk's indications.conf"
)

// DefaultCountry is no country: it is what ITU-T E.180/Q.35 recommends to all.
const DefaultCountry = "itu"

// countries is in the order of codes, the default first. Codes are those of
// ISO 3166, but for "uk", which people look for.
var countries = []Tones{
	{
		// 425 Hz is what E.180 recommends, and so is its special information
		// tone; the cadences are those that most of the countries below share.
		Code: DefaultCountry, Name: "ITU-T E.180",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(500, 425), off(500)},
		Information: sit(),
		Congestion:  Cadence{on(250, 425), off(250)},
		Waiting:     Cadence{on(200, 425), off(200), on(200, 425), off(5000)}, // as listed for Germany
		Ring:        []int{1000, 4000},
		Source:      "ITU-T E.180/Q.35 (03/1998), and " + itu,
	},
	{
		Code: "at", Name: "Austria",
		Ringback:    Cadence{on(1000, 420), off(5000)},
		Busy:        Cadence{on(400, 420), off(400)},
		Information: Cadence{on(330, 950), on(330, 1450), on(330, 1850), off(1000)},
		Congestion:  Cadence{on(200, 420), off(200)},
		Waiting:     Cadence{on(40, 420), off(1960)},
		Ring:        []int{1000, 5000},
		Source:      itu,
	},
	{
		Code: "au", Name: "Australia",
		Ringback:    Cadence{on(400, 413, 438), off(200), on(400, 413, 438), off(2000)},
		Busy:        Cadence{on(375, 425), off(375)},
		Information: Cadence{on(2500, 425), off(500)},
		// Every other tone is 10 dB lower.
		Congestion: Cadence{on(375, 425), off(375), {Ms: 375, Hz: []int{420}, DB: -10}, off(375)},
		Waiting:    Cadence{on(200, 425), off(200), on(200, 425), off(4400)},
		Ring:       []int{400, 200, 400, 2000},
		Source:     "ACIF S002:2001, by way of " + pbx,
	},
	{
		Code: "be", Name: "Belgium",
		Ringback:    Cadence{on(1000, 425), off(3000)},
		Busy:        Cadence{on(500, 425), off(500)},
		Information: Cadence{on(330, 900), on(330, 1400), on(330, 1800), off(1000)},
		Congestion:  Cadence{on(167, 425), off(167)},
		Waiting:     Cadence{on(175, 1400), off(175), on(175, 1400), off(3500)},
		Ring:        []int{1000, 3000},
		Source:      itu,
	},
	{
		Code: "ch", Name: "Switzerland",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(500, 425), off(500)},
		Information: sit(),
		Congestion:  Cadence{on(200, 425), off(200)},
		Waiting:     Cadence{on(200, 425), off(200), on(200, 425), off(4000)},
		Ring:        []int{1000, 4000},
		Source:      itu,
	},
	{
		Code: "cz", Name: "Czech Republic",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(330, 425), off(330)},
		Information: Cadence{on(330, 950), off(30), on(330, 1400), off(30), on(330, 1800), off(1000)},
		Congestion:  Cadence{on(165, 425), off(165)},
		Waiting:     Cadence{on(330, 425), off(9000)},
		Ring:        []int{1000, 4000},
		Source:      itu,
	},
	{
		Code: "de", Name: "Germany",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(480, 425), off(480)},
		Information: sit(),
		Congestion:  Cadence{on(240, 425), off(240)},
		Waiting:     Cadence{on(200, 425), off(200), on(200, 425), off(5000)},
		Ring:        []int{1000, 4000},
		Source:      itu,
	},
	{
		Code: "dk", Name: "Denmark",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(500, 425), off(500)},
		Information: sit(),
		Congestion:  Cadence{on(200, 425), off(200)},
		Waiting:     Cadence{on(200, 425), off(600), on(200, 425), off(3000)},
		Ring:        []int{1000, 4000},
		Source:      itu,
	},
	{
		Code: "es", Name: "Spain",
		Ringback:    Cadence{on(1500, 425), off(3000)},
		Busy:        Cadence{on(200, 425), off(200)},
		Information: Cadence{on(330, 950), off(1000)},
		Congestion:  Cadence{on(200, 425), off(200), on(200, 425), off(200), on(200, 425), off(600)},
		Waiting:     Cadence{on(175, 425), off(175), on(175, 425), off(3500)},
		Ring:        []int{1500, 3000},
		Source:      pbx,
	},
	{
		Code: "fi", Name: "Finland",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(300, 425), off(300)},
		Information: Cadence{on(650, 950), off(325), on(325, 950), off(30), on(1300, 1400), off(2600)},
		Congestion:  Cadence{on(200, 425), off(200)},
		Waiting:     Cadence{on(150, 425), off(150), on(150, 425), off(8000)},
		Ring:        []int{1000, 4000},
		Source:      pbx,
	},
	{
		Code: "fr", Name: "France",
		Ringback:    Cadence{on(1500, 440), off(3500)},
		Busy:        Cadence{on(500, 440), off(500)},
		Information: sit(),                           // listed without the silence
		Congestion:  Cadence{on(250, 440), off(250)}, // not in the list: Asterisk's
		Waiting:     Cadence{on(300, 440), off(10000)},
		Ring:        []int{1500, 3500},
		Source:      itu,
	},
	{
		Code: "it", Name: "Italy",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(500, 425), off(500)},
		Information: sit(),
		Congestion:  Cadence{on(200, 425), off(200)},
		Waiting:     Cadence{on(400, 425), off(100), on(250, 425), off(100), on(150, 425), off(14000)},
		Ring:        []int{1000, 4000},
		Source:      itu,
	},
	{
		// Asterisk adds 15 and 16 Hz to the 400, for want of a better way; by
		// wdic.org ("ringback tone") it is amplitude modulation by 16 Hz, and
		// that is taken to hold for the waiting tone too.
		Code: "jp", Name: "Japan",
		Ringback:    Cadence{{Ms: 1000, Hz: []int{400}, ModHz: 16}, off(2000)},
		Busy:        Cadence{on(500, 400), off(500)},
		Information: sit(), // listed without the silence
		Congestion:  Cadence{on(500, 400), off(500)},
		Waiting:     Cadence{{Ms: 500, Hz: []int{400}, ModHz: 16}, off(8000)},
		Ring:        []int{1000, 2000},
		Source:      pbx + "; modulation: wdic.org",
	},
	{
		Code: "nl", Name: "Netherlands",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(500, 425), off(500)},
		Information: sit(),
		Congestion:  Cadence{on(250, 425), off(250)},
		Waiting:     Cadence{on(500, 425), off(9500)},
		Ring:        []int{1000, 4000},
		Source:      itu,
	},
	{
		Code: "no", Name: "Norway",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(500, 425), off(500)},
		Information: sit(),
		Congestion:  Cadence{on(200, 425), off(200)},
		Waiting:     Cadence{on(200, 425), off(600), on(200, 425), off(10000)},
		Ring:        []int{1000, 4000},
		Source:      pbx,
	},
	{
		Code: "nz", Name: "New Zealand",
		Ringback:    Cadence{on(400, 400, 450), off(200), on(400, 400, 450), off(2000)},
		Busy:        Cadence{on(500, 400), off(500)},
		Information: Cadence{on(750, 400), off(100), on(750, 400), off(100), on(750, 400), off(100), on(750, 400), off(400)},
		Congestion:  Cadence{on(250, 400), off(250)},
		Waiting:     Cadence{on(200, 400), off(3000)},
		Ring:        []int{400, 200, 400, 2000},
		Source:      "Telecom New Zealand TNA 102, by way of " + pbx,
	},
	{
		Code: "pl", Name: "Poland",
		Ringback:    Cadence{on(1000, 425), off(4000)},
		Busy:        Cadence{on(500, 425), off(500)},
		Information: sit(),
		Congestion:  Cadence{on(500, 425), off(500)},
		Waiting:     Cadence{on(150, 425), off(150), on(150, 425), off(4000)},
		Ring:        []int{1000, 4000},
		Source:      pbx,
	},
	{
		Code: "pt", Name: "Portugal",
		Ringback:    Cadence{on(1000, 425), off(5000)},
		Busy:        Cadence{on(500, 425), off(500)},
		Information: sit(),
		Congestion:  Cadence{on(200, 425), off(200)},
		Waiting:     Cadence{on(300, 440), off(10000)},
		Ring:        []int{1000, 5000},
		Source:      pbx,
	},
	{
		Code: "se", Name: "Sweden",
		Ringback:    Cadence{on(1000, 425), off(5000)},
		Busy:        Cadence{on(250, 425), off(250)},
		Information: Cadence{on(332, 950), off(24), on(332, 1400), off(24), on(332, 1800), off(2024)},
		Congestion:  Cadence{on(250, 425), off(750)},
		Waiting:     Cadence{on(200, 425), off(500), on(200, 425), off(9100)},
		Ring:        []int{1000, 5000},
		Source:      pbx,
	},
	{
		Code: "uk", Name: "United Kingdom",
		Ringback:    Cadence{on(400, 400, 450), off(200), on(400, 400, 450), off(2000)},
		Busy:        Cadence{on(375, 400), off(375)},
		Information: Cadence{on(330, 950), off(15), on(330, 1400), off(15), on(330, 1800), off(1000)},
		// The second tone is 6 dB higher (-20 and -14 dB, blog.trumpton.org.uk,
		// "UK dial and progress tones", of the same BT document).
		Congestion: Cadence{{Ms: 400, Hz: []int{400}, DB: -6}, off(350), on(225, 400), off(525)},
		Waiting:    Cadence{on(100, 400), off(4000)},
		Ring:       []int{400, 200, 400, 2000},
		Source:     "BT SIN 350, by way of " + pbx,
	},
	{
		Code: "us", Name: "United States, Canada",
		Ringback:    Cadence{on(2000, 440, 480), off(4000)},
		Busy:        Cadence{on(500, 480, 620), off(500)},
		Information: sit(), // listed without the silence
		Congestion:  Cadence{on(250, 480, 620), off(250)},
		Waiting:     Cadence{on(300, 440), off(10000)},
		Ring:        []int{2000, 4000},
		Source:      pbx,
	},
}

// The sounds below are the box's own: no standard knows them.
var (
	// beep says that the box has answered by itself and that the microphone is
	// on; connected, at the other end, that somebody is there. Both sound into
	// speech that has begun: at 2400 Hz ears are sharp and small speakers loud,
	// and voices weak, so that nothing of what is said is lost.
	beep      = Cadence{on(150, 2400), off(80), on(150, 2400)}
	connected = Cadence{on(60, 1800), on(90, 2400)} // upwards
	hangUp    = Cadence{on(90, 880), on(140, 660)}  // downwards
	click     = Cadence{on(60, 1000)}
)

// The bell: two tones a fifth apart, trilled at the frequency that rings a bell
// in Europe's networks, 25 Hz.
const (
	bellLow, bellHigh, trill = 880, 1320, 25
)

func bell(ring []int) Cadence {
	c := make(Cadence, len(ring))
	for i, ms := range ring {
		if c[i] = off(ms); i%2 == 0 {
			c[i] = Step{Ms: ms, Hz: []int{bellLow, bellHigh}, ModHz: trill}
		}
	}
	return c
}
