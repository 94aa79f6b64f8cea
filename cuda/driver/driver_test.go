//go:build linux && cgo

package driver_test

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"netmend/cuda/driver"
	"netmend/cuda/emulator"
	"netmend/cuda/kernels"
)

// rig is a context with a stream and the test kernels.
type rig struct {
	testing.TB
	*driver.Context
	stream *driver.Stream
	module *driver.Module
}

const probe = "testdata/probe.cu"

// probePTX is probe.cu for a GPU (scripts/kernels.py).
//
//go:embed testdata/probe.ptx
var probePTX []byte

var gpu = flag.Bool("driver.gpu", false, "run the tests that a GPU can run on the machine's, instead of the emulator")

// newRig opens device 0, of the emulator with settings.
func newRig(t testing.TB, settings string) *rig {
	t.Helper()
	if !*gpu {
		emulator.Use(t, settings, probe)
	}
	return openRig(t, 0)
}

// TestProbeIsOfTheSource: whoever changes probe.cu and forgets make kernels hears of it.
func TestProbeIsOfTheSource(t *testing.T) {
	source, err := os.ReadFile(probe)
	if err != nil {
		t.Skip(err) // on another machine
	}
	common, err := kernels.Sources.ReadFile("common.cuh")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("// of sources with SHA-256 %x\n", sha256.Sum256(slices.Concat(source, common))); !strings.HasPrefix(string(probePTX), want) {
		t.Errorf("probe.ptx does not begin with %q: run make kernels", want)
	}
}

// emulated skips a test of what only the emulator does, or can be told to do.
func emulated(t *testing.T) {
	t.Helper()
	if *gpu {
		t.Skip("for the emulator alone")
	}
}

func openRig(t testing.TB, index int) *rig {
	t.Helper()
	drv, err := driver.Open()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{TB: t}
	dev, err := drv.Device(index)
	r.ok(err)
	r.Context, err = dev.Context()
	r.ok(err)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	r.stream, err = r.NewStream()
	r.ok(err)
	r.module, err = r.Load(probePTX)
	r.ok(err)
	return r
}

func (r *rig) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) function(name string) *driver.Function {
	r.Helper()
	f, err := r.module.Function(name)
	r.ok(err)
	return f
}

func (r *rig) alloc(bytes int) driver.Pointer {
	r.Helper()
	p, err := r.Alloc(int64(bytes))
	r.ok(err)
	return p
}

func (r *rig) launch(name string, grid, block driver.Dim, shared int, params ...any) {
	r.Helper()
	r.ok(r.stream.Launch(r.function(name), grid, block, shared, params...))
}

// download reads n values back.
func download[T driver.Number](r *rig, p driver.Pointer, n int) []T {
	r.Helper()
	s := make([]T, n)
	r.ok(r.stream.Download(driver.Bytes(s), p))
	return s
}

func (r *rig) upload(s []float32) driver.Pointer {
	r.Helper()
	p := r.alloc(4 * len(s))
	r.ok(r.stream.Upload(p, driver.Bytes(s)))
	return p
}

// ramp is first, first+1, …
func ramp(first float32, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = first + float32(i)
	}
	return s
}

func line(n int) driver.Dim { return driver.Dim{X: n} }

func TestOpenSaysWhy(t *testing.T) {
	emulated(t)
	path := emulator.Build(t, probe)
	empty := filepath.Join("testdata", "probe.cu") // no library at all
	another, why := driver.ErrOldDriver, "libm.so.6 has no function cuInit"
	if driver.ViaCu {
		another, why = driver.ErrNoLibrary, "libm.so.6 is not the library that this build"
	}
	for _, c := range []struct {
		name, path, settings string
		class                error
		text                 string
	}{
		{"off", "off", "", driver.ErrNoLibrary, `NETMEND_LIBCUDA is "off"`},
		{"missing", "/nonexistent/libcuda.so.1", "", driver.ErrNoLibrary, "/nonexistent/libcuda.so.1"},
		{"no library", empty, "", driver.ErrNoLibrary, empty},
		{"another library", "libm.so.6", "", another, why},
		{"no device", path, "devices=0", driver.ErrNoDevice, "CUDA_ERROR_NO_DEVICE"},
		{"kernel module", path, "init=999", driver.ErrNoDevice, "cuInit: CUDA_ERROR_UNKNOWN (unknown error)"},
		{"mismatch", path, "init=803", driver.ErrNoDevice, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"},
		{"unknown result", path, "init=12345", driver.ErrNoDevice, "CUresult 12345"},
		{"old", path, "version=11080", driver.ErrOldDriver, "it knows CUDA 11.8, netmend needs 12.0 or newer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("NETMEND_LIBCUDA", c.path)
			t.Setenv("NETMEND_EMULATOR", c.settings)
			_, err := driver.Open()
			if !errors.Is(err, c.class) || !strings.Contains(fmt.Sprint(err), c.text) {
				t.Errorf("%v: wants %v with %q", err, c.class, c.text)
			}
		})
	}
}

func TestDevices(t *testing.T) {
	emulated(t)
	emulator.Use(t, "devices=3,memory=1073741824,compute=90,version=12020", probe)
	drv, err := driver.Open()
	if err != nil {
		t.Fatal(err)
	}
	infos, err := drv.Devices()
	if err != nil || len(infos) != 3 {
		t.Fatalf("%v, %v", infos, err)
	}
	if got, want := infos[2].String(), "netmend emulator (compute 9.0, 2 multiprocessors, 1.0 GiB, driver CUDA 12.2)"; got != want || infos[2].Index != 2 {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := drv.Device(3); err == nil || !strings.Contains(err.Error(), "no device 3: the driver counts 3") {
		t.Errorf("device 3: %v", err)
	}
}

func TestCopies(t *testing.T) {
	r := newRig(t, "")
	want := ramp(1, 1000)
	a, b := r.upload(want), r.alloc(4000)
	r.ok(r.stream.Copy(b, a, 4000))
	r.ok(r.stream.Fill32(b+40, math.Float32bits(7), 2))
	r.ok(r.stream.Fill(b+48, 0, 4))
	got := download[float32](r, b, 1000)
	want[10], want[11], want[12] = 7, 7, 0
	if !slices.Equal(got, want) {
		t.Errorf("got %v…", got[:16])
	}

	h, err := r.AllocHost(4096)
	r.ok(err)
	r.ok(r.stream.DownloadAsync(h, 96, b, 4000))
	r.ok(r.stream.Synchronize())
	if !slices.Equal(h.Floats()[24:1024], want) {
		t.Error("a copy to page-locked memory differs")
	}
	h.Floats()[30] = -3
	r.ok(r.stream.UploadAsync(a, h, 96, 4000))
	if got := download[float32](r, a, 1000); got[6] != -3 {
		t.Errorf("a copy from page-locked memory brought %v", got[6])
	}
	if err := r.stream.UploadAsync(a, h, 100, 4000); err == nil {
		t.Error("a copy from beyond page-locked memory is not refused")
	}
	r.ok(h.Close())
	r.ok(h.Close())
}

// TestUninitialisedIsNaN: what a program forgets to write shows.
func TestUninitialisedIsNaN(t *testing.T) {
	emulated(t)
	r := newRig(t, "")
	for _, v := range download[float32](r, r.alloc(400), 100) {
		if v == v {
			t.Fatalf("fresh memory holds %v", v)
		}
	}
	out := r.alloc(8)
	r.launch("probe_unset_shared", line(1), line(1), 16, out)
	for i, v := range download[float32](r, out, 2) {
		if v == v {
			t.Errorf("shared memory %d holds %v", i, v)
		}
	}
}

func TestWorkIsDoneLate(t *testing.T) {
	emulated(t)
	r := newRig(t, "")
	h, err := r.AllocHost(4)
	r.ok(err)
	h.Ints()[0] = 1
	r.ok(r.stream.DownloadAsync(h, 0, r.upload([]float32{2}), 4))
	if h.Ints()[0] != 1 {
		t.Error("a copy was done before anyone waited")
	}
	if idle, err := r.stream.Idle(); idle || err != nil {
		t.Errorf("idle %v, %v", idle, err)
	}
	r.ok(r.stream.Synchronize())
	if idle, err := r.stream.Idle(); !idle || err != nil || h.Floats()[0] != 2 {
		t.Errorf("idle %v, %v, %v", idle, err, h.Floats()[0])
	}
}

func TestLaunch(t *testing.T) {
	r := newRig(t, "")
	t.Run("places", func(t *testing.T) {
		const n = 5 * 4 * 3 * 33 * 3 * 2
		out := r.alloc(8 * n)
		r.launch("probe_places", driver.Dim{X: 5, Y: 4, Z: 3}, driver.Dim{X: 33, Y: 3, Z: 2}, 0, out)
		got := download[uint64](r, out, n)
		i := 0
		for bz := range uint64(3) {
			for by := range uint64(4) {
				for bx := range uint64(5) {
					for tz := range uint64(2) {
						for ty := range uint64(3) {
							for tx := range uint64(33) {
								if want := bx<<50 | by<<40 | bz<<30 | tx<<20 | ty<<10 | tz; got[i] != want {
									t.Fatalf("%d: %x, want %x", i, got[i], want)
								}
								i++
							}
						}
					}
				}
			}
		}
	})
	t.Run("struct", func(t *testing.T) {
		type shape struct {
			Rank  int32
			Size  [4]int64
			Scale float32
			Flags [3]uint8
		}
		out := r.alloc(8)
		r.launch("probe_struct", line(1), line(1), 0, out, uint8(1), shape{2, [4]int64{0, 0, 0, 3}, 4, [3]uint8{0, 0, 5}}, int16(6))
		if got := download[float64](r, out, 1)[0]; got != 605040321 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("sum", func(t *testing.T) {
		const blocks = 100
		out := r.alloc(4 * blocks)
		r.launch("probe_sum", line(blocks), line(256), 32, out, r.upload(ramp(0, 256*blocks)))
		for i, v := range download[float32](r, out, blocks) {
			if want := float32(256*256*i + 255*128); v != want {
				t.Fatalf("block %d: %v, want %v", i, v, want)
			}
		}
	})
	t.Run("warp", func(t *testing.T) {
		out := r.alloc(4 * 8 * 64)
		r.launch("probe_warp", line(1), line(64), 0, out)
		got := download[int32](r, out, 8*64)
		for i := range 64 {
			lane := int32(i % 32)
			want := []int32{15, lane - 2, lane + 3, 0x49249249, lane ^ 15, lane ^ 1, 1, 0}
			if lane < 2 {
				want[1] = lane
			}
			if lane > 28 {
				want[2] = lane
			}
			if lane >= 16 {
				want[4] = lane ^ 1
			}
			if !slices.Equal(got[8*i:8*i+8], want) {
				t.Errorf("thread %d: %v, want %v", i, got[8*i:8*i+8], want)
			}
		}
	})
	t.Run("arithmetic", func(t *testing.T) {
		out := r.alloc(16)
		a := float32(1 + 0x1p-23)
		r.launch("probe_arithmetic", line(1), line(1), 0, out, a)
		if got := download[float32](r, out, 4); !slices.Equal(got, []float32{0, 0x1p-46, a, a}) {
			t.Errorf("got %v", got)
		}
	})
	t.Run("atomics", func(t *testing.T) {
		out := r.alloc(8)
		r.ok(r.stream.Fill(out, 0, 8))
		r.launch("probe_count", line(77), line(1000), 0, out, out+4)
		if got := download[int32](r, out, 2); !slices.Equal(got, []int32{77000, 76999}) {
			t.Errorf("got %v", got)
		}
	})
}

// TestReverse: a missing barrier shows when threads run in the other order, and correct kernels give the same bits.
func TestReverse(t *testing.T) {
	emulated(t)
	r := newRig(t, "")
	race, sum, in := r.alloc(4*64), r.alloc(4*9), r.upload(ramp(0.3, 256*9))
	run := func(reverse, threads int64) ([]int32, []float32) {
		emulator.Set(t, "reverse", reverse)
		emulator.Set(t, "threads", threads)
		r.launch("probe_race", line(1), line(64), 0, race)
		r.launch("probe_sum", line(9), line(256), 32, sum, in)
		return download[int32](r, race, 64), download[float32](r, sum, 9)
	}
	race0, sum0 := run(0, 1)
	race1, sum1 := run(1, 1)
	_, sum2 := run(0, 5)
	if slices.Equal(race0, race1) {
		t.Error("a race gives the same in both orders")
	}
	if !slices.Equal(sum0, sum1) || !slices.Equal(sum0, sum2) {
		t.Errorf("a sum depends on the order: %v, %v, %v", sum0, sum1, sum2)
	}
}

func TestLaunchesThatAreRefused(t *testing.T) {
	emulated(t)
	r := newRig(t, "")
	p := r.alloc(4096)
	sum, places := r.function("probe_sum"), r.function("probe_places")
	freed, host := r.alloc(4096), make([]float32, 256)
	r.ok(r.Free(freed))
	for name, err := range map[string]error{
		"empty grid":          r.stream.Launch(places, line(0), line(1), 0, p),
		"empty block":         r.stream.Launch(places, line(1), line(0), 0, p),
		"grid y":              r.stream.Launch(places, driver.Dim{X: 1, Y: 65536}, line(1), 0, p),
		"grid z":              r.stream.Launch(places, driver.Dim{X: 1, Z: 65536}, line(1), 0, p),
		"block":               r.stream.Launch(places, line(1), line(1025), 0, p),
		"block z":             r.stream.Launch(places, line(1), driver.Dim{X: 1, Z: 65}, 0, p),
		"block of 3 axes":     r.stream.Launch(places, line(1), driver.Dim{X: 32, Y: 32, Z: 2}, 0, p),
		"launch bounds":       r.stream.Launch(sum, line(1), line(512), 32, p, p),
		"shared":              r.stream.Launch(sum, line(1), line(256), 48<<10+1, p, p),
		"too few parameters":  r.stream.Launch(sum, line(1), line(256), 32, p),
		"size of parameter":   r.stream.Launch(sum, line(1), line(256), 32, p, int32(0)),
		"kind of parameter":   r.stream.Launch(sum, line(1), line(256), 32, p, 0),
		"a pointer of Go":     r.stream.Launch(sum, line(1), line(256), 32, p, &p),
		"a number as pointer": r.stream.Launch(sum, line(1), line(256), 32, p, int64(5)),
		"freed pointer":       r.stream.Launch(sum, line(1), line(256), 32, p, freed),
		"host's pointer":      r.stream.Launch(sum, line(1), line(256), 32, p, driver.Pointer(uintptr(unsafe.Pointer(&host[0])))),
		"too much shared":     sum.AllowShared(64<<10 + 1),
		"copy past the end":   r.stream.Copy(p, r.alloc(4096)+4, 4096),
		"overlapping copy":    r.stream.Copy(p, p+4, 1024),
		"odd fill":            r.stream.Fill32(p+2, 0, 1),
		"fill past the end":   r.stream.Fill(p+4, 0, 4096),
		"free of an inside":   r.Free(p + 4),
		"negative":            func() error { _, err := r.Alloc(-1); return err }(),
	} {
		if err == nil {
			t.Errorf("%s: not refused", name)
		} else if errors.Is(err, driver.ErrLost) || errors.Is(err, driver.ErrOutOfMemory) {
			t.Errorf("%s: %v is of a wrong class", name, err)
		}
	}
	r.ok(sum.AllowShared(64 << 10))
	r.ok(r.stream.Launch(sum, line(1), line(256), 64<<10, p, p+1024))
	r.ok(r.stream.Synchronize())
	if n, err := sum.Occupancy(256, 40<<10); n != 1 || err != nil {
		t.Errorf("occupancy %d, %v", n, err)
	}
	r.ok(r.Free(p))
	if err := r.Free(p); err == nil {
		t.Error("memory is freed twice")
	}
	if _, err := r.module.Function("nothing"); err == nil || !strings.Contains(err.Error(), `kernel "nothing": cuda: cuModuleGetFunction: CUDA_ERROR_NOT_FOUND`) {
		t.Errorf("a kernel that is not there: %v", err)
	}
	if _, err := r.Load([]byte("int main() {}")); err == nil || !strings.Contains(err.Error(), "neither PTX nor a cubin") {
		t.Errorf("a module of nonsense: %v", err)
	}
}

// TestLost: errors of the work end the context, and nothing else.
func TestLost(t *testing.T) {
	emulated(t)
	r0 := newRig(t, "") // keeps no context of the subtests' alive
	r0.ok(r0.Close())
	for _, c := range []struct {
		kernel string
		code   string
		run    func(r *rig, p driver.Pointer) error
	}{
		{"probe_write_at", "ILLEGAL_ADDRESS", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_write_at"), line(1), line(1), 0, p, int64(1<<30))
		}},
		{"after the end", "ILLEGAL_ADDRESS", func(r *rig, p driver.Pointer) error { // within the last page: found by what it overwrote
			return r.stream.Launch(r.function("probe_write_at"), line(1), line(1), 0, p, int64(26))
		}},
		{"before the start", "ILLEGAL_ADDRESS", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_write_at"), line(1), line(1), 0, p, int64(-1))
		}},
		{"freed", "ILLEGAL_ADDRESS", func(r *rig, p driver.Pointer) error {
			r.ok(r.stream.Launch(r.function("probe_write_at"), line(1), line(1), 0, p, int64(0)))
			return r.Free(p)
		}},
		{"null", "ILLEGAL_ADDRESS", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_write_at"), line(1), line(1), 0, driver.Pointer(0), int64(0))
		}},
		{"early exit", "LAUNCH_FAILED", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_early_exit"), line(1), line(64), 0, p)
		}},
		{"divergent warp", "LAUNCH_FAILED", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_divergent_warp"), line(1), line(64), 0, p)
		}},
		{"outside mask", "LAUNCH_FAILED", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_outside_mask"), line(1), line(32), 0, p)
		}},
		{"index", "LAUNCH_FAILED", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_index"), line(1), line(1), 0, p, int32(8))
		}},
		{"dynamic shared", "ILLEGAL_ADDRESS", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_sum"), line(1), line(256), 16, p, p)
		}},
		{"misaligned", "LAUNCH_FAILED", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_misaligned"), line(1), line(1), 0, p, p+20)
		}},
		{"division", "LAUNCH_FAILED", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_divide"), line(1), line(1), 0, p, int32(0))
		}},
		{"assert", "LAUNCH_FAILED", func(r *rig, p driver.Pointer) error {
			return r.stream.Launch(r.function("probe_assert"), line(1), line(1), 0, int32(0))
		}},
		{"injected", "ECC_UNCORRECTABLE", func(r *rig, p driver.Pointer) error {
			emulator.Set(r.TB, "lost_launch", 2)
			emulator.Set(r.TB, "lost_code", 214)
			for range 2 {
				r.ok(r.stream.Launch(r.function("probe_assert"), line(1), line(1), 0, int32(1)))
			}
			return nil
		}},
	} {
		t.Run(c.kernel, func(t *testing.T) {
			drv, err := driver.Open()
			if err != nil {
				t.Fatal(err)
			}
			r := &rig{TB: t}
			dev, err := drv.Device(0)
			r.ok(err)
			r.Context, err = dev.Context()
			r.ok(err)
			defer func() { r.ok(r.Close()) }() // which gives the next subtest a new context
			r.stream, err = r.NewStream()
			r.ok(err)
			r.module, err = r.Load([]byte("//"))
			r.ok(err)
			p := r.alloc(100)
			r.ok(c.run(r, p))
			err = r.stream.Synchronize()
			if !errors.Is(err, driver.ErrLost) || !strings.Contains(fmt.Sprint(err), "CUDA_ERROR_"+c.code) {
				t.Fatalf("%v: wants %s, which loses the context", err, c.code)
			}
			if _, err := r.Alloc(4); !errors.Is(err, driver.ErrLost) {
				t.Errorf("the context is usable afterwards: %v", err)
			}
		})
	}
}

// TestGoStillPanics: the emulator's signal handler leaves Go's faults to Go.
func TestGoStillPanics(t *testing.T) {
	emulated(t)
	r := newRig(t, "")
	r.launch("probe_assert", line(1), line(1), 0, int32(1))
	r.ok(r.stream.Synchronize())
	defer func() {
		if recover() == nil {
			t.Error("a nil pointer was followed")
		}
	}()
	var p *rig
	p.module = nil
}

func TestTooMuchMemory(t *testing.T) {
	r := newRig(t, "")
	if _, err := r.Alloc(1 << 50); !errors.Is(err, driver.ErrOutOfMemory) {
		t.Errorf("2^50 bytes: %v", err)
	}
	r.ok(r.Free(r.alloc(1)))
}

func TestOutOfMemory(t *testing.T) {
	emulated(t)
	r := newRig(t, "memory=10000")
	p := r.alloc(6000)
	if _, err := r.Alloc(6000); !errors.Is(err, driver.ErrOutOfMemory) || !strings.Contains(fmt.Sprint(err), "cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY (out of memory)") {
		t.Errorf("%v", err)
	}
	free, total, err := r.Memory()
	if free != 4000 || total != 10000 || err != nil {
		t.Errorf("%d of %d, %v", free, total, err)
	}
	r.ok(r.Free(p))
	emulator.Set(t, "fail_alloc", 2)
	r.ok(r.Free(r.alloc(6000)))
	if _, err := r.Alloc(1); !errors.Is(err, driver.ErrOutOfMemory) {
		t.Errorf("the second allocation: %v", err)
	}
	r.ok(r.Free(r.alloc(6000)))
	if n := emulator.Get(t, "allocations"); n != 0 {
		t.Errorf("%d allocations are left", n)
	}
	if p, err := r.Alloc(0); p != 0 || err != nil {
		t.Errorf("no bytes: %v, %v", p, err)
	}
}

// TestGraph: a captured step gives what its parts give, as often as it is launched, and reads its host memory anew.
func TestGraph(t *testing.T) {
	r := newRig(t, "")
	const n = 1000
	a, b := r.alloc(4*n), r.alloc(4*n)
	h, err := r.AllocHost(4 * n)
	r.ok(err)
	var batch driver.Batch
	twice := r.function("probe_twice")
	r.ok(batch.Add(twice, line(4), line(256), 0, b, a, int32(n)))
	r.ok(batch.Add(twice, line(4), line(256), 0, a, b, int32(n)))
	r.ok(batch.Add(twice, line(4), line(256), 0, b, a, int32(n)))
	step := func() error {
		if err := r.stream.UploadAsync(a, h, 0, 4*n); err != nil {
			return err
		}
		if err := r.stream.Run(&batch); err != nil {
			return err
		}
		return r.stream.Fill32(b, math.Float32bits(-1), 1)
	}
	copy(h.Floats(), ramp(0.7, n))
	r.ok(step())
	direct := download[float32](r, b, n)
	if direct[0] != -1 || direct[1] != 8*float32(1.7) {
		t.Fatalf("the step itself gives %v", direct[:3])
	}

	r.ok(r.stream.Fill(b, 0, 4*n))
	g, err := r.stream.Capture(step)
	r.ok(err)
	if g.Nodes() != 5 {
		t.Errorf("%d nodes", g.Nodes())
	}
	if got := download[float32](r, b, n); slices.Max(got) != 0 {
		t.Error("a captured step ran")
	}
	r.ok(g.Launch(r.stream, 3))
	if got := download[float32](r, b, n); !slices.Equal(got, direct) {
		t.Error("the graph gives something else than its parts")
	}
	copy(h.Floats(), ramp(5, n))
	r.ok(g.Launch(r.stream, 1))
	if got := download[float32](r, b, n); got[1] != 48 {
		t.Errorf("the graph did not read the host's memory again: %v", got[1])
	}
	r.ok(g.Close())
	r.ok(g.Close())

	// What cannot be captured fails the capture, and leaves a stream that works.
	want := errors.New("no")
	for name, record := range map[string]func() error{
		"an error":      func() error { return want },
		"a wait":        func() error { return r.stream.Synchronize() },
		"a hidden wait": func() error { r.stream.Synchronize(); return nil },
		"pageable":      func() error { return r.stream.Upload(a, make([]byte, 4)) },
	} {
		if g, err := r.stream.Capture(record); err == nil {
			t.Errorf("%s was captured: %v", name, g)
		}
		r.ok(r.stream.Synchronize())
	}
	func() {
		defer func() { recover() }()
		r.stream.Capture(func() error { panic("in the middle") })
	}()
	r.ok(r.stream.Synchronize())
}

func TestEvents(t *testing.T) {
	r := newRig(t, "")
	other, err := r.NewStream()
	r.ok(err)
	const n = 256
	a, b, c := r.upload(ramp(1, n)), r.alloc(4*n), r.alloc(4*n)
	start, err := r.NewEvent(true)
	r.ok(err)
	end, err := r.NewEvent(true)
	r.ok(err)
	if done, err := end.Done(); !done || err != nil {
		t.Errorf("an event without a record: %v, %v", done, err)
	}
	r.ok(start.Record(r.stream))
	r.launch("probe_twice", line(1), line(n), 0, b, a, int32(n))
	r.ok(end.Record(r.stream))
	// The other stream alone is waited for: it must bring the first one with it.
	r.ok(other.Wait(end))
	r.ok(other.Launch(r.function("probe_twice"), line(1), line(n), 0, c, b, int32(n)))
	got := make([]float32, n)
	r.ok(other.Download(driver.Bytes(got), c))
	if got[0] != 4 || got[n-1] != 4*n {
		t.Errorf("got %v … %v", got[0], got[n-1])
	}
	if done, err := end.Done(); !done || err != nil {
		t.Errorf("done %v, %v", done, err)
	}
	if d, err := end.Elapsed(start); d <= 0 || err != nil {
		t.Errorf("elapsed %v, %v", d, err)
	}

	// A fork and a join within a capture.
	work := func() error {
		return errors.Join(start.Record(r.stream), other.Wait(start), other.Launch(r.function("probe_twice"), line(1), line(n), 0, b, a, int32(n)))
	}
	g, err := r.stream.Capture(func() error { return errors.Join(work(), end.Record(other), r.stream.Wait(end)) })
	r.ok(err)
	r.ok(r.stream.Fill(b, 0, 4*n))
	r.ok(g.Launch(r.stream, 1))
	if got := download[float32](r, b, n); got[1] != 4 {
		t.Errorf("got %v", got[1])
	}
	if _, err := r.stream.Capture(work); err == nil || !strings.Contains(err.Error(), "UNJOINED") {
		t.Errorf("a fork without a join: %v", err)
	}
	r.ok(errors.Join(start.Close(), end.Close(), other.Close(), g.Close()))
}

// TestGoroutines: several goroutines on two devices and several streams, with graphs and direct launches.
func TestGoroutines(t *testing.T) {
	rigs := []*rig{newRig(t, "devices=2"), nil}
	if rigs[1] = rigs[0]; !*gpu {
		rigs[1] = openRig(t, 1)
	}
	var wait sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		r := rigs[i%2]
		wait.Go(func() { errs[i] = chain(r.Context, r.function("probe_twice"), float32(i)) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// chain doubles numbers ten times on a stream of its own, and compares.
func chain(x *driver.Context, twice *driver.Function, first float32) error {
	s, err := x.NewStream()
	if err != nil {
		return err
	}
	defer s.Close()
	const n = 3000
	var p [2]driver.Pointer
	for i := range p {
		if p[i], err = x.Alloc(4 * n); err != nil {
			return err
		}
		defer x.Free(p[i])
	}
	in := ramp(first, n)
	out := make([]float32, n)
	double := func() error {
		for i := range 10 {
			if err := s.Launch(twice, line(12), line(256), 0, p[1-i%2], p[i%2], int32(n)); err != nil {
				return err
			}
		}
		return nil
	}
	for round := range 20 {
		if err := s.Upload(p[0], driver.Bytes(in)); err != nil {
			return err
		}
		if round%2 == 0 {
			err = double()
		} else {
			var g *driver.Graph
			if g, err = s.Capture(double); err == nil {
				err = errors.Join(g.Launch(s, 1), s.Synchronize(), g.Close())
			}
		}
		if err = errors.Join(err, s.Download(driver.Bytes(out), p[0])); err != nil {
			return err
		}
		for i, v := range out {
			if v != 1024*in[i] {
				return fmt.Errorf("round %d, %d: %v, want %v", round, i, v, 1024*in[i])
			}
		}
	}
	return nil
}

func BenchmarkLaunch(b *testing.B) {
	r := newRig(b, "threads=1")
	in, out := r.upload(ramp(0, 256*256)), r.alloc(4*256*256)
	for _, k := range []struct {
		name   string
		params []any
	}{{"probe_twice", []any{out, in, int32(256 * 256)}}, {"probe_sum", []any{out, in}}} {
		b.Run(k.name, func(b *testing.B) {
			f := r.function(k.name)
			for b.Loop() {
				r.ok(r.stream.Launch(f, line(256), line(256), 32, k.params...))
				r.ok(r.stream.Synchronize())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(256*256), "ns/thread")
		})
	}
}
