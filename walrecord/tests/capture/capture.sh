#!/usr/bin/env bash
# Makes one version's WAL fixture: a small cluster with 1 MiB segments, a short mixed workload
# (workload.sql), a crash that leaves an overwritten record, and what pg_waldump says of it all.
#
#   capture.sh BIN OUT
#
# BIN holds initdb, pg_ctl and postgres of the version; psql, and pg_waldump if there is one, are taken
# from BIN or from PATH (a psql of another version does). OUT gets wal.zst (the segment files in order,
# in one piece) and, with a pg_waldump of the same version, waldump.txt.zst. Run it as an ordinary user,
# not as root: Postgres refuses. Every run gives other bytes; the tests do not care.
set -euo pipefail
bin=$(realpath "$1")
out=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
export PATH="$bin:$PATH" LC_ALL=C PGTZ=UTC
work=$(mktemp -d)
data="$work/data"
trap '"$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

# Data checksums, so that hint bits are logged.
"$bin/initdb" -D "$data" -A trust -U postgres --wal-segsize=1 -k -N >"$work/initdb.log"
cat >>"$data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
wal_level = logical
# Nothing is removed or recycled while the workload runs.
max_wal_size = 4GB
wal_keep_size = 4GB
max_prepared_transactions = 5
track_commit_timestamp = on
allow_in_place_tablespaces = on
autovacuum = off
fsync = off
bgwriter_lru_maxpages = 0
CONF

start() { "$bin/pg_ctl" -D "$data" -l "$work/log" -w start >/dev/null; }
sql() { psql -X -q -h "$work" -U postgres -v ON_ERROR_STOP=1 "$@"; }

start
first=$(sql -At -c 'select pg_walfile_name(pg_current_wal_lsn())' postgres)
sql -f "$here/workload.sql" postgres >"$work/workload.log"

# An overwritten record: the second message crosses into the next segment, which then gets lost.
sql postgres >/dev/null <<SQL
select pg_switch_wal();
select pg_logical_emit_message(true, 'lost', repeat('a', 600000));
select pg_logical_emit_message(true, 'lost', repeat('b', 900000));
SQL
lost=$(sql -At -c 'select pg_walfile_name(pg_current_wal_lsn())' postgres)
"$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null
rm "$data/pg_wal/$lost"
start
sql -c 'insert into plain select i, i from generate_series(1, 10) i' w
last=$(sql -At -c 'select pg_walfile_name(pg_current_wal_lsn())' postgres)
"$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null

cd "$data/pg_wal"
mkdir -p "$out"
for segment in $(ls | grep -E '^[0-9A-F]{24}$'); do
    if [[ ! "$segment" < "$first" && ! "$segment" > "$last" ]]; then cat "$segment"; fi
done | zstd -q -f -19 --long=27 -o "$out/wal.zst"
major=$("$bin/postgres" -V | sed -E 's/[^0-9]*([0-9]+).*/\1/')
if pg_waldump --version 2>/dev/null | grep -q " $major\."; then
    # It ends with an error at the end of the WAL, as always.
    { pg_waldump -b "$first" "$last" 2>/dev/null || true; } | zstd -q -f -19 --long=27 -o "$out/waldump.txt.zst"
fi
"$bin/postgres" -V
ls -l "$out"
