//go:build linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"netmend/cuda/driver"
	"netmend/engine"
)

// pool is a device of several GPUs that give the same bits. An executable lies on one of them, where the fewest lie.
type pool struct {
	name    string
	members []*device
}

// placing is held while a pool chooses a GPU, so that two choices at the same time see each other: also of different pools.
var placing sync.Mutex

// NewPool makes a device of the GPUs of those indices, of all where there are none. They must be of one model and have the same number of multiprocessors:
// others do not give the same bits. An executable is compiled for the GPU with the fewest executables, of those the one with most memory free, and
// where it does not fit there at present for the next. A GPU that is lost gets no more executables; the others go on. Options.Index is not used.
func NewPool(indices []int, o Options) (engine.Device, error) {
	o.Index = 0
	lib, err := start(o)
	if err != nil {
		return nil, err
	}
	infos, err := lib.Devices()
	if err != nil {
		return nil, err
	}
	if len(indices) == 0 {
		for i := range infos {
			indices = append(indices, i)
		}
	}
	if err := alike(indices, infos); err != nil {
		return nil, err
	}
	p := &pool{}
	for _, i := range indices {
		o.Index = i
		d, err := newDevice(lib, o)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.members = append(p.members, d)
	}
	_, model, _ := strings.Cut(p.members[0].name, " ")
	p.name = "cuda:" + numbers(indices) + " " + model
	return p, nil
}

// alike refuses GPUs that are not there, are named twice, or would give other bits than the first; it names those that go together.
func alike(indices []int, infos []driver.Info) error {
	var models []string
	same := make(map[string][]int)
	for k, i := range indices {
		switch {
		case i < 0 || i >= len(infos):
			return fmt.Errorf("cuda: there is no device %d: the driver counts %d", i, len(infos))
		case slices.Contains(indices[:k], i):
			return fmt.Errorf("cuda: device %d is named twice", i)
		}
		m := modelOf(infos[i], "")
		if same[m] == nil {
			models = append(models, m)
		}
		same[m] = append(same[m], i)
	}
	if len(models) == 1 {
		return nil
	}
	var groups []string
	for _, m := range models {
		groups = append(groups, fmt.Sprintf("cuda:%s %s", numbers(same[m]), m))
	}
	return fmt.Errorf("cuda: the GPUs %s are not alike and would not give the same bits; use one of %s", numbers(indices), strings.Join(groups, ", "))
}

func (p *pool) Name() string { return p.name }

func (p *pool) Supports(program *engine.Program, op *engine.Op) error {
	return p.members[0].Supports(program, op)
}

func (p *pool) Close() error {
	var errs []error
	for _, m := range p.members {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// Compile prepares a program on one of the GPUs. The error is engine.ErrMemoryInUse where the program fits on none at present, and engine.ErrDeviceLost where
// no GPU is left.
func (p *pool) Compile(program *engine.Program) (engine.Executable, error) {
	var refusal error
	var tried []*device
	for {
		m := p.take(tried, lasting(program))
		if m == nil {
			break
		}
		e, err := m.Compile(program)
		m.live.Add(-1) // the executable counts itself
		if err == nil {
			return e, nil
		}
		switch {
		case errors.Is(err, engine.ErrMemoryInUse): // more promising than whatever another GPU says
			refusal = err
		case errors.Is(err, engine.ErrMemory):
			if refusal == nil {
				refusal = err
			}
		case !errors.Is(err, engine.ErrDeviceLost):
			return nil, err
		}
		tried = append(tried, m)
	}
	if refusal != nil {
		return nil, refusal
	}
	return nil, p.gone()
}

// lasting is the least that a program takes of a GPU: its state and its data set, in bytes.
func lasting(program *engine.Program) (bytes int64) {
	for i := range program.Tensors {
		if t := &program.Tensors[i]; t.Role == engine.State || t.Role == engine.Data {
			bytes += 4 * int64(t.Len())
		}
	}
	return bytes
}

// take finds the GPU for an executable of at least so many bytes among those that were not tried, and counts the executable; nil: there is none. One where
// it does not fit, unless its data is there already, comes last: another program may hold the memory of the GPU with the fewest executables.
func (p *pool) take(tried []*device, bytes int64) *device {
	placing.Lock()
	defer placing.Unlock()
	var best *device
	var most int64
	for _, m := range p.members {
		if slices.Contains(tried, m) || m.loss() != nil {
			continue
		}
		room, err := m.roomAndIdle()
		if err != nil {
			_ = m.explain(err) // which takes down that it is lost
			continue
		}
		better := best == nil
		switch {
		case better:
		case (room >= bytes) != (most >= bytes):
			better = room >= bytes
		case m.live.Load() != best.live.Load():
			better = m.live.Load() < best.live.Load()
		default:
			better = room > most
		}
		if better {
			best, most = m, room
		}
	}
	if best != nil {
		best.live.Add(1)
	}
	return best
}

// gone says that no GPU is left.
func (p *pool) gone() error {
	err := fmt.Errorf("%s: %w: no GPU is left that can be used", short(p.name), engine.ErrDeviceLost)
	for _, m := range p.members {
		if loss := m.loss(); loss != nil {
			err = fmt.Errorf("%w; %s: %w", err, short(m.name), loss)
		}
	}
	return err
}
