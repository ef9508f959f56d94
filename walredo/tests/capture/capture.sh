#!/usr/bin/env bash
# Makes one version's fixture: WAL of a short workload (short.sql) in which every record carries the version
# that is expected of each page after it.
#
#   capture.sh BIN OUT
#
# BIN holds initdb, pg_ctl and postgres of the version; psql is taken from BIN or from PATH (a psql of another
# version does). OUT gets wal.zst: the segment files (1 MiB each) in order, in one Zstandard frame. Run it as an
# ordinary user, not as root: Postgres refuses. Every run gives other bytes; the tests do not care.
set -euo pipefail
bin=$(realpath "$1")
out=$(realpath "$2")
here=$(dirname "$(realpath "$0")")
export PATH="$bin:$PATH" LC_ALL=C PGTZ=UTC
work=$(mktemp -d)
data="$work/data"
trap '"$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

"$bin/initdb" -D "$data" -A trust -U postgres --wal-segsize=1 -N >"$work/initdb.log"
cat >>"$data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
wal_level = replica
# Hint bits are logged by all, but images only where a record asks for one.
wal_log_hints = on
full_page_writes = off
# Nothing is removed or recycled while the workload runs.
max_wal_size = 8GB
wal_keep_size = 8GB
checkpoint_timeout = 1d
max_prepared_transactions = 5
track_commit_timestamp = on
autovacuum = off
fsync = off
bgwriter_lru_maxpages = 0
CONF
sql() { psql -X -q -h "$work" -U postgres "$@"; }
segment() { sql -At -c 'select pg_walfile_name(pg_current_wal_lsn())' postgres; }

"$bin/pg_ctl" -D "$data" -l "$work/log" -w start >/dev/null
sql -c 'create database w template template0' postgres
# Before the capture: catalogs are the better part of what cannot be compressed.
sql -c 'create extension dblink' -c 'create extension bloom' -c checkpoint -c 'select pg_switch_wal()' -o /dev/null w
sql -c "alter system set wal_consistency_checking = 'all'" -c 'select pg_reload_conf()' -o /dev/null postgres
first=$(segment)
sql -f "$here/short.sql" -v conn="host=$work user=postgres dbname=w" w
last=$(segment)
"$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null

cd "$data/pg_wal"
mkdir -p "$out"
for name in $(ls | grep -E '^[0-9A-F]{24}$'); do
    if [[ ! "$name" < "$first" && ! "$name" > "$last" ]]; then cat "$name"; fi
done | zstd -q -f -19 --long=27 -o "$out/wal.zst"
"$bin/postgres" -V
ls -l "$out"
