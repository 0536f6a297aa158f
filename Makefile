# rc: build, install, try and check. `make help` lists the targets.

PREFIX  ?= /usr/local
DESTDIR ?=
GO      ?= go

# A tree without history (an archive) carries its version in the file VERSION.
# safe.directory: as root in a clone of another user, git would refuse to answer.
VERSION := $(shell git -c safe.directory='*' describe --tags --always --dirty 2>/dev/null || cat VERSION 2>/dev/null || echo devel)

MODULE   := github.com/rc-containers/rc
TAGS     := osusergo,netgo,exclude_graphdriver_btrfs,exclude_graphdriver_devicemapper,containers_image_openpgp
LDFLAGS  := -s -w -X $(MODULE)/internal/version.Version=$(VERSION)
# -buildvcs=false: the version comes from above, and stamping fails in a clone of another user.
GOBUILD  := $(GO) build -trimpath -buildvcs=false

.PHONY: all build rc-init-entry rc-init-cgo install uninstall demo test test-vm test-network-long test-loop-long bench budget profile lint man clean help
all: build

# Go's own cache knows what is out of date: an unchanged tree costs half a second.
# rc is pure Go and small. The other three hold the C constructor of userns/nsjoin
# and are static too, so that they run whatever C library the host has. rc-init, of
# which a start has two, does without one where we can enter Go by ourselves: 1.2 ms
# less each (userns/entry).
ifeq ($(shell $(GO) env GOARCH),amd64)
INIT := rc-init-entry
# Go's start asks less in rc, and its monitor may be late (internal/patient).
PATIENT := -E rc_patient
else
INIT := rc-init-cgo
endif

build: $(INIT)
	CGO_ENABLED=0 $(GOBUILD) -ldflags '$(LDFLAGS) $(PATIENT)' -o bin/rc ./cmd/rc
	CGO_ENABLED=1 $(GOBUILD) -tags $(TAGS) -ldflags '$(LDFLAGS) -linkmode external -extldflags "-static"' \
		-o bin/ ./cmd/rc-net ./cmd/rc-image

rc-init-entry:
	userns/entry/bare/build userns/entry/entry_linux_amd64.syso
	CGO_ENABLED=0 $(GOBUILD) -ldflags '$(LDFLAGS) -E rc_start' -o bin/rc-init ./cmd/rc-init

rc-init-cgo:
	CGO_ENABLED=1 $(GOBUILD) -tags $(TAGS) -ldflags '$(LDFLAGS) -linkmode external -extldflags "-static"' -o bin/ ./cmd/rc-init

install: build
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/libexec/rc' '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -m 755 bin/rc '$(DESTDIR)$(PREFIX)/bin/'
	install -m 755 bin/rc-init bin/rc-net bin/rc-image '$(DESTDIR)$(PREFIX)/libexec/rc/'
	install -m 644 docs/man/*.1 '$(DESTDIR)$(PREFIX)/share/man/man1/'
	for unit in user/rc-restart.service system/rc-restart@.service; do \
		install -d "$(DESTDIR)$(PREFIX)/lib/systemd/$${unit%/*}"; \
		sed 's,^ExecStart=rc ,ExecStart=$(PREFIX)/bin/rc ,' "contrib/systemd/$$unit" >"$(DESTDIR)$(PREFIX)/lib/systemd/$$unit"; \
	done
	for scope in user system; do \
		install -d "$(DESTDIR)$(PREFIX)/lib/systemd/$$scope-generators"; \
		ln -sfn ../../../bin/rc "$(DESTDIR)$(PREFIX)/lib/systemd/$$scope-generators/rc-quadlet"; \
	done

uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/bin/rc' '$(DESTDIR)$(PREFIX)/share/man/man1/'rc.1 '$(DESTDIR)$(PREFIX)/share/man/man1/'rc-*.1
	rm -rf '$(DESTDIR)$(PREFIX)/libexec/rc'
	rm -f '$(DESTDIR)$(PREFIX)/lib/systemd/user/rc-restart.service' '$(DESTDIR)$(PREFIX)/lib/systemd/system/rc-restart@.service'
	rm -f '$(DESTDIR)$(PREFIX)/lib/systemd/user-generators/rc-quadlet' '$(DESTDIR)$(PREFIX)/lib/systemd/system-generators/rc-quadlet'

demo:
	tests/demo

test:
	tests/run

# In a guest with systemd, under QEMU: half an hour, most of it power cuts, and some
# packages. VM=./tests/limits runs that one.
test-vm: build
	tests/run --vm $(VM)

# A user's networks treated badly for a quarter of an hour: 50 kills of the keeper, five
# minutes of malformed questions. As an unprivileged user with subordinate ids.
test-network-long: build
	RC_TEST_LONG=1 RC_BIN=$(CURDIR)/bin $(GO) test -vet=off -count=1 -timeout 60m -v -tags $(TAGS) ./tests/network

# ARGS: flags of tests/bench, as ARGS='-only start/default' or ARGS=-quick.
bench: build
	tests/bench/run $(ARGS)

# 10,000 starts: nothing stays, nothing gets slower. As an unprivileged user.
test-loop-long: build
	RC_TEST_LONG=1 RC_BIN=$(CURDIR)/bin $(GO) test -vet=off -count=1 -timeout 90m -v -tags $(TAGS) ./tests/loop

# What one start and one exec ask of the kernel, beside tests/budget/budget.txt. As
# root, for strace, and with the user of `make test`.
budget: build
	RC_BIN=$(CURDIR)/bin $(GO) test -vet=off -count=1 -v -run '^TestRoot$$' -tags $(TAGS) ./tests/budget

# Where the time of a start and of an exec goes: docs/profile.md and its pictures.
profile: build
	$(GO) run ./tests/profile -bin bin -docs docs

lint:
	tests/lint

# The man pages are made from --help and kept in the tree.
man: build
	$(GO) run ./tests/manpage bin docs/man

clean:
	rm -rf bin tests/.cache

help:
	@echo 'make                    build rc, rc-init, rc-net, rc-image into bin/'
	@echo 'make install PREFIX=DIR install below DIR (no root needed for a folder of yours)'
	@echo 'make demo               a container from a local registry, as an unprivileged user'
	@echo 'make test               unit and end-to-end tests'
	@echo 'make test-vm            limits, services, power cuts in a guest under QEMU (as root); VM=PACKAGE'
	@echo 'make test-network-long  tests/network in its long form'
	@echo 'make test-loop-long     10,000 starts, and what they leave'
	@echo 'make lint               gofmt, vet, staticcheck, shellcheck, layer rules, sizes'
	@echo 'make bench              compare with podman, Docker, bubblewrap, a virtual machine; ARGS=-list'
	@echo 'make budget             what one start asks of the kernel, and what it may (as root)'
	@echo 'make profile            where the time of a start goes: docs/profile.md'
	@echo 'make man                write docs/man from --help'
	@echo 'make clean              remove bin/ and caches'
