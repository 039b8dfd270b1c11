/* encode BITRATE FRAME COMPLEXITY [REPEAT]: encodes mono 16-bit 48 kHz samples from stdin
 * with libopus, CELT only, full band, constant bitrate, to the format of decode.c. With REPEAT
 * it encodes the input so many times instead, and prints the nanoseconds per frame of the
 * fastest time. */
#include <opus/opus.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static OpusEncoder *encoder(int bitrate, int complexity) {
	int err;
	OpusEncoder *e = opus_encoder_create(48000, 1, OPUS_APPLICATION_RESTRICTED_LOWDELAY, &err);
	if (!e) exit(2);
	opus_encoder_ctl(e, OPUS_SET_BITRATE(bitrate));
	opus_encoder_ctl(e, OPUS_SET_VBR(0));
	opus_encoder_ctl(e, OPUS_SET_COMPLEXITY(complexity));
	opus_encoder_ctl(e, OPUS_SET_BANDWIDTH(OPUS_BANDWIDTH_FULLBAND));
	return e;
}

int main(int argc, char **argv) {
	if (argc < 4) return 2;
	int bitrate = atoi(argv[1]), frame = atoi(argv[2]), complexity = atoi(argv[3]);
	int repeat = argc > 4 ? atoi(argv[4]) : 0;
	static opus_int16 pcm[48000 * 120];
	unsigned char p[1500];
	long n = fread(pcm, 2, sizeof pcm / 2, stdin), frames = n / frame;
	double best = 1e18;
	for (int i = 0; i < repeat; i++) {
		OpusEncoder *e = encoder(bitrate, complexity);
		double t = now();
		for (long f = 0; f < frames; f++)
			if (opus_encode(e, pcm + f * frame, frame, p, sizeof p) < 0) return 2;
		t = now() - t;
		if (t < best) best = t;
		opus_encoder_destroy(e);
	}
	if (repeat) {
		printf("%.0f\n", best / frames);
		return 0;
	}
	OpusEncoder *e = encoder(bitrate, complexity);
	for (long f = 0; f < frames; f++) {
		int size = opus_encode(e, pcm + f * frame, frame, p, sizeof p);
		if (size < 0) return 2;
		opus_uint32 r = 0;
		opus_encoder_ctl(e, OPUS_GET_FINAL_RANGE(&r));
		unsigned char h[2] = {size, size >> 8}, t[4] = {r, r >> 8, r >> 16, r >> 24};
		fwrite(h, 1, 2, stdout);
		fwrite(p, 1, size, stdout);
		fwrite(t, 1, 4, stdout);
	}
	return 0;
}
