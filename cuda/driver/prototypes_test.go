//go:build linux && cgo

package driver_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPrototypes holds what shim.h and shim.c say of the driver API against NVIDIA's header, where that is: NETMEND_CUDA_INCLUDE names its folder.
func TestPrototypes(t *testing.T) {
	headers := os.Getenv("NETMEND_CUDA_INCLUDE")
	if headers == "" {
		headers = filepath.Join("..", "..", ".deps", "cuda-headers", "include") // scripts/deps.sh cuda-headers
	}
	header, err := os.ReadFile(filepath.Join(headers, "cuda.h"))
	if err != nil {
		t.Skipf("%v: scripts/deps.sh cuda-headers fetches it", err)
	}
	compiler, err := exec.LookPath("g++")
	if err != nil {
		t.Skip(err)
	}
	compile := func(define ...string) (string, error) {
		args := append([]string{"-std=c++17", "-fsyntax-only", "-w", "-I", headers, "-I", "."}, define...)
		if strings.Contains(string(header), "cuFuncGetParamInfo") {
			args = append(args, "-DWITH_OPTIONAL")
		}
		out, err := exec.Command(compiler, append(args, filepath.Join("testdata", "prototypes.cc"))...).CombinedOutput()
		return string(out), err
	}
	if out, err := compile(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	// The comparison finds what differs.
	for name, params := range map[string]string{
		"cuMemAlloc_v2":        "(CUdeviceptr * pointer, unsigned bytes)",
		"cuStreamEndCapture":   "(CUstream stream)",
		"cuMemcpyHtoDAsync_v2": "(CUdeviceptr to, void *from, size_t bytes, CUstream stream)",
	} {
		if out, err := compile("-DWRONG="+name, "-DPARAMS="+params); err == nil || !strings.Contains(out, "static assertion failed: found") {
			t.Errorf("%s%s passes: %s", name, params, out)
		}
	}
}
