# paxos_ext: PGXS build.  See README.md; `make test` and `make demo` are the two commands.
EXTENSION = paxos_ext
MODULE_big = paxos_ext
VERSION = 1.0

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/core/*.c)))
DATA_built = paxos_ext--$(VERSION).sql
PGFILEDESC = "paxos_ext - consensus-backed tables"

PG_CPPFLAGS = -I$(srcdir)/src -I$(libpq_srcdir) -I$(shell $(PG_CONFIG) --includedir)
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -Wno-clobbered -Werror
SHLIB_LINK = $(libpq) -lpq
EXTRA_CLEAN = paxos_ext--$(VERSION).sql

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/*.h src/core/*.h)

# The extension script is its parts, in the order of their names.
SQL_PARTS = $(sort $(wildcard src/sql/*.sql))
paxos_ext--$(VERSION).sql: $(SQL_PARTS)
	{ echo '\echo Use "CREATE EXTENSION paxos_ext" to load this file. \quit'; cat $(SQL_PARTS); } > $@
