# ussdd: `make demo` shows it, `make test` checks it. Both need only Go and make.

GO         ?= go
PREFIX     ?= /usr/local
DESTDIR    ?=
SYSCONFDIR ?= /etc
UNITDIR    ?= /usr/lib/systemd/system
VERSION    := $(shell git describe --always --dirty 2>/dev/null || echo unversioned)

# Nothing that ships needs cgo; only the race detector does (scripts/test).
export GOFLAGS += -buildvcs=false
BUILD = CGO_ENABLED=0 $(GO)

.PHONY: build demo phone test check galera fuzz soak chaos bench bench-money load install clean

build:
	$(BUILD) build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/ ./cmd/...

demo:
	$(BUILD) run ./scripts/demo

phone:
	$(BUILD) run ./scripts/demo -phone

# Everything, with -race, on SQLite and a private MariaDB; installs what it lacks when it is root.
test:
	GO="$(GO)" scripts/test

check:
	GO="$(GO)" scripts/test -check

# What keeps money, on a Galera cluster of three nodes, one of which is killed while two daemons sell.
MONEY = Test(Store|Model|Crash|Caller|Migrate|Purchase|Many).*/mysql|MySQL|Galera
galera:
	CGO_ENABLED=1 scripts/galera $(GO) test -race -p 1 -timeout 20m -run '$(MONEY)' ./store ./cmd/ussdd ./scripts/stack

# Each fuzz target for FUZZTIME.
FUZZTIME ?= 20s
fuzz:
	GO="$(GO)" scripts/fuzz $(FUZZTIME)

# Every dialect for SOAKTIME, with faults at random and connections that break.
SOAKTIME ?= 30s
soak:
	CGO_ENABLED=1 USSDD_TEST_SOAK=$(SOAKTIME) $(GO) test -race -v -timeout 20m -run Soak ./scripts/stack

# Subscribers buy while everything is killed and broken, and the books are audited: make chaos SEED=7.
SEED ?= 1
chaos:
	$(BUILD) run ./scripts/chaos -seed $(SEED)

bench:
	$(BUILD) test -run '^$$' -bench . -benchmem ./...

# Purchases per second beside the bare SQL of the same transactions, on MariaDB and SQLite, in under three minutes.
bench-money:
	CGO_ENABLED=0 scripts/with-mariadb $(GO) test -run '^$$' -bench Purchases -benchtime 2500x ./cmd/ussdd

# What ussdd reaches beside a bare ESME and one of go-smpp's client, in under five minutes.
load:
	$(BUILD) run ./scripts/bench

# What is installed names its own directories.
PATHS = s,/usr/local/bin,$(PREFIX)/bin,g; s,/etc/ussdd,$(SYSCONFDIR)/ussdd,g

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(UNITDIR) $(DESTDIR)/usr/lib/sysusers.d $(DESTDIR)$(SYSCONFDIR)/ussdd
	install -d -m 0700 $(DESTDIR)$(SYSCONFDIR)/ussdd/credentials
	install -m 0755 bin/ussdd bin/ussdctl $(DESTDIR)$(PREFIX)/bin/
	sed '$(PATHS)' systemd/ussdd.service > $(DESTDIR)$(UNITDIR)/ussdd.service
	install -m 0644 systemd/sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/ussdd.conf
	install -D -m 0644 systemd/ussdd.rules.yaml $(DESTDIR)$(PREFIX)/share/ussdd/ussdd.rules.yaml
	test -e $(DESTDIR)$(SYSCONFDIR)/ussdd/ussdd.env || (umask 027 && \
		sed '$(PATHS)' systemd/ussdd.env.example > $(DESTDIR)$(SYSCONFDIR)/ussdd/ussdd.env)

clean:
	rm -rf bin
