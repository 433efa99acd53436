# make build   a static bin/postsrsd
# make run     serve with a fresh secret and show how to use it
# make test    what needs only Go
# make check   everything else: vet, staticcheck, race, systems, real Postfix (root, Debian)
# make packages  .deb and .rpm for amd64 and arm64, into dist
# make e2e     the packages in booted guests and in roots of their own (root, Debian)
# make soak    full load through everything that goes wrong, PHASE for each (root, Debian)
# make fuzz    each fuzz target for FUZZTIME, a number of inputs or a time
# make bench   next to Debian's postsrsd (root, Debian); writes BENCHMARKS.md

GO ?= go
FUZZTIME ?= 100000x
PHASE ?= 20s
VERSION := 3.0.0
REVISION := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION)$(if $(REVISION),+$(REVISION))

SYSTEMS := linux/amd64 linux/arm64 linux/arm linux/386 linux/riscv64 linux/s390x \
	freebsd/amd64 openbsd/amd64 netbsd/amd64 darwin/arm64

.PHONY: build run test check vet systems race postfix packages e2e soak fuzz bench clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/postsrsd ./cmd/postsrsd

run: build
	$(GO) run ./internal/demo bin/postsrsd

test:
	$(GO) test ./...

check: vet systems race postfix

vet:
	test -z "$$(gofmt -l cmd internal socketmap srs tcptable packaging)"
	$(GO) vet ./...
	$(GO) vet -tags 'postfix guest soak' ./cmd/... ./internal/... ./packaging/...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) -tags 'postfix guest soak' ./...

STATICCHECK := v0.8.2

systems:
	for system in $(SYSTEMS); do \
		echo $$system; \
		CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} $(GO) vet ./cmd/... ./internal/aliasmap ./internal/check ./internal/config ./internal/metrics \
			./internal/milter ./internal/privilege ./internal/rewrite ./internal/server ./internal/store ./internal/supervisor ./socketmap ./srs ./tcptable || exit 1; \
	done

race:
	$(GO) test -race ./...

# Installs Postfix where it is missing, and talks to loopback only.
postfix:
	$(GO) test -count=1 -tags postfix ./internal/e2e

packages:
	packaging/build.sh

# Makes its guests on a private network and leaves none of them.
e2e:
	$(GO) test -count=1 -timeout 45m -tags guest ./packaging/guest

soak:
	$(GO) test -count=1 -timeout 30m -tags soak -v -run 'TestSoak|TestFullDisk|TestClock' ./cmd/postsrsd -phase $(PHASE)

fuzz:
	for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo $$package $$target; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

bench:
	$(GO) run ./internal/bench

clean:
	rm -rf bin dist
