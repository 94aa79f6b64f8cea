#!/bin/sh
# Tests the build tag gorgonia, which reaches the NVIDIA driver by gorgonia.org/cu, against the emulator (docs/gpu.md): the tests of cuda/driver, which hold its
# prototypes against NVIDIA's headers too, and the device table.
#
# usage: scripts/test_gorgonia.sh [DIR]       DIR has NVIDIA's cuda.h; without it: .deps/cuda-headers/include (scripts/deps.sh cuda-headers)
set -eu

cd "$(dirname -- "$0")/.."
root=$PWD
headers=${1:-$root/.deps/cuda-headers/include}
[ -e "$headers/cuda.h" ] || { echo "test_gorgonia: no cuda.h in $headers: run scripts/deps.sh cuda-headers" >&2; exit 1; }

# The emulator under the name that cu is linked with. Each package's tests want the emulator with their own kernels.
emulator() { # NAME KERNELS...
    dir=$root/.deps/gorgonia/$1
    shift
    mkdir -p "$dir"
    library=$(go run ./cuda/emulator/libcuda "$@")
    ln -sf "$library" "$dir/libcuda.so"
}
emulator driver cuda/driver/testdata/probe.cu
emulator cuda

# Cu calls functions that the emulator lacks; nothing here does.
export CGO_CFLAGS="-I$headers" CGO_LDFLAGS="-L$root/.deps/gorgonia/cuda -Wl,--unresolved-symbols=ignore-all"
export NETMEND_CUDA_INCLUDE="$headers"
go vet -tags gorgonia ./cuda/driver
go tool staticcheck -tags gorgonia ./cuda/driver
LD_LIBRARY_PATH=$root/.deps/gorgonia/driver go test -tags gorgonia ./cuda/driver
LD_LIBRARY_PATH=$root/.deps/gorgonia/cuda go test -tags gorgonia ./cuda
