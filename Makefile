# gomover: see "make help".

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
# The WAN emulator of the measurements.
LAB     ?= bin/lab
# More flags for bench, bench-copy and the like, as in: make bench BENCHFLAGS="-rows wan".
BENCHFLAGS ?=
# QUICK=1 makes bench small and short.
QUICK   ?=
# How long each fuzz target runs, and how long one package's tests may.
FUZZTIME    ?= 30s
TESTTIMEOUT ?= 11m
# How many runs soak-udt makes, and where it begins.
SOAKSEEDS ?= 10000
SOAKFROM  ?= 0
# Where covered programs and tests leave what they ran.
COVERDIR = $(CURDIR)/bin/cover

# The program is one static file, so that it runs wherever it is uploaded to.
BUILD = CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w"

# Tested without the race detector: the end-to-end tests start the real program
# hundreds of times, and what is concurrent in it is raced in the packages it is
# made of; charts are drawn, forecasts and schedules tried by one goroutine, and ten
# times and more slower if raced.
PACKAGES = $$($(GO) list ./... | grep $(1) -E '/($(2))$$')
RACED    = $(call PACKAGES,-v,e2e|internal/chart|replica|tuner/trial|$(UNCOVERED))
SLOW     = $(call PACKAGES,,e2e|internal/chart|replica|tuner/trial)
# Raced, but not covered: counting what runs makes these up to six times slower.
UNCOVERED = internal/netsim|transports/udt|transports/tcpxm|transports/udtstream|transports/fallback|transports/tcp|transports/internal/cc|transports/internal/sealed
SIMULATED = $(call PACKAGES,,$(UNCOVERED))
# Minutes of traffic moved by one goroutine: nothing to race in them.
SIMULATIONS = '^TestSimulated'

# What the tests need beside Go, as Debian and Ubuntu call it. gcc and the C
# library's headers are for the race detector, libudt and g++ for what transports/udt
# talks to.
TEST_PACKAGES = openssh-server openssh-client zsh fish tcsh busybox netcat-openbsd \
	util-linux passwd openssl nftables iproute2 gcc libc6-dev libudt-dev g++
BENCH_PACKAGES = openssh-server openssh-client rsync rclone iperf3 tar util-linux iproute2 \
	globus-gass-copy-progs globus-gridftp-server-progs aria2 lftp nginx-light xrootd-client \
	xrootd-server uftp udpcast libudt-dev g++ mount e2fsprogs procps

.DEFAULT_GOAL := help
.PHONY: help build lab demo demo-fanout demo-pull test test-short test-deps cover fuzz fuzz-short soak-udt soak-interop lint cross bench bench-go bench-copy bench-udt bench-pull bench-fanout bench-tuner bench-tcpxm bench-bottlenecks bench-grid bench-deps install clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the program: bin/gomover
	$(BUILD) -o bin/gomover ./cmd/gomover

lab: ## build the WAN emulator: bin/lab
	$(BUILD) -o bin/lab ./bench/lab

demo: build ## move files to a stand-in for a far host and back, with nothing but Go
	@$(BUILD) -o bin/gomover-demo ./examples/demo
	@bin/gomover-demo bin/gomover

demo-fanout: build ## copy a file to one, two and three hosts in three ways, and draw what was sent: bin/demo-fanout.svg
	@$(BUILD) -o bin/gomover-demo-fanout ./examples/demofanout
	@bin/gomover-demo-fanout bin/gomover bin/demo-fanout

demo-pull: build ## pull a file from three sites of different speeds, and draw their shares: bin/demo-pull.svg
	@$(BUILD) -o bin/gomover-demo-pull ./examples/demopull
	@bin/gomover-demo-pull bin/gomover bin/demo-pull

# Packages wait as well as compute, so there are more at a time than processors; lint
# has vetted them.
test: test-deps lint ## run every test: raced where things are concurrent, all in random order, fuzz targets briefly
	@rm -rf $(COVERDIR) && mkdir -p $(COVERDIR)
	$(GO) test -vet=off -race -cover -shuffle=on -p 4 -timeout $(TESTTIMEOUT) $(RACED) -args -test.gocoverdir="$(COVERDIR)"
	$(GO) test -vet=off -race -shuffle=on -p 3 -skip $(SIMULATIONS) -timeout $(TESTTIMEOUT) $(SIMULATED)
	$(GO) test -vet=off -shuffle=on -run $(SIMULATIONS) -timeout $(TESTTIMEOUT) ./transports/udt ./transports/tcpxm
	$(GO) test -vet=off -count=1 -shuffle=on -parallel 6 -timeout $(TESTTIMEOUT) $(SLOW)
	@GO="$(GO)" scripts/fuzz 5000x
	@scripts/cover "$(COVERDIR)"

cover: test-deps ## print which share of each room is tested, with the end-to-end tests; writes coverage.html
	@rm -rf $(COVERDIR) && mkdir -p $(COVERDIR)
	$(GO) test -cover -covermode=atomic -timeout $(TESTTIMEOUT) $$($(GO) list ./... | grep -v '/e2e$$') -args -test.gocoverdir="$(COVERDIR)"
	GOCOVERDIR="$(COVERDIR)" $(GO) test -count=1 -timeout $(TESTTIMEOUT) ./e2e
	@scripts/cover "$(COVERDIR)"

test-short: lint ## run the tests that take less than a minute
	$(GO) test -short -shuffle=on $$($(GO) list ./... | grep -v '/e2e$$')

test-deps: ## install what the tests need (as root, with apt)
	@scripts/need $(TEST_PACKAGES)

fuzz: ## run each fuzz target for FUZZTIME (30s)
	@GO="$(GO)" scripts/fuzz $(FUZZTIME)

# A count, not a time: a busy machine tries as much.
fuzz-short: ## run each fuzz target with 5000 inputs
	@GO="$(GO)" scripts/fuzz 5000x

soak-udt: ## run SOAKSEEDS (10000) random simulated UDT connections, from seed SOAKFROM on
	$(GO) test -count=1 -timeout 1h -run='^TestSoak$$' ./transports/udt -udt.seeds=$(SOAKSEEDS) -udt.from=$(SOAKFROM)

soak-interop: test-deps ## move 64 MiB each way between UDT here and libudt, 50 times
	$(GO) test -count=1 -timeout 3h -v -run='^TestInteropSoak$$' ./transports/udt -udt.interop=50 -udt.interopbytes=67108864

lint: ## check the source without running it
	@GO="$(GO)" scripts/lint

cross: ## compile for the other systems
	@set -e; for target in darwin/arm64 freebsd/amd64 windows/amd64 linux/arm64; do \
		echo "$$target"; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build $$($(GO) list ./... | grep -v /bench/); \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) vet ./cmd/gomover; \
	done

bench: build lab ## measure beside other programs, in bench-results (QUICK=1: some minutes; bench-deps first)
	$(BUILD) -o bin/bench-suite ./bench/suite
	bin/bench-suite -lab "$(LAB)" -program bin/gomover $(if $(QUICK),-quick) $(BENCHFLAGS)

bench-go: ## run the benchmarks of the packages
	$(GO) test -run='^$$' -bench=. -benchmem ./...

bench-copy: build lab ## measure whole copies against the bars
	$(GO) run ./bench/copy -lab "$(LAB)" $(BENCHFLAGS)

bench-udt: lab ## measure the UDT transport beside libudt and TCP
	$(BUILD) -o bin/bench-udt ./bench/udt
	bin/bench-udt -lab "$(LAB)" $(if $(QUICK),-quick) $(BENCHFLAGS)

bench-pull: lab ## measure pulls from several replicas against the bars, and beside aria2
	$(BUILD) -o bin/bench-pull ./bench/pull
	bin/bench-pull -lab "$(LAB)" $(BENCHFLAGS)

bench-fanout: lab ## measure copies to many by multicast against the bars, and beside UFTP and udpcast
	$(BUILD) -o bin/bench-fanout ./bench/fanout
	bin/bench-fanout -lab "$(LAB)" $(BENCHFLAGS)

bench-tuner: build lab ## try what the tuner decides on made paths, and some of it on the lab, against the bars, some minutes
	$(BUILD) -o bin/bench-tuner ./bench/tuner
	bin/bench-tuner -lab "$(LAB)" -program bin/gomover $(if $(QUICK),-quick) $(BENCHFLAGS)

bench-bottlenecks: lab ## arrange 20 bottlenecks and compare what gomover says with each, four minutes
	$(GO) run ./bench/bottleneck -lab "$(LAB)" $(BENCHFLAGS)

bench-tcpxm: ## send to many in the simulated network, against what it must reach, some minutes
	$(GO) test -run '^$$' -bench . -benchtime 1x ./transports/tcpxm

bench-grid: build lab ## no flags beside every fixed number of streams on eight paths of the lab: an hour; BENCHFLAGS="-rounds 1"
	$(BUILD) -o bin/bench-grid ./bench/grid
	bin/bench-grid -lab "$(LAB)" -program bin/gomover $(BENCHFLAGS)

bench-deps: ## install what the measurements need and compare with (as root, with apt)
	@scripts/need $(BENCH_PACKAGES)

install: build ## install the program below PREFIX (/usr/local)
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 0755 bin/gomover "$(DESTDIR)$(PREFIX)/bin/gomover"

clean: ## remove what was built
	rm -rf bin coverage.html
	$(GO) clean -testcache
