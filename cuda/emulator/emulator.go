//go:build linux && cgo

package emulator

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"netmend/cuda/kernels"
)

//go:embed lib
var library embed.FS

// flags compile the kernels. Contraction is off here as on the GPU (kernels/common.cuh). Out-of-range indices of arrays, misaligned accesses and integer
// divisions by zero end the launch.
var flags = []string{"-std=c++17", "-O2", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-fvisibility=hidden", "-DNM_EMULATED", "-Wall",
	"-Wno-unknown-pragmas", "-Wno-unused-function"}

var kernelFlags = []string{"-fsanitize=bounds,alignment,integer-divide-by-zero", "-fsanitize-undefined-trap-on-error"}

// Use makes the emulator the driver that driver.Open opens, for the rest of the test and with settings "name=value,…":
//
//	devices=1            how many there are; 0: cuInit finds none
//	init=0               the CUresult that cuInit gives
//	version=12040        of the driver
//	memory=4294967296    bytes of each device
//	taken=0              bytes of it that other programs hold
//	compute=75           compute capability 7.5, which decides how much shared memory there is
//	multiprocessors=2    which kernels' grids are chosen by
//	others=0             the last so many devices are of another model, with a multiprocessor more
//	fail_alloc=0         the n-th allocation from now on runs out of memory
//	lost_launch=0        the n-th kernel from now on loses the context,
//	lost_code=700        with this CUresult,
//	lost_device=-1       counting those of this device; -1: of all
//	threads=0            OS threads that run blocks; 0: one per processor
//	cudnn=90701          version of cuDNN, 8907 for example
//	reverse=0            1: blocks and threads run from the last to the first, which finds missing barriers
//
// They are read again whenever a driver is opened; Set changes one at once. extra names more kernel files, relative to the test's directory.
func Use(t testing.TB, settings string, extra ...string) {
	t.Helper()
	path := Build(t, extra...)
	t.Setenv("NETMEND_LIBCUDA", path)
	t.Setenv("NETMEND_EMULATOR", settings)
}

// Build is Library for tests: it skips the test where there is no g++.
func Build(t testing.TB, extra ...string) string {
	t.Helper()
	path, err := Library(extra...)
	switch {
	case errors.Is(err, ErrUnavailable):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return path
}

// Library compiles the emulator with all kernels, and with those of the extra files, where that was not done before, and gives the library's path. What is
// compiled is kept in the user's cache directory.
func Library(extra ...string) (string, error) {
	compiler, err := exec.LookPath("g++")
	if err != nil {
		return "", fmt.Errorf("emulator: %w: g++ is not installed", ErrUnavailable)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "netmend", "emulator")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	return build(compiler, dir, extra)
}

// source is one file to compile.
type source struct {
	name  string
	text  []byte
	flags []string
}

func build(compiler, dir string, extra []string) (string, error) {
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	defer unlock()

	headers, sources, err := files(extra)
	if err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	// The compiler's version and what -march=native means here are part of every object's name.
	predefined, err := exec.Command(compiler, "-march=native", "-E", "-dM", "-x", "c++", "/dev/null").Output()
	if err != nil {
		return "", fmt.Errorf("emulator: g++: %w", err)
	}
	include, err := os.MkdirTemp(dir, "include")
	if err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	defer os.RemoveAll(include)
	common := sha256.New()
	common.Write(predefined)
	for _, h := range headers {
		fmt.Fprintf(common, "%s %d\n%s", h.name, len(h.text), h.text)
		if err := os.WriteFile(filepath.Join(include, h.name), h.text, 0o644); err != nil {
			return "", fmt.Errorf("emulator: %w", err)
		}
	}
	base := common.Sum(nil)

	objects := make([]string, len(sources))
	errs := make([]error, len(sources))
	var wait sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	for i, s := range sources {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			objects[i], errs[i] = compile(compiler, dir, include, base, s)
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "libcuda-"+key([]byte(strings.Join(objects, "\n")))+".so")
	if touch(path) {
		return path, nil
	}
	prune(dir)
	args := append([]string{"-shared", "-o", path + ".new"}, objects...)
	if out, err := exec.Command(compiler, append(args, "-lpthread", "-ldl", "-lm")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("emulator: link: %w\n%s", err, out)
	}
	return path, os.Rename(path+".new", path)
}

// files lists the headers and what is to be compiled, in a fixed order.
func files(extra []string) (headers, sources []source, err error) {
	for _, group := range []struct {
		fs    fs.FS
		root  string
		flags []string
	}{{kernels.Sources, ".", kernelFlags}, {library, "lib", nil}} {
		entries, err := fs.ReadDir(group.fs, group.root)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			text, err := fs.ReadFile(group.fs, filepath.Join(group.root, e.Name()))
			if err != nil {
				return nil, nil, err
			}
			s := source{e.Name(), text, group.flags}
			switch filepath.Ext(e.Name()) {
			case ".h", ".cuh":
				headers = append(headers, s)
			case ".cc", ".cu":
				sources = append(sources, s)
			}
		}
	}
	for _, path := range extra {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		sources = append(sources, source{filepath.Base(path), text, kernelFlags})
	}
	return headers, sources, nil
}

// compile gives the object file of a source, compiled if it is not there.
func compile(compiler, dir, include string, base []byte, s source) (string, error) {
	args := slices.Concat(flags, s.flags)
	object := filepath.Join(dir, s.name+"-"+key(base, []byte(strings.Join(args, " ")), s.text)+".o")
	if touch(object) {
		return object, nil
	}
	path := filepath.Join(include, s.name)
	if err := os.WriteFile(path, s.text, 0o644); err != nil {
		return "", fmt.Errorf("emulator: %w", err)
	}
	if filepath.Ext(s.name) == ".cu" {
		// Every kernel file is a module of its own on the GPU: its functions must not meet those of the others here.
		wrapper := fmt.Sprintf("#include \"common.cuh\"\nnamespace {\n#include %q\n}\n", s.name)
		if path += ".cc"; os.WriteFile(path, []byte(wrapper), 0o644) != nil {
			return "", fmt.Errorf("emulator: %s cannot be written", path)
		}
	}
	cmd := exec.Command(compiler, append(args, "-fmacro-prefix-map="+include+"/=", "-I", include, "-x", "c++", "-c", path, "-o", object+".new")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("emulator: %s: %w\n%s", s.name, err, bytes.ReplaceAll(out, []byte(include+"/"), nil))
	} else if len(out) > 0 {
		fmt.Fprintf(os.Stderr, "%s", bytes.ReplaceAll(out, []byte(include+"/"), nil))
	}
	return object, os.Rename(object+".new", object)
}

func key(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// touch marks a file of the cache as used; false: it is not there.
func touch(path string) bool {
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

// prune removes what no build used for a week.
func prune(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > 7*24*time.Hour && e.Name() != "lock" {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}
