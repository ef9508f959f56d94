#!/usr/bin/env bash
# Makes one server's fixture: a small cluster with 1 MiB segments, a short workload in which every kind of
# record occurs at least twice, promotions, crashes that leave overwritten records, and what pg_waldump says
# of it all.
#
#   capture.sh BIN WALDUMP OUT [newest]
#
# BIN holds initdb, pg_ctl and postgres; psql is taken from BIN or from PATH (a psql of another version does).
# WALDUMP is the pg_waldump of the same major version. OUT gets wal.zst and the golden texts, see
# ../fixtures/README.md. With `newest` the workload is newest.sql alone: what only the newest minor releases
# and full builds write (build-postgres.sh makes such a server). Run it as an ordinary user, not as root:
# Postgres refuses. Every run gives other bytes; the tests do not care.
set -euo pipefail
bin=$(realpath "$1")
waldump=$(realpath "$2")
out=$(realpath "$3")
what=${4:-all}
here=$(dirname "$(realpath "$0")")
export PATH="$bin:$PATH" LC_ALL=C PGTZ=UTC TZ=UTC
work=$(mktemp -d)
data="$work/data"
trap '"$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
major=$("$bin/postgres" -V | sed -E 's/[^0-9]*([0-9]+).*/\1/')

# Checksums would make most of a fixture hint images: they have their own phase below.
plain_pages=()
if ((major >= 18)) && [[ $what == all ]]; then plain_pages+=(--no-data-checksums); fi
"$bin/initdb" -D "$data" -A trust -U postgres --wal-segsize=1 -N "${plain_pages[@]}" >"$work/initdb.log"
cat >>"$data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
timezone = 'UTC'
log_timezone = 'UTC'
wal_level = logical
# Nothing is removed or recycled while the workload runs.
max_wal_size = 8GB
checkpoint_timeout = 1d
wal_keep_size = 8GB
max_prepared_transactions = 5
track_commit_timestamp = on
allow_in_place_tablespaces = on
autovacuum = off
fsync = off
full_page_writes = off
bgwriter_lru_maxpages = 0
CONF

start() { "$bin/pg_ctl" -D "$data" -l "$work/log" -w -t 300 start >/dev/null || { tail "$work/log" >&2; exit 1; }; }
stop() { "$bin/pg_ctl" -D "$data" -m "$1" -w -t 300 stop >/dev/null; }
# Settings, one an argument.
restart_with() {
    printf '%s\n' "$@" >>"$data/postgresql.conf"
    stop fast
    start
}
sql() { psql -X -q -h "$work" -U postgres -v ON_ERROR_STOP=1 -d w "$@" >>"$work/workload.log"; }
ask() { psql -X -q -h "$work" -U postgres -v ON_ERROR_STOP=1 -d w -At "$@"; }
segment() { ask -c 'select pg_walfile_name(pg_current_wal_lsn())'; }
promote() {
    stop fast
    touch "$data/standby.signal"
    start
    "$bin/pg_ctl" -D "$data" -w promote >/dev/null
}
freeze() { for db in template0 w; do sql -d "$db" -c 'vacuum freeze'; done; }
# On or off, and what a checkpoint says when it is so.
set_full_page_writes() {
    echo "full_page_writes = $1" >>"$data/postgresql.conf"
    sql -c 'select pg_reload_conf()'
    until [[ $(ask -c checkpoint -c "select full_page_writes::text from pg_control_checkpoint()") == "$2" ]]; do
        :
    done
}
# Crosses into the segment where the insertion point then is.
cut_record() {
    sql -c checkpoint -c 'select pg_switch_wal()' \
        -c "select pg_logical_emit_message(false, 'cut', repeat('c', 1100000))"
}
# A message crosses into the next segment, which then gets lost.
overwritten_record() {
    sql -c 'select pg_switch_wal()' -c "select pg_logical_emit_message(true, 'lost', repeat('a', 600000))" \
        -c "select pg_logical_emit_message(true, 'lost', repeat('b', 900000))"
    local lost
    lost=$(segment)
    stop immediate
    rm "$data/pg_wal/$lost"
    start
    sql -c "insert into plain select i, i from generate_series(1, 10) i"
}

everything() {
    sql -f "$here/before.sql"
    sql -c 'call burn_to(1000000)'
    freeze
    sql -f "$here/tables.sql"
    sql -c 'call burn_to(2090000)' -c 'call burn_multis(2000)'
    # The capture begins inside a record. Two promotions follow in the same segment: it is on timeline 3.
    cut_record
    promote
    promote
    first=$(segment)

    sql -f "$here/workload.sql"
    sql -f "$here/indexes.sql"
    freeze
    sql -c 'call burn_multis(2150)' -c 'call burn_to(2129950)'
    freeze
    set_full_page_writes on true
    restart_with 'wal_log_hints = on' 'max_connections = 90'
    sql -f "$here/images.sql"
    set_full_page_writes off false
    restart_with 'wal_log_hints = off' 'wal_level = minimal' 'max_wal_senders = 0'
    sql -f "$here/minimal.sql"
    restart_with 'wal_level = logical' 'max_wal_senders = 10'
    overwritten_record
    overwritten_record
}
newest() {
    restart_with 'full_page_writes = on' "shared_preload_libraries = 'test_custom_rmgrs'"
    cut_record
    first=$(segment)
    sql -f "$here/newest.sql"
}

start
psql -X -q -h "$work" -U postgres -v ON_ERROR_STOP=1 -d postgres -c 'create database w template template0'
case $what in
all) everything ;;
newest) newest ;;
esac
last=$(segment)
stop fast

mkdir -p "$out" "$work/segments"
for path in "$data"/pg_wal/*; do
    name=$(basename "$path")
    if [[ $name =~ ^[0-9A-F]{24}$ && ! "$name" < "$first" && ! "$name" > "$last" ]]; then
        ln "$path" "$work/segments/$name"
    fi
done
cd "$work/segments"
pack() { zstd -q -f -19 --long=27 -o "$out/$1"; }
cat * | pack wal.zst
# Each ends with an error where the WAL ends, as always.
{ "$waldump" "$first" "$last" 2>"$out/stderr.txt" || true; } | pack waldump.txt.zst
{ "$waldump" --bkp-details "$first" "$last" 2>/dev/null || true; } | pack bkp-details.txt.zst
{ "$waldump" --stats=record "$first" "$last" 2>/dev/null || true; } | pack stats.txt.zst
"$bin/postgres" -V
echo "$first $last"
ls -l "$out"
