# What can be made. CGO is off everywhere: the binary is static.
export CGO_ENABLED = 0
GO       ?= go
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILT    := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.built=$(BUILT)
BUILD    := $(GO) build -trimpath -ldflags '$(LDFLAGS)'
PACKAGES := ./...
FUZZTIME ?= 20s

.PHONY: help build demo test check vet unit race arch fuzz bench board-test clean

help:
	@echo 'make build       bin/hushbell for this machine'
	@echo 'make demo        two boxes and eight relays on this machine: a call with real speech'
	@echo 'make test        all that a change must pass'
	@echo 'make race        the tests again, with the race detector (needs a C compiler)'
	@echo 'make bench       what things cost: voice cells, tunnels, lookups, the encoder'
	@echo 'make fuzz        every fuzz test for $(FUZZTIME) (FUZZTIME=1m)'
	@echo 'make board-test  drivers on an emulated ARM board (needs qemu)'
	@echo 'make clean       removes what was built'

build:
	$(BUILD) -o bin/hushbell ./device/cmd/hushbell

demo: build
	bin/hushbell demo --out out/demo

test: vet unit arch

# gofmt and vet for every kind of board that we build for.
vet:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'gofmt would change:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	GOARCH=amd64 $(GO) vet $(PACKAGES)
	GOARCH=arm64 $(GO) vet $(PACKAGES)
	GOARCH=arm $(GO) vet $(PACKAGES)
	GOARCH=386 $(GO) vet $(PACKAGES)

unit:
	$(GO) test -timeout 20m $(PACKAGES)

arch:
	for arch in arm arm64 386; do GOARCH=$$arch $(GO) build -o /dev/null ./device/cmd/hushbell || exit 1; done

race:
	CGO_ENABLED=1 $(GO) test -race -timeout 30m $(PACKAGES)

bench:
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)

fuzz:
	@for p in $$($(GO) list $(PACKAGES)); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; done

clean:
	rm -rf bin out
