#!/bin/sh
# Makes what the tests in tests/real_wal read: a base backup of a new cluster, the WAL of a workload on
# it, and stock recovery of the backup with that WAL.
#
#   recover.sh PG_BIN DIRECTORY WORKLOAD...
#
# PG_BIN is a directory with postgres, initdb and pg_ctl; DIRECTORY is made and must not exist; a
# WORKLOAD is a file for psql. Run it as an unprivileged user. Prints the tests' environment. SETTINGS
# may hold more lines of postgresql.conf, PSQL the psql to use, if it is not in PG_BIN. gist.sql needs
# wal_consistency_checking = '', since stock recovery fails its own check after GiST's DELETE (see
# src/gist/mask.rs).
set -eu
bin=$1
dir=$2
shift 2
psql=${PSQL:-$bin/psql}
minor=$("$bin/postgres" --version | sed 's/^[^0-9]*[0-9]*\.\([0-9]*\).*/\1/')
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

# Needs no client tool but psql: copies the files between two function calls of one session.
backup() {
    case $("$bin/postgres" --version) in
    *" 14."*) begin="pg_start_backup('b', true, false)" end='pg_stop_backup(false, false)' ;;
    *) begin="pg_backup_start('b', true)" end='pg_backup_stop(false)' ;;
    esac
    "$psql" -h "$dir" -p "$port" -qAtX -v ON_ERROR_STOP=1 postgres <<END
SELECT $begin;
\\! cp -R primary base
\\o base/backup_label
SELECT labelfile FROM $end;
END
    rm -rf base/postmaster.pid base/postmaster.opts base/pg_wal
    mkdir -p base/pg_wal/archive_status
}

start primary
checksums=$("$psql" -h "$dir" -p "$port" -qAtX -c 'SHOW data_checksums' postgres)
backup >backup.log
conn="host=$dir port=$port dbname=postgres"
for workload in "$@"; do
    "$psql" -h "$dir" -p "$port" -qAtX -v ON_ERROR_STOP=1 -v conn="$conn" -f "$workload" postgres >>workload.log
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
until grep -q '^ready' recovered/postmaster.pid; do sleep 1; done
stop recovered

cat <<END
export ZENITH_BASE_DIR=$dir/base
export ZENITH_WAL_DIR=$dir/primary/pg_wal
export ZENITH_RECOVERED_DIR=$dir/recovered
export ZENITH_PG_MINOR=$minor
END
# Checksums make the server log hint bits; initdb of 18 asks for them.
[ "$checksums" = on ] || echo 'export ZENITH_NO_HINTS=1'
