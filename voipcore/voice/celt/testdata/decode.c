/* decode: reads packets from stdin, each a 16-bit little-endian
 * size, the packet and the encoder's 32-bit final range, and decodes them with libopus.
 * Writes the samples (16 bit, mono, 48 kHz) to stdout. Ends with status 1 and
 * a line on stderr at the first packet that fails or has another final range. */
#include <opus/opus.h>
#include <stdint.h>
#include <stdio.h>

int main(void) {
	int err;
	OpusDecoder *d = opus_decoder_create(48000, 1, &err);
	static unsigned char p[1500];
	static opus_int16 pcm[5760];
	unsigned char h[2], r[4];
	long n = 0;
	if (!d) return 2;
	for (; fread(h, 1, 2, stdin) == 2; n++) {
		size_t size = h[0] | h[1] << 8;
		if (size > sizeof p || fread(p, 1, size, stdin) != size || fread(r, 1, 4, stdin) != 4) {
			fprintf(stderr, "packet %ld: input ends\n", n);
			return 1;
		}
		int got = opus_decode(d, p, size, pcm, 5760, 0);
		if (got < 0) {
			fprintf(stderr, "packet %ld: %s\n", n, opus_strerror(got));
			return 1;
		}
		opus_uint32 want = r[0] | r[1] << 8 | r[2] << 16 | (opus_uint32)r[3] << 24, range = 0;
		opus_decoder_ctl(d, OPUS_GET_FINAL_RANGE(&range));
		if (range != want) {
			fprintf(stderr, "packet %ld: final range %08x, the encoder's is %08x\n", n, range, want);
			return 1;
		}
		if (fwrite(pcm, 2, got, stdout) != (size_t)got) return 2;
	}
	fprintf(stderr, "packets %ld\n", n);
	return 0;
}
