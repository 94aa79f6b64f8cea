#!/usr/bin/env bash
# Checks netmend's CUDA device on a machine with an NVIDIA GPU: everything that the emulator cannot show (docs/gpu.md).
#
# usage: scripts/gpu_check.sh build [DIR]   here, with Go: makes a folder (out/gpu-check) to be copied to the machine with the GPU
#        DIR/gpu_check.sh run               there, without Go: runs it, and ends with a table
#
# run takes at most eight minutes (NETMEND_CHECK_SECONDS) and needs the driver (CUDA 12.0 or newer), glibc and bash, nothing else; where python3 has PyTorch with
# CUDA, its speed stands beside ours. It writes logs to DIR/logs and fails where a check fails, or was left out because the time was up: checks come before speeds.
# Without a GPU it says so, runs what needs none, and succeeds.
# NETMEND_BENCH names the networks of the speed table, NETMEND_BENCH_SECONDS the time for each. Where cuBLASLt and cuDNN are installed, alone or with PyTorch, or
# NETMEND_LIBCUBLASLT and NETMEND_LIBCUDNN name them, products and convolutions by those are checked and measured too; all other checks are of netmend's own kernels.
set -euo pipefail

build() {
    local root out
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    out=${1:-$root/out/gpu-check}
    cd "$root"
    rm -rf "$out"
    mkdir -p "$out/bin" "$out/lib" "$out/tests/cuda" "$out/tests/driver/testdata" "$out/tests/kernels"
    go build -trimpath -ldflags "-X main.version=$(git describe --tags --always --dirty 2>/dev/null)" -o "$out/bin/netmend" ./cmd/netmend
    go test -trimpath -c -o "$out/bin/cuda.test" ./cuda
    go test -trimpath -c -o "$out/bin/driver.test" ./cuda/driver
    go test -trimpath -c -o "$out/bin/kernels.test" ./cuda/kernels
    cp cuda/driver/testdata/* "$out/tests/driver/testdata/"
    # Debian's libraries that the binary is linked with; glibc is the other machine's own.
    ldd "$out/bin/netmend" | awk '$3 ~ /^\// && $1 !~ /^(libc|libm|libdl|libpthread|ld-linux)/ { print $3 }' | xargs -I{} cp -L {} "$out/lib/"
    [ ! -e .deps/onnxruntime/libonnxruntime.so.1 ] || cp .deps/onnxruntime/libonnxruntime.so.1 "$out/lib/"
    cp -r testdata/demo testdata/optdigits "$out/"
    cp scripts/bench_pytorch.py scripts/gpu_check.sh "$out/"
    echo "gpu-check: $out; copy it to the machine with the GPU and start gpu_check.sh run there"
}

limit=${NETMEND_CHECK_SECONDS:-480}
names=() results=() failed=0 running=

# step NAME COMMAND... runs a check, keeps its output in logs/NAME, and notes how it went. It may take half of the time that is left, or the last two minutes: one that
# hangs leaves some to the others. What the command calls is exported.
step() {
    local name=$1 start=$SECONDS left=$((limit - SECONDS)) code=0
    shift
    names+=("$name")
    if [ "$left" -le 0 ]; then
        results+=("LEFT OUT, $limit s are over")
        failed=1
        return
    fi
    printf 'gpu-check: %s…\n' "$name"
    timeout -k 10 $((left > 120 ? left / 2 : left)) bash -euo pipefail -c '"$@"' gpu-check "$@" >"logs/$name" 2>&1 &
    running=$!
    wait $running || code=$?
    running=
    case $code in
    0) results+=("passed, $((SECONDS - start)) s"); return ;;
    124 | 137) results+=("STOPPED after $((SECONDS - start)) s, see logs/$name") ;;
    *) results+=("FAILED after $((SECONDS - start)) s, see logs/$name") ;;
    esac
    failed=1
    # The tests that failed, or what was said last.
    grep -E -A 4 -e '--- FAIL|^panic:|^fatal error:' "logs/$name" | head -n 40 | grep . || tail -n 20 "logs/$name"
}

# interrupted ends the check under way, and the script with what is known.
interrupted() {
    [ -z "$running" ] || kill "$running"
    wait
    table
    exit 130
}

in_folder() { (cd "$1" && shift && "$@"); }

# twice trains the same thing twice: the same seed must give the same bits.
twice() {
    local i
    for i in 1 2; do
        netmend train demo/model.onnx --recipe demo/recipe.yaml --data optdigits --device "$1" --seed 3 --out "logs/trained$i.onnx"
    done
    cmp logs/trained1.onnx logs/trained2.onnx
}

# alike trains the same on every GPU of the machine's first model: they must give the bits of the first, as cuda:all relies on.
alike() {
    local gpu model
    model=$(sed -n 's/^cuda:0  *\(.* multiprocessors\), .*/\1/p' logs/devices)
    grep '^cuda:[0-9]' logs/devices | grep -F "  $model, " | sed 's/ .*//' >logs/alike-gpus
    while read -r gpu; do
        netmend train demo/model.onnx --recipe demo/recipe.yaml --data optdigits --device "$gpu" --seed 3 --out logs/trained-there.onnx </dev/null || return
        cmp logs/trained1.onnx logs/trained-there.onnx || return
    done <logs/alike-gpus
}

# batch N makes sixteen small repairs on all GPUs that are like the first, N at a time.
batch() {
    local device
    device=cuda:$(sed 's/cuda://' logs/alike-gpus | paste -sd, -)
    {
        echo 'defaults: {model: ../demo/model.onnx, recipe: ../demo/recipe.yaml, data: ../optdigits, technique: random, budget: 2t, pairs: 1}'
        echo 'jobs:'
        for seed in $(seq 16); do echo "  - {name: s$seed, seed: $seed}"; done
    } >logs/jobs.yaml
    netmend batch logs/jobs.yaml --device "$device" --jobs "$1" --out "logs/batch$1" || [ $? -eq 3 ] # 3: some found no repair
}

# sixteen makes them at once, with the results of one at a time but for the clock.
sixteen() {
    local seed n
    batch 16 || return
    for seed in $(seq 16); do
        for n in 1 16; do tail -n +2 "logs/batch$n/s$seed/journal.jsonl" | sed 's/,"seconds":[0-9.e-]*//' >"logs/trials$n"; done
        cmp logs/trials1 logs/trials16 || return
    done
}

repairs() {
    netmend repair demo/model.onnx --recipe demo/recipe.yaml --data optdigits --technique guided --budget 20x --seed 1 --device "$1" --out "logs/repair-$1"
}

# bench DEVICE measures one network at a time, so that what is measured by the end of the time stays.
bench() {
    local network failed=0
    for network in ${NETMEND_BENCH:-$(netmend bench train --help | sed -n 's/^ *Networks: \(.*\); none.*/\1/p' | tr -d ,)}; do
        netmend bench train --device "$1" --time "${NETMEND_BENCH_SECONDS:-2}s" --json "$network" || failed=1
    done
    return $failed
}

# python runs python3 without our libraries: PyTorch has its own.
python() { LD_LIBRARY_PATH=$loader python3 "$@"; }

has_torch() { command -v python3 >/dev/null && python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; }

pytorch() {
    # shellcheck disable=SC2086  # a list of networks
    python bench_pytorch.py --device cuda --seconds "${NETMEND_BENCH_SECONDS:-2}" ${NETMEND_BENCH:-}
}

# NVIDIA's libraries: off, on, or the one to use.
cublaslt=${NETMEND_LIBCUBLASLT:-on} cudnn=${NETMEND_LIBCUDNN:-on} packages=
unset NETMEND_LIBCUBLASLT NETMEND_LIBCUDNN

# find_libraries looks for them where the loader does, and in the Python packages that PyTorch comes with.
find_libraries() {
    ! command -v python3 >/dev/null ||
        packages=$(python -c 'import glob, sys; print(":".join(d for p in sys.path for d in sorted(glob.glob(p + "/nvidia/*/lib"))))' 2>/dev/null) || packages=
    with_packages netmend devices >logs/libraries || true
}

with_packages() { LD_LIBRARY_PATH=$LD_LIBRARY_PATH${packages:+:$packages} "$@"; }

# has NAME SETTING says whether the library can be used.
has() {
    case $2 in
    off) false ;;
    on) grep -q "$1 [0-9]" logs/libraries ;;
    esac
}

with_cublaslt() { NETMEND_LIBCUBLASLT=$cublaslt with_packages "$@"; }
with_cudnn() { NETMEND_LIBCUDNN=$cudnn with_packages "$@"; }

# speeds FILE: lines "network samples-per-second" of a log of bench or torch.
speeds() {
    [ ! -e "$1" ] || tr ',' '\n' <"$1" | awk -F'"' '$2 == "network" { n = $4 } $2 == "samples_per_second" { sub(/.*: */, ""); print n, $0 + 0 }'
}

table() {
    local i
    printf '\n%-16s %s\n' check result
    for i in "${!names[@]}"; do printf '%-16s %s\n' "${names[i]}" "${results[i]:-INTERRUPTED}"; done
    grep -h -o '[0-9]* steps: one executable takes .*' logs/device 2>/dev/null || true
    [ -e logs/speed-cuda ] || return 0
    printf '\n%-12s %14s %14s %14s %14s %14s   samples per second\n' network cuda cuBLASLt cuDNN cpu PyTorch
    speeds logs/speed-cuda | while read -r network speed; do
        printf '%-12s %14.0f' "$network" "$speed"
        for i in cublaslt cudnn cpu pytorch; do printf ' %14s' "$(speeds logs/speed-$i | awk -v n="$network" '$1 == n { printf "%.0f", $2 }')"; done
        printf '\n'
    done
}

run() {
    cd "$(dirname "${BASH_SOURCE[0]}")"
    [ -x bin/netmend ] || { echo "gpu-check: there is no bin/netmend beside this script; scripts/gpu_check.sh build makes the folder" >&2; exit 1; }
    loader=${LD_LIBRARY_PATH:-}
    export PATH=$PWD/bin:$PATH LD_LIBRARY_PATH=$PWD/lib${loader:+:$loader}
    [ ! -e lib/libonnxruntime.so.1 ] || export NETMEND_ORT=$PWD/lib/libonnxruntime.so.1
    rm -rf logs
    mkdir -p logs
    trap interrupted INT TERM
    step devices netmend devices --measure
    cat logs/devices
    export -f in_folder
    step kernels in_folder tests/kernels kernels.test -test.v
    if grep -q '^cuda:0 ' logs/devices; then
        nvidia-smi >logs/nvidia-smi 2>&1 || true
        find_libraries
        export loader packages cublaslt cudnn
        export -f twice alike batch sixteen repairs bench python pytorch with_packages with_cublaslt with_cudnn
        step driver in_folder tests/driver driver.test -test.v -driver.gpu
        step device in_folder tests/cuda cuda.test -test.v -cuda.gpu -test.skip 'Library|CuDNN'
        step repeatability twice cuda
        step alike alike
        step repair repairs cuda
        step batch-1 batch 1
        step batch-16 sixteen
        if has cuBLASLt "$cublaslt"; then step cublaslt with_cublaslt in_folder tests/cuda cuda.test -test.v -cuda.gpu -test.run Library; fi
        if has cuDNN "$cudnn"; then step cudnn with_cudnn in_folder tests/cuda cuda.test -test.v -cuda.gpu -test.run CuDNN; fi
        step speed-cuda bench cuda
        if has cuBLASLt "$cublaslt"; then step speed-cublaslt with_cublaslt bench cuda; fi
        if has cuDNN "$cudnn"; then step speed-cudnn with_cudnn bench cuda; fi
        if has_torch; then step speed-pytorch pytorch; fi
        step speed-cpu bench cpu
    else
        echo "gpu-check: there is no GPU here that can be used; what needs one is left out, and nothing of this says anything about a GPU"
        export -f twice
        step driver in_folder tests/driver driver.test -test.v
        step device in_folder tests/cuda cuda.test -test.v -test.short -test.run 'TestDevice$'
        step repeatability twice cpu
    fi
    table
    exit $failed
}

case ${1:-} in
build) build "${2:-}" ;;
run) run ;;
*) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
