# paxos_ext: consensus-backed tables.  The two commands are `make demo` and
# `make test`; README.md says what they do.
#
# Two halves.  The targets of the first half are scripts: they must work before
# anything is installed, so they are reached without PGXS (which would end
# make at once where pg_config is missing) and call make again for the second
# half.  The second half is an ordinary PGXS build: all, install, clean.

SCRIPT_TARGETS = test fuzz mutants soak torture compat demo demo-stop bench lint format format-check deps stage

.DEFAULT_GOAL := all

.PHONY: $(SCRIPT_TARGETS)

ifneq ($(filter $(SCRIPT_TARGETS),$(MAKECMDGOALS)),)

deps:
	scripts/install-deps test
test:
	scripts/test
fuzz:
	$(MAKE) -s -C test/fuzz fuzz
mutants:
	test/mutants/run
torture:
	TIME="$(TIME)" SEED="$(SEED)" NODES="$(NODES)" KINDS="$(KINDS)" scripts/torture
compat:
	test/compat/run $(COMPAT)
demo:
	scripts/demo start
demo-stop:
	scripts/demo stop
bench:
	bench/run
lint:
	scripts/lint
format:
	scripts/format
soak:
	$(MAKE) -C test/sim soak $(if $(SEEDS),SEEDS=$(SEEDS))
format-check:
	scripts/format --check
stage:
	scripts/stage

else

EXTENSION = paxos_ext
MODULE_big = paxos_ext
EXTVERSION = 1.0

# make PRETEND_NEXT=1 (or 2): the same code as a version that is yet to come, with
# the scripts that update to it, for tests of upgrades (scripts/stage makes it in a
# tree of its own).  PRETEND_NEXT=-1: as the protocol version before, with the same script.
ifdef PRETEND_NEXT
ifneq ($(PRETEND_NEXT),-1)
EXTVERSION = 1.$(PRETEND_NEXT)
UPDATES = $(foreach n,$(shell seq $(PRETEND_NEXT)),paxos_ext--1.$(shell expr $(n) - 1)--1.$(n).sql)
endif
src/paxos_version.o src/paxos_version.bc: override CPPFLAGS += -DPAXOS_PRETEND_NEXT=$(PRETEND_NEXT)
src/paxos_version.o src/paxos_version.bc: FORCE
endif

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/core/*.c)))
DATA_built = paxos_ext--$(EXTVERSION).sql $(UPDATES)
PGFILEDESC = "paxos_ext - consensus-backed tables"

PG_CPPFLAGS = -I$(srcdir)/src -I$(libpq_srcdir) -I$(shell $(PG_CONFIG) --includedir)
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -Wno-clobbered -Werror
SHLIB_LINK = $(libpq) -lpq
EXTRA_CLEAN = paxos_ext--$(EXTVERSION).sql

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error PostgreSQL's server headers are missing; run "make deps" to install what is needed (as root, or with sudo))
endif
include $(PGXS)

$(OBJS): $(wildcard src/*.h src/core/*.h)

# The extension script is its parts, in the order of their names.  Put together
# every time and replaced when it differs: a part that went away, or came with
# an old date, is no reason make would see.
SQL_PARTS = $(sort $(wildcard src/sql/*.sql))
paxos_ext--$(EXTVERSION).sql: FORCE
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION paxos_ext" to load this file. \quit'; cat $(SQL_PARTS); } > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
.PHONY: FORCE

# A view is a thing an update script may well bring.
paxos_ext--1.%.sql: FORCE
	@printf '%s\n' '\echo Use "ALTER EXTENSION paxos_ext UPDATE" to load this file. \quit' \
		"CREATE VIEW paxos.pretended_$(lastword $(subst ., ,$*)) AS SELECT '$*'::text AS update;" >$@

endif
