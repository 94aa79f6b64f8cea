#!/usr/bin/env bash
# The published table again, with the published results beside ours: the study's protocol and scale, ten repeats, a budget of 20 trainings.
#
#   scripts/published.sh                     # after `make build`: R1-R7 and D1, D3, D4, D6, D7, D8, the small networks, by guided
#   DEVICE=cuda scripts/published.sh         # all 30 faults on an NVIDIA GPU; cuda:all spreads searches over several
#   scripts/published.sh random,hebo,bohb,autotrainer,guided
#
# Tables go to out/published-DEVICE. Data sets are in $NETMEND_DATA (scripts/fetch_data gets them). It can be stopped at any moment, and goes on when it is
# called again in the same way.
set -euo pipefail
cd "$(dirname "$0")/.."
device=${DEVICE:-cpu}
faults=R1,R2,R3,R4,R5,R6,R7,D1,D3,D4,D6,D7,D8
[[ $device != cuda* ]] || faults=all
out=out/published-${device//[:,]/-}
resume=
[ ! -e "$out/index.jsonl" ] || resume=--resume
exec bin/netmend bench --faults "$faults" --technique "${1:-guided}" --budget 20x --repeats 10 --scale paper --protocol published --seed 1 \
	--device "$device" --threads 1 --out "$out" $resume
