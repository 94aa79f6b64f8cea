// Package kernels holds the GPU kernels of netmend: their sources, and what scripts/kernels.py compiled them to (make kernels). Nothing
// here runs on its own; cuda loads the images, cuda/emulator compiles the sources for the CPU.
package kernels

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/ulikunitz/xz"
)

// Sources are the kernel files and their headers.
//
//go:embed *.cu *.cuh *.h
var Sources embed.FS

//go:embed images manifest.json
var compiled embed.FS

// Manifest says what the images are made of.
type Manifest struct {
	Compiler string            `json:"compiler"` // "NVRTC 12.0"
	Options  []string          `json:"options"`
	Sources  string            `json:"sources"` // SHA-256 of every file: name, length and text
	Images   map[string]string `json:"images"`  // SHA-256 of each, by "module.target"
	Kernels  map[string]Kernel `json:"kernels"`
}

// Kernel describes a compiled kernel.
type Kernel struct {
	Module  string `json:"module"`  // the file it is in, without .cu
	Params  []int  `json:"params"`  // bytes of each parameter
	Threads int    `json:"threads"` // of a block, at most
	SM75    Usage  `json:"sm_75"`
	SM80    Usage  `json:"sm_80"`
	SM90    Usage  `json:"sm_90"`
}

// Usage is what a kernel takes on one architecture, as ptxas tells it.
type Usage struct {
	Registers int `json:"registers"` // per thread
	Spills    int `json:"spills"`    // bytes per thread, stored and loaded
	Stack     int `json:"stack"`     // bytes per thread: spills and local arrays
	Shared    int `json:"shared"`    // static bytes per block
}

var manifest = sync.OnceValue(func() *Manifest {
	text, err := compiled.ReadFile("manifest.json")
	if err != nil {
		panic(err)
	}
	m := new(Manifest)
	if err := json.Unmarshal(text, m); err != nil {
		panic(fmt.Sprintf("kernels: manifest.json: %v", err))
	}
	return m
})

// Compiled is the manifest of what is embedded. It must not be changed.
func Compiled() *Manifest { return manifest() }

// cubins are the architectures with machine code of their own, as major and minor compute capability.
var cubins = [][2]int{{9, 0}, {8, 0}}

// Target is the kind of image that suits a compute capability: machine code where there is some of the same major and of no later minor
// version, which is what it runs on (CUDA C++ Programming Guide, "Binary Compatibility"), else PTX, which the driver compiles. An error: older than the PTX.
func Target(compute [2]int) (string, error) {
	for _, c := range cubins {
		if compute[0] == c[0] && compute[1] >= c[1] {
			return fmt.Sprintf("sm_%d%d", c[0], c[1]), nil
		}
	}
	if compute[0] < 7 || compute[0] == 7 && compute[1] < 5 {
		return "", fmt.Errorf("kernels: compute capability %d.%d is not supported: 7.5 (Turing, 2018) or newer is", compute[0], compute[1])
	}
	return "ptx", nil
}

// Image is a module for a target, as driver.Context.Load takes it.
func Image(module, target string) ([]byte, error) {
	packed, err := compiled.ReadFile("images/" + module + "." + target + ".xz")
	if err != nil {
		return nil, fmt.Errorf("kernels: there is no image of %q for %s", module, target)
	}
	r, err := xz.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("kernels: image %s.%s: %w", module, target, err)
	}
	image, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("kernels: image %s.%s: %w", module, target, err)
	}
	return image, nil
}
