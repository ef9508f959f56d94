#!/usr/bin/env bash
# Builds a Postgres from its source tree, with all that the captures want of a server: lz4 and zstd, every
# contrib module, the custom resource manager of src/test/modules/test_custom_rmgrs, and regress.so for the
# regression suite. About ten minutes on two cores.
#
#   build-postgres.sh MAJOR SOURCE_TREE PREFIX
#
# The source tree is only read; the build happens in PREFIX.build, which stays for suite.sh (pg_regress) and
# can be removed. With PG_PARTS=waldump only pg_waldump is built and put into PREFIX/bin (about 90 seconds).
#
# Getting a source tree, for example 18.6 from Debian (any mirror that has it):
#
#   dget -xu https://deb.debian.org/debian/pool/main/p/postgresql-18/postgresql-18_18.6-3.dsc
#
# or 17.11 from the project: https://ftp.postgresql.org/pub/source/v17.11/postgresql-17.11.tar.bz2, unpacked.
# Needs gcc, make, perl, bison, flex, liblz4-dev, libzstd-dev.
set -euo pipefail
major=$1
source=$(realpath "$2")
mkdir -p "$3" "$3.build"
prefix=$(realpath "$3")
jobs=${PG_JOBS:-2}

options=(--without-readline --without-icu --without-zlib --with-lz4)
# Version 14 has no zstd.
if ((major >= 15)); then options+=(--with-zstd); fi

cd "$prefix.build"
[[ -f config.status ]] || "$source/configure" -q --prefix="$prefix" "${options[@]}"
grep -q "PG_MAJORVERSION_NUM $major\$" src/include/pg_config.h || {
    echo "$source is not the source of $major" >&2
    exit 1
}

if [[ ${PG_PARTS:-} == waldump ]]; then
    make -s -j"$jobs" -C src/bin/pg_waldump
    install -D src/bin/pg_waldump/pg_waldump "$prefix/bin/pg_waldump"
else
    make -s -j"$jobs" all
    make -s -j"$jobs" -C contrib all
    make -s -j"$jobs" -C src/test/regress all
    make -s install
    make -s -C contrib install
    install src/test/regress/regress.so "$prefix/lib/"
    # From 16 on.
    if [[ -d $source/src/test/modules/test_custom_rmgrs ]]; then
        make -s -C src/test/modules/test_custom_rmgrs install
    fi
fi
"$prefix/bin/pg_waldump" --version
