# What can be made. CGO is off everywhere: the binary is static.
export CGO_ENABLED = 0
# In all builds, not only in what is delivered: so tests and programs share the
# compiler's cache.
export GOFLAGS := -trimpath $(GOFLAGS)
# The processors that a program is for, and what is in it, are not a matter of who
# builds it. (An experiment that go env -w has written can be unset only there.)
export GOAMD64 = v1
export GO386 = sse2
export GOARM64 = v8.0
export GOFIPS140 = off
export GOEXPERIMENT =
GO       ?= go
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILT    := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.built=$(BUILT)
BUILD    := $(GO) build -buildvcs=false -ldflags '$(LDFLAGS)'
PACKAGES := ./...
FUZZTIME ?= 20s

.PHONY: help build cross deb deb-test demo test vet lint unit unit32 race arch emulated fuzz bench board-test boards clean

help:
	@echo 'make build       bin/hushbell for this machine'
	@echo 'make cross       bin/linux-*/hushbell for all boards, the same bytes from the same commit'
	@echo 'make deb         bin/*.deb for armhf (also ARMv6), arm64 and amd64'
	@echo 'make deb-test    the packages on a Debian that runs (needs root, mmdebstrap and lintian)'
	@echo 'make demo        two boxes and eight relays on this machine: a call with real speech'
	@echo 'make test        all that a change must pass'
	@echo 'make lint        staticcheck, and that each go.mod is tidy'
	@echo 'make unit        the tests alone'
	@echo 'make unit32      as programs of 32 bits, the tests that make emulated leaves out'
	@echo 'make race        the tests again, with the race detector (needs gcc)'
	@echo 'make emulated    some of them on emulated ARM processors (needs qemu-user)'
	@echo 'make bench       what things cost: voice cells, tunnels, lookups, the encoder'
	@echo 'make fuzz        every fuzz test for $(FUZZTIME) (FUZZTIME=1m)'
	@echo 'make board-test  drivers on an emulated ARM board, and calls between two (needs cross/board/packages)'
	@echo 'make boards      what those boards are made of, beforehand'
	@echo 'make clean       removes what was built'

build:
	$(BUILD) -o bin/hushbell ./device/cmd/hushbell

# One program for each kind of processor: a Zero W has an ARMv6.
CROSS := armv6 armv7 arm64 amd64
cross: $(CROSS:%=cross-%)
cross-armv6: export GOARM = 6
cross-armv7: export GOARM = 7
cross-armv6 cross-armv7: export GOARCH = arm
cross-arm64: export GOARCH = arm64
cross-amd64: export GOARCH = amd64
$(CROSS:%=cross-%): cross-%:
	GOOS=linux $(BUILD) -o bin/linux-$*/hushbell ./device/cmd/hushbell

DEBS := armhf arm64 amd64
deb: $(DEBS:%=deb-%)
	cd bin && sha256sum hushbell_*.deb >SHA256SUMS
deb-armhf: cross-armv6
deb-arm64: cross-arm64
deb-amd64: cross-amd64
$(DEBS:%=deb-%): deb-%: build
	cross/deb/build $*

# The packages, and what they do on a Debian that runs (in namespaces: root).
deb-test: cross deb
	$(GO) -C cross/deb vet ./...
	$(GO) -C cross/deb test -count=1 -timeout 15m ./...

demo: build
	bin/hushbell demo --out out/demo

# What a tool of the machine is missing for is left out with a word, and fails
# in CI. $(call need,TOOL,TARGET) runs the target if the tool is there.
define need
	@if command -v $(1) >/dev/null; then $(MAKE) --no-print-directory $(2); \
	elif [ -n "$$CI" ]; then echo 'make $(2): $(1) is missing'; exit 1; \
	else echo 'make $(2): left out, for $(1) is missing'; fi
endef

test: vet lint unit unit32 arch demo
	$(call need,gcc,race)
	$(call need,mmdebstrap,deb-test)
	$(call need,qemu-arm,emulated)
	$(call need,qemu-system-aarch64,board-test)

# gofmt and vet for every kind of board that we build for.
vet:
	@wrong=$$(gofmt -l .); test -z "$$wrong" || { echo "gofmt would change: $$wrong"; exit 1; }
	GOARCH=amd64 $(GO) vet $(PACKAGES)
	GOARCH=arm64 $(GO) vet $(PACKAGES)
	GOARCH=arm GOARM=6 $(GO) vet $(PACKAGES)
	GOARCH=386 $(GO) vet $(PACKAGES)

# What staticcheck finds is mended. It is a tool of a module of its own, so that the
# product's go.mod stays small. For two kinds of boards, as some files are of one.
lint:
	for module in . cross/deb cross/lint; do $(GO) -C $$module mod tidy -diff || exit 1; done
	$(GO) -C cross/lint build -o ../../out/staticcheck honnef.co/go/tools/cmd/staticcheck
	GOARCH=arm out/staticcheck ./...
	GOARCH=amd64 out/staticcheck ./...
	cd cross/deb && ../../out/staticcheck ./...

# One package after the other: many start processes or wait for sound and
# networks, and disturb each other on a small machine.
unit:
	$(GO) test -p 1 -timeout 20m $(PACKAGES)

# Of 32 bits, but of this processor: what is too much for qemu-user (LEFT_OUT).
unit32:
	GOARCH=386 $(GO) test -short -p 2 -timeout 20m ./voipcore ./voipcore/internal/conformance ./voipcore/voice/heard \
		./voipcore/voice/internal/metric ./device/cmd/hushbell ./device/tone ./alsa/pulse

# All kinds of boards; and the program stays small, for small cards and slow lines.
MAXSIZE := 12000000
arch:
	for arch in arm 386; do GOARCH=$$arch GOARM=6 $(GO) build -o /dev/null ./device/cmd/hushbell || exit 1; done
	GOARCH=arm64 $(GO) build -ldflags '-s -w' -o out/hushbell-arm64 ./device/cmd/hushbell
	@size=$$(wc -c <out/hushbell-arm64); echo "stripped, for arm64: $$size bytes"; test $$size -lt $(MAXSIZE) || { echo 'that is more than $(MAXSIZE)'; exit 1; }

# The race detector needs cgo; short, since it makes everything ten times slower, and
# without the packages that only compute. Two at a time, the longest first: nothing is
# timed here.
COMPUTE := /(tone|heard|metric|celt|celtenc|wav)$$
race:
	CGO_ENABLED=1 $(GO) test -race -short -p 2 -timeout 30m ./voipcore ./device/cmd/hushbell \
		$$($(GO) list $(PACKAGES) | grep -vE '$(COMPUTE)')

# On the processors of the boards, ARMv6 as in the Zero W, and ARMv8: all packages but
#   device/cmd/hushbell  starts itself as other processes, which qemu-user cannot:
#                        the emulated boards run it
#   voipcore             swarms of relays with all their TLS: 6 minutes and more;
#                        the emulated boards run it, too
#   alsa/pulse           its sound servers would run on the host's processor
#   device/tone, voipcore/voice/{heard,internal/metric}
#                        floating point: nothing that depends on the board
#   cross                files of the tree, and tools of this machine
# and of the others what -short leaves out, one test that starts itself, and a
# DHT of a hundred nodes, which is late there.
LEFT_OUT := device/cmd/hushbell voipcore alsa/pulse device/tone voipcore/voice/heard voipcore/voice/internal/metric cross cross/%
EMULATED = $(filter-out $(LEFT_OUT:%=hushbell/%),$(shell $(GO) list $(PACKAGES)))
NOT_EMULATED := ^TestRelaysDoNotHoldFarAddresses$$|^TestSwarm$$
emulated:
	GOARCH=arm GOARM=6 $(GO) test -short -timeout 20m -skip '$(NOT_EMULATED)' -exec 'qemu-arm -cpu arm1176' $(EMULATED)
	GOARCH=arm64 $(GO) test -short -timeout 20m -skip '$(NOT_EMULATED)' -exec qemu-aarch64 $(EMULATED)
	GOARCH=arm GOARM=6 $(GO) test -short -run TalkDoesNotAllocate -exec 'qemu-arm -cpu arm1176' ./voipcore

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./voipcore/...
	$(GO) test -v -count=1 -run 'TestSpeedTable|TestInstructions' ./voipcore/voice/celt -table

fuzz:
	@for p in $$($(GO) list $(PACKAGES)); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; done

# The second run is of programs of 32 bit.
board-test:
	$(GO) run ./cross/board ./gpio ./alsa ./board
	$(GO) run ./cross/board -goarch arm ./gpio ./alsa ./board -- -test.short
	$(GO) run ./cross/board ./device/cmd/hushbell -- -test.run=OnBoard
	$(GO) run ./cross/story

# What takes long in board-test and deb-test, and no tests need yet.
boards:
	$(GO) run ./cross/story -build
	cross/deb/root.sh cross/cache/debian-amd64.tar

clean:
	rm -rf bin out
