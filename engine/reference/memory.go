package reference

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"netmend/engine"
)

// checkMemory refuses a program that the machine has no memory for: Go cannot recover once an allocation has failed. It runs on
// every large tensor before the plan is made, and on the plan.
func checkMemory(need float64, what string) error {
	if free, ok := availableMemory(); ok && need > free {
		return fmt.Errorf("reference: %s wants %.0f MiB, %.0f MiB are free: %w", what, need/(1<<20), free/(1<<20), engine.ErrMemory)
	}
	if need >= 1<<47 { // the address space of a process on amd64 and arm64
		return fmt.Errorf("reference: %s wants %.3g bytes: %w", what, need, engine.ErrMemory)
	}
	return nil
}

// checkTensors looks at every tensor by itself; bytes are counted in float64, as a product of dimensions may exceed an int.
func (e *executable[T]) checkTensors() error {
	for i := range e.p.Tensors {
		t := &e.p.Tensors[i]
		bytes := float64(unsafe.Sizeof(T(0)))
		for _, d := range t.Shape {
			bytes *= float64(d)
		}
		if bytes < 1<<20 { // small: do not ask the system
			continue
		}
		if err := checkMemory(bytes, fmt.Sprintf("%v tensor %q of shape %v", t.Role, t.Name, t.Shape)); err != nil {
			return err
		}
	}
	return nil
}

// checkPlan looks at all buffers together.
func (e *executable[T]) checkPlan(root []engine.TensorID, slabOf []int, pool [2]slabs) error {
	size := [2]float64{engine.Float: float64(unsafe.Sizeof(T(0))), engine.Int: 4}
	bytes := 0.0
	for kind := range pool {
		for _, n := range pool[kind].size {
			bytes += size[kind] * float64(n)
		}
	}
	for i := range e.p.Tensors {
		if t := &e.p.Tensors[i]; root[i] == engine.TensorID(i) && slabOf[i] < 0 && t.Role != engine.Temp {
			bytes += size[t.Type] * float64(t.Len())
		}
	}
	if bytes < 1<<20 {
		return nil
	}
	return checkMemory(bytes, "the program")
}

// availableMemory is what Linux says may be had without swapping, and what the control group leaves; not ok elsewhere.
func availableMemory() (bytes float64, ok bool) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(raw)) {
		if rest, found := strings.CutPrefix(line, "MemAvailable:"); found {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			bytes, ok = kib*1024, err == nil
		}
	}
	limit, err1 := readNumber("/sys/fs/cgroup/memory.max")
	used, err2 := readNumber("/sys/fs/cgroup/memory.current")
	if ok && err1 == nil && err2 == nil {
		bytes = min(bytes, max(0, limit-used))
	}
	return bytes, ok
}

func readNumber(path string) (float64, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(raw)), 64) // "max" is an error: no limit
}
