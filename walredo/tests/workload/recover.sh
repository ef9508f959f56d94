#!/bin/sh
# Makes what the tests in tests/real_wal read: a base backup of a new cluster, the WAL of a workload on
# it, and stock recovery of the backup with that WAL.
#
#   recover.sh PG_BIN DIRECTORY WORKLOAD...
#
# PG_BIN is a directory with initdb, pg_ctl and postgres; PSQL is the psql to use (default: the one
# there). DIRECTORY is made and must not exist; a WORKLOAD is a file for psql. Run it as an unprivileged
# user. Prints the tests' environment. SETTINGS may hold more lines of postgresql.conf: gist.sql needs
# wal_consistency_checking = '', since stock recovery fails its own check after GiST's DELETE (see
# src/gist/mask.rs).
set -eu
bin=$1
dir=$2
shift 2
mkdir "$dir"
cd "$dir"
port=${PGPORT:-54915}
postgres=$("$bin/postgres" --version)

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
psql() { "${PSQL:-$bin/psql}" -h "$dir" -p "$port" -qAtX -v ON_ERROR_STOP=1 "$@" postgres; }

# A base backup takes one session and no tool besides: its end needs the session of its start.
case $postgres in
*' 14.'*) backup_start="pg_start_backup('base', true, false)" backup_stop='pg_stop_backup(false)' ;;
*) backup_start="pg_backup_start('base', true)" backup_stop='pg_backup_stop()' ;;
esac
start primary
psql >backup.log 2>&1 <<END
SELECT $backup_start;
\\! cp -R primary base
\\o base/backup_label
SELECT labelfile FROM $backup_stop;
END
rm -rf base/pg_wal/* base/postmaster.pid
for workload in "$@"; do
    psql -f "$workload" >>workload.log
done
stop primary

cp -R base recovered
cat >>recovered/postgresql.conf <<END
hot_standby = off
wal_consistency_checking = ''
restore_command = 'cp $dir/primary/pg_wal/%f %p'
END
touch recovered/recovery.signal
# pg_ctl counts a server in recovery as started; its end shows in the pid file. Asking by a connection
# would set hint bits.
start recovered
until grep -q '^ready' recovered/postmaster.pid; do
    "$bin/pg_ctl" -D recovered status >/dev/null || { tail recovered.log >&2; exit 1; }
    sleep 1
done
stop recovered

cat <<END
export ZENITH_BASE_DIR=$dir/base
export ZENITH_WAL_DIR=$dir/primary/pg_wal
export ZENITH_RECOVERED_DIR=$dir/recovered
export ZENITH_PG_MINOR=$(echo "$postgres" | sed 's/^[^.]*\.\([0-9]*\).*/\1/')
END
# A cluster of 18 has checksums, and with them logs hint bits.
case $postgres in
*' 18.'*) ;;
*) echo export ZENITH_NO_HINTS=1 ;;
esac
