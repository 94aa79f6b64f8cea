//go:build linux && cgo

package cuda

import (
	"fmt"

	"netmend/cuda/driver"
	"netmend/cuda/kernels"
)

// load loads all kernels: machine code where there is some for the GPU, else PTX, which the driver compiles at the first time.
func (d *device) load() error {
	target, err := kernels.Target(d.info.Compute)
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	modules := make(map[string]*driver.Module)
	for name, k := range kernels.Compiled().Kernels {
		m := modules[k.Module]
		if m == nil {
			image, err := kernels.Image(k.Module, target)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			if m, err = d.context.Load(image); err != nil {
				return fmt.Errorf("cuda: module %q: %w", k.Module, err)
			}
			modules[k.Module] = m
			d.modules = append(d.modules, m)
		}
		if d.kernels[name], err = m.Function(name); err != nil {
			return err
		}
	}
	// A block of a recurrent layer keeps its states in shared memory, of which a launch gets 48 KiB unless it is allowed more.
	for _, name := range []string{"recurrent_1", "recurrent_4", "recurrent_grad_1", "recurrent_grad_4"} {
		f := d.kernel(name)
		if err := f.AllowShared(d.info.SharedPerBlockOptin - f.SharedBytes); err != nil {
			return err
		}
	}
	return nil
}
