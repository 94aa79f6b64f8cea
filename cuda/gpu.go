//go:build linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"netmend/cuda/driver"
	"netmend/cuda/kernels"
	"netmend/engine"
)

// gpu is one GPU in this process: what all devices that are opened on it share. The first one loads the kernels, the last one to close frees everything.
type gpu struct {
	key     gpuKey
	opened  int // devices that are open on it; guarded by gpus
	start   sync.Once
	failure error // of start

	info    driver.Info
	context *driver.Context
	modules []*driver.Module
	kernels map[string]*driver.Function
	upload  staging
	live    atomic.Int32 // executables on it, and those that are about to be

	mu   sync.Mutex // of what follows, and of what is done to memory: what is free stays free until it is allocated
	held int64      // bytes that executables and data sets lie in
	data map[content]*column
	uses uint64 // counts the uses of columns
	lost error  // the first error of class driver.ErrLost
}

// gpuKey names a GPU: the driver's library, of which a process of tests has several, and the driver's index.
type gpuKey struct {
	library string
	index   int
}

var gpus = struct {
	sync.Mutex
	byKey map[gpuKey]*gpu
}{byKey: make(map[gpuKey]*gpu)}

// openGPU finds the GPU of that index, or starts it. Every one that is opened must be closed.
func openGPU(lib *driver.Driver, index int) (*gpu, error) {
	key := gpuKey{lib.Path(), index}
	gpus.Lock()
	g := gpus.byKey[key]
	if g == nil {
		g = &gpu{key: key, data: make(map[content]*column)}
		gpus.byKey[key] = g
	}
	g.opened++
	gpus.Unlock()
	g.start.Do(func() { g.failure = g.begin(lib) })
	err := g.failure
	if err == nil {
		err = g.loss()
	}
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// begin makes the context and loads the kernels: machine code where there is some for the GPU, else PTX, which the driver compiles at the first time.
func (g *gpu) begin(lib *driver.Driver) error {
	dev, err := lib.Device(g.key.index)
	if err != nil {
		return err
	}
	g.info = dev.Info
	if g.info.Prohibited {
		return errors.New("its compute mode allows no program; nvidia-smi --compute-mode=0 changes that")
	}
	target, err := kernels.Target(g.info.Compute)
	if err != nil {
		return err
	}
	if g.context, err = dev.Context(); err != nil {
		return err
	}
	if err := g.load(target); err != nil {
		return err
	}
	return g.upload.open(g.context)
}

func (g *gpu) load(target string) error {
	g.kernels = make(map[string]*driver.Function)
	modules := make(map[string]*driver.Module)
	for name, k := range kernels.Compiled().Kernels {
		m := modules[k.Module]
		if m == nil {
			image, err := kernels.Image(k.Module, target)
			if err != nil {
				return err
			}
			if m, err = g.context.Load(image); err != nil {
				return fmt.Errorf("cuda: module %q: %w", k.Module, err)
			}
			modules[k.Module] = m
			g.modules = append(g.modules, m)
		}
		var err error
		if g.kernels[name], err = m.Function(name); err != nil {
			return err
		}
	}
	// A block of a recurrent layer keeps its states in shared memory, of which a launch gets 48 KiB unless it is allowed more.
	for _, name := range []string{"recurrent_1", "recurrent_4", "recurrent_grad_1", "recurrent_grad_4"} {
		f := g.kernel(name)
		if err := f.AllowShared(g.info.SharedPerBlockOptin - f.SharedBytes); err != nil {
			return err
		}
	}
	return nil
}

// kernel finds a kernel; that it is there is our own business.
func (g *gpu) kernel(name string) *driver.Function {
	f := g.kernels[name]
	if f == nil {
		panic("cuda: there is no kernel " + name)
	}
	return f
}

// close ends one use of the GPU; the last one frees everything.
func (g *gpu) close() error {
	gpus.Lock()
	defer gpus.Unlock()
	if g.opened--; g.opened > 0 {
		return nil
	}
	delete(gpus.byKey, g.key)
	if g.context == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.evict() {
	}
	errs := []error{g.upload.close()}
	for _, m := range g.modules {
		errs = append(errs, m.Close())
	}
	errs = append(errs, g.context.Close())
	if g.lost != nil {
		return nil // what is lost cannot be freed piece by piece; that it is lost has been said
	}
	return errors.Join(errs...)
}

// noteLoss keeps the first error that says that the GPU is lost.
func (g *gpu) noteLoss(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost == nil {
		g.lost = err
	}
}

// loss is the error that says that the GPU is lost; nil: it is not, as far as is known.
func (g *gpu) loss() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lost
}

// room is what is free now and may be taken, in bytes.
func (g *gpu) room() (int64, error) {
	free, _, err := g.context.Memory()
	return free - g.keptFree(), err
}

// roomAndIdle is what may be taken when the data sets that nobody uses have made room, in bytes.
func (g *gpu) roomAndIdle() (int64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	room, err := g.room()
	for _, c := range g.data {
		if c.users == 0 {
			room += granules(c.size)
		}
	}
	return room, err
}

// keptFree is what of a GPU's memory no executable and no data set takes: a 64th, for what the driver allocates without being asked (graphs, kernels that are
// loaded at their first launch, the stacks of threads), and for other programs that need a little more than before. How much the driver needs has not
// been measured on a GPU.
func (g *gpu) keptFree() int64 { return g.info.Memory / 64 }

// usable is what an executable may take of an empty GPU.
func (g *gpu) usable() int64 { return g.info.Memory - g.keptFree() }

// granule is what the driver maps memory by ("Low-Level GPU Virtual Memory Management", CUDA C++ Programming Guide: 2 MiB on all GPUs so far).
const granule = 2 << 20

func granules(bytes int64) int64 { return (bytes + granule - 1) / granule * granule }

// allocate takes memory of all of the sizes, or none. It looks at what is free and allocates under one lock, so that two that fit one by one, but not
// together, do not both believe that they fit. Data sets that nobody uses make room. The error is engine.ErrMemoryInUse: whoever asks has made sure that
// an empty GPU has room.
func (g *gpu) allocate(sizes ...int64) (at []driver.Pointer, err error) {
	needs := int64(0)
	for _, n := range sizes {
		needs += granules(n)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		room, err := g.room()
		if err != nil {
			return nil, err
		}
		if needs <= room {
			break
		}
		if !g.evict() {
			return nil, g.inUse(needs, room, nil)
		}
	}
	for _, n := range sizes {
		p, err := g.context.Alloc(n)
		for errors.Is(err, driver.ErrOutOfMemory) && g.evict() { // the free memory is in pieces, or another program was faster
			p, err = g.context.Alloc(n)
		}
		if err != nil {
			for i, p := range at {
				err = errors.Join(err, g.context.Free(p))
				g.held -= granules(sizes[i])
			}
			if errors.Is(err, driver.ErrOutOfMemory) {
				room, _ := g.room()
				err = g.inUse(needs, room, err)
			}
			return nil, err
		}
		at = append(at, p)
		g.held += granules(n)
	}
	return at, nil
}

func (g *gpu) inUse(needs, room int64, cause error) error {
	err := fmt.Errorf("cuda: %w: needs %d MiB, %d of %d MiB are free, %d MiB are held by other trainings of this process; fewer at a time, or a smaller batch, "+
		"need less", engine.ErrMemoryInUse, ceilMiB(needs), max(0, room)>>20, g.usable()>>20, g.held>>20)
	if cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

func ceilMiB(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

// free gives memory back that allocate took, with the same sizes. Nothing may be under way that uses it.
func (g *gpu) free(at []driver.Pointer, sizes ...int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for i, p := range at {
		errs = append(errs, g.context.Free(p))
		g.held -= granules(sizes[i])
	}
	return errors.Join(errs...)
}
