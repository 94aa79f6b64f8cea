package kernels

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestImagesAreOfTheSources: whoever changes a kernel and forgets make kernels hears of it.
func TestImagesAreOfTheSources(t *testing.T) {
	h := sha256.New()
	for _, ext := range []string{".cu", ".cuh"} {
		names, err := fs.Glob(Sources, "*"+ext)
		if err != nil || len(names) == 0 {
			t.Fatalf("no %s: %v", ext, err)
		}
		slices.Sort(names)
		for _, name := range names {
			text, err := Sources.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
		}
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != Compiled().Sources {
		t.Errorf("the images come from sources with SHA-256 %s, those here have %s: run make kernels", Compiled().Sources, got)
	}
}

// TestImagesAreWhole: the manifest lists exactly what is embedded, by content.
func TestImagesAreWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: unpacking all takes long with the race detector")
	}
	files, err := fs.Glob(compiled, "images/*.xz")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(Compiled().Images) {
		t.Errorf("%d images, the manifest has %d", len(files), len(Compiled().Images))
	}
	for name, want := range Compiled().Images {
		module, target, _ := strings.Cut(name, ".")
		image, err := Image(module, target)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(image)); got != want {
			t.Errorf("%s has SHA-256 %s, the manifest says %s", name, got, want)
		}
	}
}

// TestSpills: registers that lie in memory cost time, and appear when a kernel grows: these are known, in bytes per thread.
func TestSpills(t *testing.T) {
	known := map[string][3]int{"conv_dw_128": {208, 208, 0}, "recurrent_1": {0, 0, 12}, "recurrent_grad_1": {8, 0, 0}}
	for name, k := range Compiled().Kernels {
		for i, u := range []Usage{k.SM75, k.SM80, k.SM90} {
			if u.Spills > known[name][i] {
				t.Errorf("kernel %s spills %d bytes for %s, %d are known", name, u.Spills, []string{"7.5", "8.0", "9.0"}[i], known[name][i])
			}
		}
	}
}

// TestManifestIsOfThePTX reads every kernel's parameters out of the PTX itself, and finds its name in the machine code.
func TestManifestIsOfThePTX(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	modules := map[string]bool{}
	for _, k := range Compiled().Kernels {
		modules[k.Module] = true
	}
	sources, err := fs.Glob(Sources, "*.cu")
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) != len(modules) {
		t.Errorf("%d kernel files, %d modules", len(sources), len(modules))
	}
	for _, file := range sources {
		module := strings.TrimSuffix(filepath.Base(file), ".cu")
		ptx, err := Image(module, "ptx")
		if err != nil {
			t.Error(err)
			continue
		}
		code := map[string]string{}
		for _, target := range []string{"sm_80", "sm_90"} {
			image, err := Image(module, target)
			if err != nil {
				t.Error(err)
			}
			code[target] = string(image)
		}
		found := entries(t, string(ptx))
		for name, k := range Compiled().Kernels {
			if k.Module != module {
				continue
			}
			if got, ok := found[name]; !ok || !slices.Equal(got, k.Params) {
				t.Errorf("%s.ptx: kernel %s has parameters of %v bytes, the manifest says %v", module, name, got, k.Params)
			}
			delete(found, name)
			for target, code := range code {
				if !strings.Contains(code, "\x00.text."+name+"\x00") {
					t.Errorf("%s.%s has no kernel %s", module, target, name)
				}
			}
		}
		if len(found) > 0 {
			t.Errorf("%s.ptx has kernels that the manifest lacks: %v", module, found)
		}
		if v := regexp.MustCompile(`(?m)^\.version (\S+)$`).FindStringSubmatch(string(ptx)); v == nil || v[1] != "8.0" {
			t.Errorf("%s.ptx is of version %v: driver.MinVersion is for 8.0", module, v)
		}
		if !strings.Contains(string(ptx), "\n.target sm_75\n") {
			t.Errorf("%s.ptx is not for compute capability 7.5", module)
		}
	}
}

var (
	entry = regexp.MustCompile(`\.entry (\w+)\(([^)]*)\)`)
	param = regexp.MustCompile(`^\.param (?:\.align \d+ )?\.[a-z](\d+) \w+(?:\[(\d+)\])?$`)
)

// entries is the size of every parameter of every kernel of a PTX text.
func entries(t *testing.T, ptx string) map[string][]int {
	t.Helper()
	found := map[string][]int{}
	for _, m := range entry.FindAllStringSubmatch(ptx, -1) {
		sizes := []int{}
		for _, p := range strings.Split(m[2], ",") {
			if p = strings.TrimSpace(p); p == "" {
				continue
			}
			f := param.FindStringSubmatch(p)
			if f == nil {
				t.Fatalf("kernel %s: parameter %q is not understood", m[1], p)
			}
			bits, _ := strconv.Atoi(f[1])
			n := 1
			if f[2] != "" {
				n, _ = strconv.Atoi(f[2])
			}
			sizes = append(sizes, bits/8*n)
		}
		found[m[1]] = sizes
	}
	return found
}

func TestTarget(t *testing.T) {
	for compute, want := range map[[2]int]string{{7, 5}: "ptx", {8, 0}: "sm_80", {8, 6}: "sm_80", {8, 9}: "sm_80", {9, 0}: "sm_90", {10, 0}: "ptx", {12, 1}: "ptx"} {
		if got, err := Target(compute); got != want || err != nil {
			t.Errorf("%v: %s, %v, want %s", compute, got, err, want)
		}
	}
	for _, compute := range [][2]int{{7, 0}, {6, 1}} {
		if _, err := Target(compute); err == nil {
			t.Errorf("%v is not refused", compute)
		}
	}
}
