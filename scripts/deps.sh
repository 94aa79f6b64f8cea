#!/bin/sh
# Installs what the build and the tests need and this machine lacks: a C and C++ compiler and oneDNN from Debian's
# packages, and the ONNX Runtime library, which goes to .deps/onnxruntime/ of this repository.
# Quick where everything is there. Works as root or with sudo.
#
# The compiler of the GPU kernels, which make kernels alone needs, goes to .deps/nvrtc/; NVIDIA's headers of the driver API, which make test-gorgonia alone
# needs, go to .deps/cuda-headers/.
#
# usage: scripts/deps.sh [system|onnxruntime|nvrtc|cuda-headers]       (without an argument: system and onnxruntime)
set -eu

root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
ort_version=1.30.0
# SHA-256 of what is downloaded: the npm package, and the wheels for Python 3.11, of which only the library is used.
npm_sha=6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75
wheel_sha_x86_64=fd54b314ea385bcecac69ab431f020ba503e3878dad4ebb645fec5a24b041242
wheel_sha_aarch64=bac3aee7b40acd805659fd81a2acd6096312d5b0f014c97ddfe75fb4c1644627

# NVRTC and ptxas, for x86-64 (scripts/kernels.py says why this version).
nvrtc_version=12.0.140
nvrtc_sha=8e94e991d85c422de4da87bdc7472fdc1364367bd4aace7000b559cd33122071
nvcc_sha=958d54df87d0c0b7207e7fed403d6eeda0890a01cc44cfeaccf87c7f90e9b165

# Headers of the oldest CUDA that netmend supports; they are the same on every processor.
headers_version=12.0.146
headers_sha=18c038592af387684812fa712642aa9a26c12da80acb488b6709f7cced147f71

say() { printf 'deps: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# apt PACKAGE... installs Debian packages.
apt() {
    have apt-get || die "this machine has no apt-get; install what Debian calls $* by hand"
    sudo=
    if [ "$(id -u)" != 0 ]; then
        have sudo || die "installing $* needs root: run this as root, or install sudo"
        sudo=sudo
    fi
    say "installing $*"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2 || say "apt-get update failed; trying with the lists at hand"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2 ||
        die "apt-get could not install $*"
}

system_packages() {
    missing=
    have cc && have c++ || missing="gcc g++ libc6-dev"
    found=
    for d in /usr/include /usr/local/include; do
        [ -e "$d/oneapi/dnnl/dnnl.h" ] && found=1
    done
    [ "$found" ] || missing="$missing libdnnl-dev"
    # shellcheck disable=SC2086  # a list of words
    [ -z "$missing" ] || apt $missing
}

# check FILE SHA256 refuses a download that is not what it was when this script was written.
check() {
    got=$(sha256sum "$1" | cut -d' ' -f1)
    [ "$got" = "$2" ] || die "$(basename "$1") has SHA-256 $got, not $2; nothing was installed"
}

from_npm() { # arch
    case $1 in x86_64) cpu=x64 ;; aarch64) cpu=arm64 ;; esac
    say "fetching onnxruntime-node $ort_version with npm"
    (cd "$tmp" && npm pack --silent "onnxruntime-node@$ort_version" >/dev/null) || return 1
    check "$tmp/onnxruntime-node-$ort_version.tgz" "$npm_sha"
    lib=package/bin/napi-v6/linux/$cpu/libonnxruntime.so.1
    tar -xzf "$tmp/onnxruntime-node-$ort_version.tgz" -C "$tmp" "$lib"
    mv "$tmp/$lib" "$tmp/libonnxruntime.so.1"
}

from_pip() { # arch
    have python3 && python3 -m pip --version >/dev/null 2>&1 || apt python3 python3-pip
    say "fetching onnxruntime $ort_version with pip"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp --python-version 3.11 \
        --platform "manylinux_2_28_$1" --dest "$tmp" "onnxruntime==$ort_version" >&2 || return 1
    wheel=$tmp/onnxruntime-$ort_version-cp311-cp311-manylinux_2_28_$1.whl
    case $1 in x86_64) check "$wheel" $wheel_sha_x86_64 ;; aarch64) check "$wheel" $wheel_sha_aarch64 ;; esac
    python3 -m zipfile -e "$wheel" "$tmp/wheel"
    mv "$tmp/wheel/onnxruntime/capi/libonnxruntime.so.$ort_version" "$tmp/libonnxruntime.so.1"
}

onnxruntime() {
    dir=$root/.deps/onnxruntime
    [ -e "$dir/libonnxruntime.so.1" ] && [ "$(cat "$dir/VERSION" 2>/dev/null)" = $ort_version ] && return
    [ "$(uname -s)" = Linux ] || die "get the ONNX Runtime $ort_version library for $(uname -s) by hand and set NETMEND_ORT to it"
    arch=$(uname -m)
    case $arch in x86_64 | aarch64) ;; *) die "no ONNX Runtime library for $arch; build one and set NETMEND_ORT to it" ;; esac
    mkdir -p "$dir"
    tmp=$(mktemp -d "$dir/.fetch.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    trap 'exit 1' HUP INT TERM
    { have npm && from_npm "$arch"; } || from_pip "$arch" ||
        die "ONNX Runtime could not be fetched with npm or pip; get libonnxruntime.so $ort_version by hand and set NETMEND_ORT to it"
    mv "$tmp/libonnxruntime.so.1" "$dir/libonnxruntime.so.1"
    printf '%s\n' $ort_version >"$dir/VERSION"
    rm -rf "$tmp"
}

# from_nvidia PART VERSION SHA256 unpacks NVIDIA's package of that part of CUDA 12 in $tmp/files.
from_nvidia() {
    package=nvidia-cuda-$1-cu12
    say "fetching $package $2 with pip"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --platform manylinux1_x86_64 \
        --dest "$tmp" "$package==$2" >&2 || die "$package could not be fetched with pip"
    wheel=$tmp/nvidia_cuda_$1_cu12-$2-py3-none-manylinux1_x86_64.whl
    check "$wheel" "$3"
    python3 -m zipfile -e "$wheel" "$tmp/files"
}

# fetching makes the folder $tmp for a download with pip.
fetching() {
    have python3 && python3 -m pip --version >/dev/null 2>&1 || apt python3 python3-pip
    mkdir -p "$root/.deps"
    tmp=$(mktemp -d "$root/.deps/.fetch.XXXXXX")
    trap 'rm -rf "$tmp"' EXIT
    trap 'exit 1' HUP INT TERM
}

nvrtc() {
    dir=$root/.deps/nvrtc
    [ "$(cat "$dir/VERSION" 2>/dev/null)" = $nvrtc_version ] && return
    [ "$(uname -sm)" = "Linux x86_64" ] || die "the GPU kernels are compiled on Linux on x86-64; what is compiled is part of the repository"
    fetching
    from_nvidia nvrtc $nvrtc_version $nvrtc_sha
    from_nvidia nvcc $nvrtc_version $nvcc_sha
    chmod +x "$tmp/files/nvidia/cuda_nvcc/bin/ptxas"
    printf '%s\n' $nvrtc_version >"$tmp/files/VERSION"
    rm -rf "$dir"
    mv "$tmp/files" "$dir"
    rm -rf "$tmp"
}

cuda_headers() {
    dir=$root/.deps/cuda-headers
    [ "$(cat "$dir/VERSION" 2>/dev/null)" = $headers_version ] && return
    fetching
    from_nvidia runtime $headers_version $headers_sha
    printf '%s\n' $headers_version >"$tmp/files/nvidia/cuda_runtime/VERSION"
    rm -rf "$dir"
    mv "$tmp/files/nvidia/cuda_runtime" "$dir"
    rm -rf "$tmp"
}

case ${1:-all} in
system) system_packages ;;
onnxruntime) onnxruntime ;;
nvrtc) nvrtc ;;
cuda-headers) cuda_headers ;;
all) system_packages && onnxruntime ;;
*) die "unknown part $1; there are system, onnxruntime, nvrtc and cuda-headers" ;;
esac
