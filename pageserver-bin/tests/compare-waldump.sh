#!/usr/bin/env bash
# Holds `pageserver waldump` against pg_waldump: standard output byte for byte, success or failure, and saved
# images, for every option and many combinations.
#
#   compare-waldump.sh PAGESERVER PG_WALDUMP DIR
#
# DIR holds consecutive segments of one timeline, of the major version of PG_WALDUMP. Set TZ to compare times in
# another time zone than the system's.
set -uo pipefail
pageserver=$(realpath "$1")
waldump=$(realpath "$2")
cd "$3" || exit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$("$waldump" -V | sed -E 's/.* ([0-9]+\.[0-9]+).*/\1/')
major=${version%.*} minor=${version#*.}
mapfile -t segments < <(find . -maxdepth 1 -regextype posix-extended -regex './[0-9A-F]{24}' -printf '%f\n' | sort)
first=${segments[0]} last=${segments[-1]} middle=
timeline=$((16#${first:0:8}))
runs=0 differences=0

# Minors before 16.5 forget the dropped statistics of PREPARE.
forget() { # a text
    if ((major == 16 && minor < 5)); then sed -E -i '/desc: PREPARE gid/s/; (commit|abort) dropped stats:[^;]*//g' "$1"; fi
}
compare() { # arguments of both
    runs=$((runs + 1))
    "$pageserver" waldump "$@" >"$work/ours" 2>"$work/ours.err"
    local ours=$?
    forget "$work/ours"
    "$waldump" "$@" >"$work/theirs" 2>"$work/theirs.err"
    local theirs=$?
    if ! cmp -s "$work/ours" "$work/theirs" || (((ours == 0) != (theirs == 0))); then
        differences=$((differences + 1))
        echo "DIFFERS ($ours, $theirs): waldump $*"
        diff "$work/ours" "$work/theirs" | head -4 | cut -c 1-300
        head -2 "$work/ours.err" "$work/theirs.err"
    fi
}
refused() { # arguments that are wrong in both
    runs=$((runs + 1))
    if "$pageserver" waldump "$@" >/dev/null 2>&1; then
        differences=$((differences + 1))
        echo "NOT REFUSED: waldump $*"
    fi
}
# The segment with the most records, for positions and values that are there.
most=0
for segment in "${segments[@]}"; do
    "$waldump" "$segment" >"$work/some" 2>/dev/null
    if (($(wc -l <"$work/some") > most)); then
        middle=$segment most=$(wc -l <"$work/some")
        cp "$work/some" "$work/lines"
    fi
done
field() { sed -nE "$1" "$work/lines" | sed -n "${2}p"; }
starts() { field 's/.*, lsn: ([0-9A-F]+\/[0-9A-F]+), .*/\1/p' "$1"; }
early=$(starts 2) late=$(starts 40)
xid=$(field 's/.*tx: +([1-9][0-9]*),.*/\1/p' 5)
relation=$(field 's/.*blkref #0: rel ([0-9\/]+) .*/\1/p' 5)
block=$(field 's/.*blkref #0: rel [0-9\/]+ (fork [a-z]+ )?blk ([0-9]+).*/\2/p' 5)
inside=$(printf '%s/%X' "${early%/*}" $((16#${early#*/} + 4)))
page=$(printf '%s/%X' "${late%/*}" $(((16#${late#*/} / 8192 + 1) * 8192)))

for style in "" -b; do
    compare $style "$first" "$last"
    compare $style "$middle"
    compare $style -p . "$middle" "$last"
    compare $style -p . -t $timeline -s "$early"
    compare $style -t $timeline -s "$early" -e "$late"
    compare $style -n 7 "$middle"
    compare $style -r heap -n 100 "$first" "$last"
    compare $style -x "$xid" "$middle"
done
for by in --stats --stats=rmgr --stats=record -z; do
    compare $by "$first" "$last"
    compare $by -t $timeline -s "$early" -e "$late"
    compare $by -r Btree "$first" "$last"
    compare $by -x 4294967295 "$middle"
    compare $by -q "$middle"
done
for name in XLOG transaction Storage CLOG database Tablespace MultiXact relmap STANDBY heap2 Heap btree hash gin gist \
    sequence spgist brin committs ReplicationOrigin generic LogicalMessage; do
    compare -r "$name" "$first" "$last"
done
compare -r list
compare -r heap -r btree "$middle"
compare -q "$first" "$last"
compare -n 0 -n 3 "$middle"
compare --limit=-1 "$middle"
compare -t $timeline -s "$inside" -n 3
compare -t $timeline -s "$page" -n 3
compare -t $timeline -s "$inside" --stats
compare -p . -t $timeline -s "$early" -n 3
compare -t $timeline -s "$early" -e "$early"
compare -x 0 "$middle"
# Ends near the end of a record: a byte decides.
for offset in -9 -8 -1 0 1 8 23 24 25 31 32; do
    end=$(printf '%s/%X' "${late%/*}" $((16#${late#*/} + offset)))
    compare -t $timeline -s "$early" -e "$end"
    compare -q -t $timeline -s "$early" -e "$end"
done
mkdir -p "$work/data/pg_wal"
ln -s "$PWD"/* "$work/data/pg_wal/"
compare -p "$work/data" -n 5 "$middle"
compare -p "$work/data" -n 5 -t $timeline -s "$early"
compare -n 5 "$PWD/$middle"
PGDATA="$work/data" compare -n 5 "$middle"
pushd "$work/data" >/dev/null
compare -n 5 "$middle"
cd ..
PGDATA=data compare -n 5 "$middle"
popd >/dev/null
refused "$last" "$first"
refused -s 0/8 "$last"
refused -e 0/8 "$first"
refused -p /nonexistent "$first"
refused 0000000100000000000000FE
refused -r nothing "$first"
refused -B 1 "$first"
refused

if ((major >= 15)); then
    for name in custom128 custom255; do compare -r "$name" "$first" "$last"; done
    for fork in main fsm vm init; do compare -F "$fork" "$first" "$last"; done
    compare -w "$first" "$last"
    compare -b -w -n 20 "$first" "$last"
    compare -R "$relation" "$first" "$last"
    compare -R "$relation" -F main "$first" "$last"
    compare -R "$relation" -B "$block" "$first" "$last"
    compare -R "$relation" -B 4294967294 "$first" "$last"
    compare -R "$relation" -w --stats=record "$first" "$last"
    refused -R 0/0/0 "$first"
else
    for option in --fullpage --relation="$relation" --fork=main; do refused "$option" "$first"; done
fi
if ((major >= 16)); then
    compare -t 0x${first:0:8} -s "$early" -n 3
    runs=$((runs + 1))
    "$pageserver" waldump -q --save-fullpage="$work/ours.d" "$first" "$last" 2>/dev/null
    "$waldump" -q --save-fullpage="$work/theirs.d" "$first" "$last" 2>/dev/null
    diff -rq "$work/ours.d" "$work/theirs.d" || differences=$((differences + 1))
    refused -q --save-fullpage="$work/ours.d" "$first"
else
    refused -q --save-fullpage="$work/ours.d" "$first"
fi

# What pg_waldump does not have: a stream.
"$waldump" "$first" "$last" >"$work/theirs" 2>/dev/null
cat "${segments[@]}" | "$pageserver" waldump - >"$work/ours" 2>/dev/null
forget "$work/ours"
cmp "$work/ours" "$work/theirs" || differences=$((differences + 1))
"$waldump" -t $timeline -s "$early" -n 9 >"$work/theirs" 2>/dev/null
cat "${segments[@]}" 2>/dev/null | "$pageserver" waldump -s "$early" -n 9 - >"$work/ours" 2>/dev/null
cmp "$work/ours" "$work/theirs" || differences=$((differences + 1))
"$pageserver" waldump "$first" "$last" 2>"$work/ours.err" | head -1 >/dev/null
[[ ${PIPESTATUS[0]} == 0 && ! -s "$work/ours.err" ]] || { echo "a closed pipe is no quiet end"; differences=$((differences + 1)); }

echo "PostgreSQL $major: $((runs + 3)) runs, $differences differences"
((differences == 0))
