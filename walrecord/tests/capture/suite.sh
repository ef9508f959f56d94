#!/usr/bin/env bash
# Leaves the WAL of Postgres's own regression suite, and of any SQL files named, as segment files: millions of
# records of nearly every kind. About 10 GB and a few minutes for each major version; with CONSISTENCY=off about
# 0.25 GB, for the images that check a redo are then missing.
#
#   suite.sh MAJOR BIN SOURCE OUT [SQL_FILE ...]
#
# BIN holds initdb, pg_ctl and postgres; psql is taken from BIN or from PATH. SOURCE is a source tree, best of the
# same minor release: the suite of a newer one holds reproducers of crashes that are mended there. It is only
# read. OUT must not exist; it gets wal/ (the segment files), regress/ (what the suite said) and settings.txt.
# Run it as an ordinary user.
#
# From the environment:
#   PG_REGRESS   the driver; default: that of BIN's own installation, or Debian's of 15, which drives 15 to 18 (14
#                needs its own: make -C src/test/regress pg_regress in PREFIX.build)
#   REGRESS_SO   regress.so of MAJOR, as build-postgres.sh installs it; default: that of BIN's installation
#   SKIP         tests to leave out; default: those of psql itself, which want a psql of the same version
set -euo pipefail
major=$1
bin=$(realpath "$2")
source=$(realpath "$3")
out=$4
shift 4
files=()
for file in "$@"; do files+=("$(realpath "$file")"); done
export PATH="$bin:$PATH" LC_ALL=C
"$bin/postgres" -V | grep -q " $major\." || {
    echo "$bin is not $major" >&2
    exit 1
}
mkdir "$out"
out=$(realpath "$out")
first_of() { for path in "$@"; do [[ -e $path ]] && echo "$path" && return; done; }
regress=${PG_REGRESS:-$(first_of "$bin"/../lib/postgresql/pgxs/src/test/regress/pg_regress \
    "$bin"/../lib/pgxs/src/test/regress/pg_regress /usr/lib/postgresql/15/lib/pgxs/src/test/regress/pg_regress)}
library=${REGRESS_SO:-$(first_of "$bin"/../lib/regress.so "$bin"/../lib/postgresql/regress.so)}
skip=${SKIP-psql psql_crosstab psql_pipeline}
sockets=$(mktemp -d)
data="$out/data"
trap '"$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true; rm -rf "$sockets"' EXIT

"$bin/initdb" -D "$data" -A trust -U postgres -N >/dev/null
cat >"$out/settings.txt" <<CONF
listen_addresses = ''
unix_socket_directories = '$sockets'
wal_level = logical
wal_consistency_checking = '$([[ ${CONSISTENCY:-on} == on ]] && echo all || true)'
full_page_writes = off
wal_log_hints = on
track_commit_timestamp = on
max_prepared_transactions = 10
autovacuum = on
fsync = off
# All of it is kept.
max_wal_size = 100GB
checkpoint_timeout = 5min
wal_keep_size = 100GB
CONF
cat "$out/settings.txt" >>"$data/postgresql.conf"
"$bin/pg_ctl" -D "$data" -l "$out/server.log" -w start >/dev/null
export PGHOST=$sockets PGPORT=5432 PGUSER=postgres PGDATABASE=postgres

mkdir "$out/regress"
cp -r "$source"/src/test/regress/{sql,expected,data,parallel_schedule} "$out/regress"
# 14 makes some files from templates, and has no tablespaces in place.
if ((major == 14)); then
    cp -r "$source"/src/test/regress/{input,output} "$out/regress"
    mkdir "$out/regress/testtablespace"
fi
mkdir "$out/library"
cp "$library" "$out/library/regress.so"
cd "$out/regress"
for test in $skip; do sed -i -E "s/^(test:.*) $test( |\$)/\1\2/" parallel_schedule; done
sed -i -E '/^test: *$/d' parallel_schedule
# Its result does not matter here; it differs where the environment does.
"$regress" --inputdir=. --outputdir=. --bindir="$(dirname "$(command -v psql)")" --dlpath="$out/library" \
    --schedule=parallel_schedule --max-connections=10 --dbname=regression >log.txt 2>&1 || true
tail -n 3 log.txt
createdb gaps 2>/dev/null || psql -X -q -c 'create database gaps'
for file in "${files[@]}"; do
    psql -X -q -d gaps -v conn="host=$sockets dbname=gaps user=postgres" -f "$file" >>"$out/sql.log" 2>&1 || true
done
"$bin/pg_ctl" -D "$data" -m fast -w -t 600 stop >/dev/null
mkdir "$out/wal"
for path in "$data"/pg_wal/*; do
    if [[ $(basename "$path") =~ ^[0-9A-F]{24}$ ]]; then mv "$path" "$out/wal/"; fi
done
rm -rf "$data"
"$bin/postgres" -V | tee -a "$out/settings.txt"
ls "$out/wal" | sed -n '1p;$p'
