#!/usr/bin/env bash
# Makes the table of suspicion: mutants of the benchmark's healthy networks, what diagnose finds at those that are worse, and the counts of both.
#
#   scripts/suspicion.sh [FOLDER]           # default out/suspicion; data sets in $NETMEND_DATA; goes on where it was stopped
#
# Writes journal.jsonl, records.jsonl.gz, suspicion.csv and figures.md into the folder, and puts the records and the counts in their places in the
# source. figures.md goes into docs/suspicion.md by hand. The device is one thread of the CPU: other processors may give other records.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh
out=${1:-out/suspicion}
mkdir -p "$out"
out=$(realpath "$out")
[ -z "${NETMEND_DATA:-}" ] || NETMEND_DATA=$(realpath "$NETMEND_DATA")
export NETMEND_SUSPICION=$out ${NETMEND_DATA:+NETMEND_DATA}
nice -n 5 go test ./faults/suspicion -run 'TestMake$' -count=1 -timeout 12h -v
mkdir -p faults/suspicion/testdata
cp "$out/records.jsonl.gz" faults/suspicion/testdata/
cp "$out/suspicion.csv" repair/diagnose/
