package engine

import (
	"fmt"
	"slices"
)

// TensorID is the index of a tensor in Program.Tensors.
type TensorID int32

// None stands for an optional input that is absent.
const None TensorID = -1

// DType is the element type of a tensor.
type DType uint8

const (
	Float DType = iota // float32 on the devices that train; float64 on a reference device that was asked for it
	Int                // int32: labels, indices
)

func (t DType) String() string { return nameOf([]string{"float", "int"}, "type", t) }

// Role says who writes a tensor and how long it lives.
type Role uint8

const (
	Temp     Role = iota // written by one op of one function, gone after the step
	State                // kept between steps and runs; loaded and fetched by the host: weights, running statistics, optimizer slots
	Data                 // the data set, Shape[0] = Program.Rows; loaded by the host, read by the Batch op only
	Feed                 // fed by the host, one value of Shape for every step (Schedule.Feeds)
	Constant             // Value, never written
)

func (r Role) String() string {
	return nameOf([]string{"temp", "state", "data", "feed", "constant"}, "role", r)
}

// Tensor describes one tensor. Dense, row-major at the interface; a device may keep it in any layout inside.
type Tensor struct {
	Name  string // for messages and for looking a state up; unique among State tensors
	Shape []int  // all positive, or zero in a dimension of an empty tensor; scalars have the empty shape
	Type  DType
	Role  Role
	Value []float64 // Constant only: the elements in row-major order, integers too
}

// Len is the number of elements.
func (t *Tensor) Len() int { return Len(t.Shape) }

// Len is the number of elements of a shape.
func Len(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Program is a module of functions over shared tensors. Once handed to a device it must not be changed.
type Program struct {
	Rows    int // rows of every Data tensor
	Tensors []Tensor
	Funcs   []*Func
}

// Func is one kind of step.
type Func struct {
	Name    string
	Batch   int        // rows of the data set that one step takes; 0 for a function that takes none
	Ops     []Op       // in execution order
	Outputs []TensorID // read by the host after every step: losses, predictions, statistics; Float or Int
}

// NewProgram makes an empty program over a data set of so many rows.
func NewProgram(rows int) *Program { return &Program{Rows: rows} }

func (p *Program) add(t Tensor) TensorID {
	p.Tensors = append(p.Tensors, t)
	return TensorID(len(p.Tensors) - 1)
}

// NewState adds a Float tensor that lives as long as the program. It starts as zeros until the host loads it.
func (p *Program) NewState(name string, shape []int) TensorID {
	return p.add(Tensor{Name: name, Shape: slices.Clone(shape), Role: State})
}

// NewData adds a column of the data set; row is the shape of one sample.
func (p *Program) NewData(name string, t DType, row []int) TensorID {
	return p.add(Tensor{Name: name, Shape: append([]int{p.Rows}, row...), Type: t, Role: Data})
}

// NewFeed adds a Float tensor that the host supplies for every step.
func (p *Program) NewFeed(name string, shape []int) TensorID {
	return p.add(Tensor{Name: name, Shape: slices.Clone(shape), Role: Feed})
}

// NewConstant adds a constant.
func (p *Program) NewConstant(name string, t DType, shape []int, value []float64) TensorID {
	return p.add(Tensor{Name: name, Shape: slices.Clone(shape), Type: t, Role: Constant, Value: value})
}

// Find returns the State, Data or Feed tensor of that name, or None.
func (p *Program) Find(name string) TensorID {
	for i := range p.Tensors {
		if t := &p.Tensors[i]; t.Name == name && t.Role != Temp && t.Role != Constant {
			return TensorID(i)
		}
	}
	return None
}

// Check verifies what a device relies on: ids in range, shapes as the ops define them, every Temp written before it is read and by
// one op only, state written only by the ops that may. An error means a bug of whoever built the program.
func (p *Program) Check() error {
	for i := range p.Tensors {
		t := &p.Tensors[i]
		if t.Type > Int || t.Role > Constant {
			return fmt.Errorf("engine: tensor %d %q: %v, %v", i, t.Name, t.Type, t.Role)
		}
		if slices.Min(append([]int{0}, t.Shape...)) < 0 {
			return fmt.Errorf("engine: tensor %d %q: negative dimension in shape %v", i, t.Name, t.Shape)
		}
		if t.Role == Constant && len(t.Value) != t.Len() {
			return fmt.Errorf("engine: constant %d %q: %d values for shape %v", i, t.Name, len(t.Value), t.Shape)
		}
		if t.Role == Data && (len(t.Shape) == 0 || t.Shape[0] != p.Rows) {
			return fmt.Errorf("engine: data %q: shape %v, the program has %d rows", t.Name, t.Shape, p.Rows)
		}
	}
	owner := make(map[TensorID]*Func)
	for i, f := range p.Funcs {
		if f == nil || f.Batch < 0 {
			return fmt.Errorf("engine: func %d is absent or has a negative batch", i)
		}
		written := make(map[TensorID]bool)
		for i := range f.Ops {
			if err := p.checkOp(f, &f.Ops[i], written, owner); err != nil {
				return fmt.Errorf("engine: func %q: op %d %s: %w", f.Name, i, f.Ops[i].Kind, err)
			}
		}
		for _, id := range f.Outputs {
			if id < 0 || int(id) >= len(p.Tensors) {
				return fmt.Errorf("engine: func %q: output %d is no tensor", f.Name, id)
			}
			if p.Tensors[id].Role == Temp && !written[id] {
				return fmt.Errorf("engine: func %q: output %d is never written", f.Name, id)
			}
		}
	}
	return nil
}

func (p *Program) checkOp(f *Func, op *Op, written map[TensorID]bool, owner map[TensorID]*Func) error {
	for _, id := range op.In {
		switch {
		case id == None:
		case id < 0 || int(id) >= len(p.Tensors):
			return fmt.Errorf("input %d is no tensor", id)
		case p.Tensors[id].Role == Temp && !written[id]:
			return fmt.Errorf("input %d is read before it is written", id)
		case p.Tensors[id].Role == Data && op.Kind != Batch:
			return fmt.Errorf("input %d: only Batch reads the data set", id)
		}
	}
	shapes, types, err := p.infer(f, op)
	if err != nil {
		return err
	}
	if len(shapes) != len(op.Out) {
		return fmt.Errorf("%d outputs, wants %d", len(op.Out), len(shapes))
	}
	for i, id := range op.Out {
		if id < 0 || int(id) >= len(p.Tensors) {
			return fmt.Errorf("output %d is no tensor", id)
		}
		t := &p.Tensors[id]
		if !slices.Equal(t.Shape, shapes[i]) || t.Type != types[i] {
			return fmt.Errorf("output %d: is %v %v, the op gives %v %v", i, t.Type, t.Shape, types[i], shapes[i])
		}
		switch {
		case t.Role == State && op.Kind.writesState():
		case t.Role == Temp && !written[id] && (owner[id] == nil || owner[id] == f):
			written[id], owner[id] = true, f
		default:
			return fmt.Errorf("output %d (%v) may not be written here", i, t.Role)
		}
	}
	return nil
}
