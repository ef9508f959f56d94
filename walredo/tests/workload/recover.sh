#!/bin/sh
# Makes what tests/recovery.rs and tests/consistency.rs read: a cold copy of a new cluster, the WAL of
# a workload on it, and stock recovery of the copy with that WAL.
#
#   recover.sh PG_BIN DIRECTORY WORKLOAD...
#
# PG_BIN is a directory with all client tools; DIRECTORY is made and must not exist; a WORKLOAD is a
# file for psql. Run it as an unprivileged user. Prints the tests' environment. SETTINGS may hold more
# lines of postgresql.conf.
set -eu
bin=$1
dir=$2
shift 2
mkdir "$dir"
cd "$dir"
port=${PGPORT:-54915}

"$bin/initdb" -D primary -A trust -N >initdb.log
cat >>primary/postgresql.conf <<END
port = $port
listen_addresses = ''
unix_socket_directories = '$dir'
fsync = off
autovacuum = off
full_page_writes = off
wal_consistency_checking = 'all'
track_commit_timestamp = on
max_prepared_transactions = 2300
checkpoint_timeout = 1d
max_wal_size = 100GB
wal_keep_size = 100GB
shared_buffers = 64MB
${SETTINGS:-}
END
start() { "$bin/pg_ctl" -D "$1" -l "$1.log" -w -t 600 start >/dev/null; }
stop() { "$bin/pg_ctl" -D "$1" -w -t 600 stop >/dev/null; }
sql() { "$bin/psql" -h "$dir" -p "$port" -qAtX -v ON_ERROR_STOP=1 "$@" postgres; }

# Once up and down, so that the settings are in the control file of the copy.
start primary
stop primary
cp -R primary base
start primary
for workload in "$@"; do
    sql -f "$workload" >>workload.log
done
# Without a checkpoint in the replayed WAL, recovery would leave its pages in memory. It stops before
# the first record that starts at the target or behind it.
sql -c CHECKPOINT
end=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
sql -c 'SELECT txid_current()' >/dev/null
sql -c 'SELECT pg_switch_wal()' >/dev/null
stop primary

cp -R base recovered
cat >>recovered/postgresql.conf <<END
hot_standby = off
restore_command = 'cp $dir/primary/pg_wal/%f %p'
recovery_target_lsn = '$end'
recovery_target_inclusive = false
recovery_target_action = shutdown
END
touch recovered/recovery.signal
# In the foreground: pg_ctl would not wait for the end. To reach the target is to exit.
"$bin/postgres" -D recovered >recovered.log 2>&1 || true
grep -q 'recovery stopping before' recovered.log

control() { "$bin/pg_controldata" "$1" | sed -n "s/^$2: *//p"; }
cat <<END
export ZENITH_BASE_DIR=$dir/base
export ZENITH_WAL_DIR=$dir/primary/pg_wal
export ZENITH_RECOVERED_DIR=$dir/recovered
export ZENITH_START_LSN=$(control base "Latest checkpoint's REDO location")
export ZENITH_END_LSN=$end
export ZENITH_PG_MINOR=$("$bin/postgres" --version | sed 's/.*[0-9]\.\([0-9]*\).*/\1/')
export ZENITH_NO_HINTS=1
export ZENITH_COMMIT_TS=1
END
