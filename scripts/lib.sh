# Sourced by the scripts: where things are, who we are, and how to become
# somebody PostgreSQL accepts (it refuses to run as root).
#
# Servers of the tests, the demo and the benchmark never run from the system's
# PostgreSQL.  They run from a *stage*: a private tree with copies of the
# server's programs and links to everything else, plus this extension.  A
# PostgreSQL program finds its libraries and share files relative to where it
# itself is, so a stage needs no privileges and leaves the system untouched.

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PG_CONFIG=${PG_CONFIG:-pg_config}
JOBS=${JOBS:-$(nproc)}

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# The user that servers run as: ourselves, or somebody else if we are root.
server_user() {
	if [ "$(id -u)" != 0 ]; then
		id -un
	elif id postgres >/dev/null 2>&1; then
		echo postgres
	else
		echo nobody
	fi
}

# as_server_user command...: run it as that user.
as_server_user() {
	if [ "$(id -u)" != 0 ]; then
		"$@"
	else
		setpriv --reuid="$(server_user)" --regid="$(id -g "$(server_user)")" --init-groups -- "$@"
	fi
}

# A fresh directory that the server user owns and everybody may enter.
make_work_dir() {		# name
	local d
	d=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX")
	chmod 755 "$d"
	[ "$(id -u)" != 0 ] || chown "$(server_user):" "$d"
	echo "$d"
}

# Build the extension in the tree, unless it is up to date.
build_extension() {
	make -s -C "$TOP" -j"$JOBS" PG_CONFIG="$PG_CONFIG" all
}

# build_test_programs DIR: the helpers of the tests that are written in C.
build_test_programs() {
	build_one() {		# program source flags...
		local to=$1 from=$2
		shift 2
		"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -Werror -I"$("$PG_CONFIG" --includedir)" -o "$to" "$TOP/test/$from" "$@"
	}
	mkdir -p "$1"
	build_one "$1/load" lib/load.c -L"$("$PG_CONFIG" --libdir)" -lpq -lpthread
	build_one "$1/workload" torture/workload.c "$TOP/test/torture/talk.c" -L"$("$PG_CONFIG" --libdir)" -lpq -lpthread
	build_one "$1/transactions" torture/transactions.c "$TOP/test/torture/talk.c" -L"$("$PG_CONFIG" --libdir)" -lpq -lpthread
	build_one "$1/slow_disk.so" torture/slow_disk.c -shared -fPIC -ldl
	build_one "$1/delay" torture/delay.c
	make -s -C "$TOP/test/history"
	cp "$TOP/test/history/build/hist" "$TOP/test/history/build/cycle" "$1/"
}

# stage_bindir STAGE: where its programs are.
stage_bindir() { echo "$1$("$PG_CONFIG" --bindir)"; }
