//go:build linux && cgo

package cuda_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"netmend/cuda"
	"netmend/cuda/emulator"
	"netmend/engine"
)

// openPool makes a pool: on the emulator with its settings, or of all GPUs of the machine.
func openPool(t *testing.T, settings string, indices ...int) engine.Device {
	t.Helper()
	if !*gpu {
		emulator.Use(t, settings)
	}
	pool, err := cuda.NewPool(indices, cuda.Options{})
	if *gpu && err != nil && strings.Contains(err.Error(), "are not alike") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return pool
}

func place(t *testing.T, e engine.Executable) string {
	t.Helper()
	p, ok := e.(engine.Placed)
	if !ok {
		t.Fatalf("an executable of a pool (%T) does not say where it lies", e)
	}
	return p.Place()
}

// TestPool: executables are spread evenly, and give the same bits wherever they are.
func TestPool(t *testing.T) {
	pool := openPool(t, "devices=3")
	single, err := cuda.New(cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer single.Close()
	if pool.Name() == single.Name() && !*gpu || engine.DeviceModel(pool.Name()) != engine.DeviceModel(single.Name()) {
		t.Errorf("the pool is %q, its first GPU %q", pool.Name(), single.Name())
	}
	if want := "cuda:0,1,2 (netmend emulator, 7.5, 2 multiprocessors, driver 12.4)"; !*gpu && pool.Name() != want {
		t.Errorf("name %q, want %q", pool.Name(), want)
	}
	outputs, state := train(t, compile(t, single), 20)
	places := make(map[string]int)
	var first engine.Executable
	for i := range 6 {
		e := compile(t, pool)
		if places[place(t, e)]++; i == 0 {
			first = e
		}
		o, s := train(t, e, 20)
		if !slices.Equal(o[0], outputs[0]) || !slices.Equal(s, state) {
			t.Errorf("executable %d on %s gives other bits", i, place(t, e))
		}
	}
	for name, n := range places {
		if n != 6/len(places) || len(places) != 3 && !*gpu {
			t.Errorf("%d executables on %s of %v", n, name, places)
		}
	}
	if len(places) == 1 {
		return
	}
	freed := place(t, first)
	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	if p := place(t, compile(t, pool)); p != freed {
		t.Errorf("the next executable is on %s, where there is one more than on %s", p, freed)
	}
}

func TestPoolRefuses(t *testing.T) {
	emulated(t)
	emulator.Use(t, "devices=4,others=1")
	for _, c := range []struct {
		indices []int
		want    string
	}{
		{nil, "the GPUs 0,1,2,3 are not alike and would not give the same bits; use one of cuda:0,1,2 (netmend emulator, 7.5, 2 multiprocessors, driver 12.4), " +
			"cuda:3 (netmend emulator II, 7.5, 3 multiprocessors, driver 12.4)"},
		{[]int{1, 3}, "use one of cuda:1 (netmend emulator, 7.5, 2"},
		{[]int{1, 2, 1}, "device 1 is named twice"},
		{[]int{1, 4}, "there is no device 4: the driver counts 4"},
		{[]int{-1}, "there is no device -1"},
	} {
		if pool, err := cuda.NewPool(c.indices, cuda.Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			if err == nil {
				pool.Close()
			}
			t.Errorf("%v: error %v, want %q", c.indices, err, c.want)
		}
	}
	pool := openPool(t, "devices=4,others=1", 2, 0)
	if !strings.HasPrefix(pool.Name(), "cuda:2,0 (") {
		t.Errorf("name %q", pool.Name())
	}
}

// TestPoolMemory: what does not fit on one GPU goes to another, and is refused where none has room.
func TestPoolMemory(t *testing.T) {
	emulated(t)
	pool := openPool(t, "devices=2,memory=268435456")
	alone, err := cuda.New(cuda.Options{Index: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	other, err := alone.Compile(block(200))
	if err != nil {
		t.Fatal(err)
	}
	var list []engine.Executable
	for i := range 2 { // the second would go to the other GPU, if it had room
		e, err := pool.Compile(block(100))
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if list = append(list, e); !strings.HasPrefix(place(t, e), "cuda:0 ") {
			t.Errorf("executable %d is on %s", i, place(t, e))
		}
	}
	if _, err := pool.Compile(block(100)); !errors.Is(err, engine.ErrMemoryInUse) {
		t.Errorf("both GPUs are full: error %v", err)
	}
	if _, err := pool.Compile(block(400)); !errors.Is(err, engine.ErrMemory) || errors.Is(err, engine.ErrMemoryInUse) {
		t.Errorf("larger than a GPU: error %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := pool.Compile(block(100))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !strings.HasPrefix(place(t, e), "cuda:1 ") {
		t.Errorf("the third executable is on %s beside two", place(t, e))
	}
	if err := list[0].Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPoolLosesGPUs: what lies on a lost GPU says so, the others go on, and when none is left that is said too.
func TestPoolLosesGPUs(t *testing.T) {
	emulated(t)
	pool := openPool(t, "devices=2")
	e := compile(t, pool)
	outputs, _ := train(t, e, 10)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	one, two := compile(t, pool), compile(t, pool)
	if place(t, one) == place(t, two) {
		t.Fatalf("both are on %s", place(t, one))
	}
	lose := func(e engine.Executable) error {
		device := int64(0)
		if strings.HasPrefix(place(t, e), "cuda:1") {
			device = 1
		}
		emulator.Set(t, "lost_code", 214)
		emulator.Set(t, "lost_device", device)
		emulator.Set(t, "lost_launch", 30)
		_, load, coefs := network(t)
		for id, v := range load {
			if err := e.Load(id, v); err != nil {
				return err
			}
		}
		s := engine.Schedule{Rows: make([]int32, 4*netBatch), Feeds: map[engine.TensorID][]float64{coefs: slices.Repeat([]float64{1, 0, 0, 1, 0}, 4)}}
		_, err := e.Run(t.Context(), s)
		return err
	}
	err := lose(one)
	if !errors.Is(err, engine.ErrDeviceLost) || errors.Is(err, engine.ErrMemory) || !strings.Contains(err.Error(), "device lost") ||
		!strings.Contains(err.Error(), "ECC_UNCORRECTABLE") || !strings.HasPrefix(err.Error(), strings.Split(place(t, one), " ")[0]) {
		t.Fatalf("error %v", err)
	}
	if err := one.Fetch(2, make([]float32, 1)); err == nil {
		t.Error("a lost GPU is read")
	}
	if o, _ := train(t, two, 10); !slices.Equal(o[0], outputs[0]) {
		t.Error("what is left gives other bits")
	}
	for range 3 {
		if e := compile(t, pool); place(t, e) != place(t, two) {
			t.Errorf("an executable is on %s", place(t, e))
		}
	}
	if dev, err := cuda.New(cuda.Options{Index: 0}); !errors.Is(err, engine.ErrDeviceLost) && place(t, one)[5] == '0' {
		t.Errorf("a lost GPU is opened (%v): error %v", dev, err)
	}
	if err := lose(two); !errors.Is(err, engine.ErrDeviceLost) {
		t.Fatalf("error %v", err)
	}
	p, _, _ := network(t)
	if _, err := pool.Compile(p); !errors.Is(err, engine.ErrDeviceLost) || !strings.Contains(err.Error(), "no GPU is left") ||
		!strings.Contains(err.Error(), "cuda:0: ") || !strings.Contains(err.Error(), "cuda:1: ") {
		t.Errorf("error %v", err)
	}
}

// TestLostGPUComesBack: when everything that was open on it is closed, a process may open it again.
func TestLostGPUComesBack(t *testing.T) {
	emulated(t)
	dev := open(t, cuda.Options{}, "")
	e := compile(t, dev)
	outputs, _ := train(t, e, 3)
	emulator.Set(t, "lost_launch", 1)
	_, load, coefs := network(t)
	for id, v := range load {
		if err := e.Load(id, v); err != nil {
			t.Fatal(err)
		}
	}
	s := engine.Schedule{Rows: make([]int32, netBatch), Feeds: map[engine.TensorID][]float64{coefs: {1, 0, 0, 1, 0}}}
	if _, err := e.Run(t.Context(), s); !errors.Is(err, engine.ErrDeviceLost) {
		t.Fatalf("error %v", err)
	}
	e.Close()
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, cuda.Options{}, "")
	if o, _ := train(t, compile(t, again), 3); !slices.Equal(o[0], outputs[0]) {
		t.Error("it gives other bits")
	}
}
