//go:build cgo

package ort

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	ortgo "github.com/yalue/onnxruntime_go"

	"netmend/onnx"
)

var (
	mu     sync.Mutex
	opened string // path of the library in use
)

// Open opens the ONNX Runtime library, "" meaning the one that FindLibrary finds. It stays open; a second call is
// free, and refused for another library.
func Open(library string) error {
	mu.Lock()
	defer mu.Unlock()
	if opened != "" && (library == "" || library == opened) {
		return nil
	}
	if opened != "" {
		return fmt.Errorf("ort: %q is open already; %q cannot be opened beside it", opened, library)
	}
	if library == "" {
		var err error
		if library, err = FindLibrary(); err != nil {
			return err
		}
	}
	ortgo.SetSharedLibraryPath(library)
	// Errors come back as values; the runtime's own log would only mix its warnings into our output.
	if err := ortgo.InitializeEnvironment(ortgo.WithLogLevelFatal()); err != nil {
		return fmt.Errorf("ort: open %q: %w", library, err)
	}
	opened = library
	return nil
}

// Version returns the version of the open library, "" where none is open.
func Version() string {
	mu.Lock()
	defer mu.Unlock()
	if opened == "" {
		return ""
	}
	return ortgo.GetVersion()
}

// Session is a model loaded into ONNX Runtime. Inputs lists what Run must be given, Outputs what it returns. A
// session may be used from one goroutine at a time.
type Session struct {
	Inputs, Outputs []onnx.Value

	model   *onnx.Model
	session *ortgo.DynamicAdvancedSession
}

// NewSession loads a model that holds its weights itself. Open is called where it was not.
func NewSession(m *onnx.Model) (*Session, error) {
	b, err := m.Encode()
	if err != nil {
		return nil, err
	}
	return newSession(m, func(in, out []string) (*ortgo.DynamicAdvancedSession, error) {
		return ortgo.NewDynamicAdvancedSessionWithONNXData(b, in, out, nil)
	})
}

// NewSessionFile loads a model file, external data included. Open is called where it was not.
func NewSessionFile(path string) (*Session, error) {
	m, err := onnx.Read(path)
	if err != nil {
		return nil, err
	}
	return newSession(m, func(in, out []string) (*ortgo.DynamicAdvancedSession, error) {
		return ortgo.NewDynamicAdvancedSession(path, in, out, nil)
	})
}

func newSession(m *onnx.Model, load func(in, out []string) (*ortgo.DynamicAdvancedSession, error)) (*Session, error) {
	if err := Open(""); err != nil {
		return nil, err
	}
	s := &Session{Inputs: m.Graph.DataInputs(), Outputs: m.Graph.Outputs, model: m}
	if len(s.Inputs) == 0 || len(s.Outputs) == 0 {
		return nil, errors.New("ort: the model needs at least one input and one output to be run")
	}
	var err error
	if s.session, err = load(names(s.Inputs), names(s.Outputs)); err != nil {
		return nil, fmt.Errorf("ort: ONNX Runtime refuses the model: %w", err)
	}
	return s, nil
}

func names(vs []onnx.Value) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = v.Name
	}
	return out
}

// Close frees the session.
func (s *Session) Close() error {
	if s.session == nil {
		return nil
	}
	err := s.session.Destroy()
	s.session = nil
	return err
}

// Run computes all outputs from the inputs, which must be given by name with the declared element types. Sequences
// and maps are not supported.
func (s *Session) Run(inputs map[string]*onnx.Tensor) (map[string]*onnx.Tensor, error) {
	if s.session == nil {
		return nil, errors.New("ort: the session is closed")
	}
	for name := range inputs {
		if !hasValue(s.Inputs, name) {
			return nil, fmt.Errorf("ort: the model has no input %q", name)
		}
	}
	in := make([]ortgo.Value, len(s.Inputs))
	defer destroy(in)
	for i, v := range s.Inputs {
		t := inputs[v.Name]
		if t == nil {
			return nil, fmt.Errorf("ort: input %q is missing", v.Name)
		}
		if v.Type.Elem != t.Type {
			return nil, fmt.Errorf("ort: input %q is %s, the model wants %s", v.Name, t.Type, v.Type.Elem)
		}
		var err error
		if in[i], err = toValue(t); err != nil {
			return nil, fmt.Errorf("ort: input %q: %w", v.Name, err)
		}
	}
	out := make([]ortgo.Value, len(s.Outputs))
	defer destroy(out)
	if err := s.allocate(inputs, out); err != nil {
		return nil, err
	}
	if err := s.session.Run(in, out); err != nil {
		return nil, fmt.Errorf("ort: %w", err)
	}
	result := make(map[string]*onnx.Tensor, len(out))
	for i, v := range s.Outputs {
		t, err := fromValue(v.Name, out[i])
		if err != nil {
			return nil, fmt.Errorf("ort: output %q: %w", v.Name, err)
		}
		result[v.Name] = t
	}
	return result, nil
}

func hasValue(vs []onnx.Value, name string) bool {
	for _, v := range vs {
		if v.Name == name {
			return true
		}
	}
	return false
}

// destroy frees what ONNX Runtime holds of values.
func destroy(vs []ortgo.Value) {
	for _, v := range vs {
		if v != nil && !reflect.ValueOf(v).IsNil() { // a failed run leaves typed nils
			v.Destroy()
		}
	}
}

// allocate makes the outputs that onnxruntime_go cannot make itself: scalars, for which it has a type of their own,
// and element types that Go lacks. Their shapes come from our own inference.
func (s *Session) allocate(inputs map[string]*onnx.Tensor, out []ortgo.Value) error {
	dims := map[string][]int64{}
	for name, t := range inputs {
		dims[name] = t.Dims
	}
	types, err := onnx.InferShapesAt(s.model, dims)
	if err != nil {
		types = nil // ONNX Runtime may know better; it reports what does not fit
	}
	for i, v := range s.Outputs {
		t := v.Type
		if inferred, ok := types[v.Name]; ok && inferred.Kind == onnx.KindTensor {
			t = inferred
		}
		shape, known := t.Dims()
		if !known {
			continue
		}
		if len(shape) == 0 && (scalars[t.Elem] != nil) {
			if out[i], err = scalars[t.Elem](nil); err != nil {
				return fmt.Errorf("ort: output %q: %w", v.Name, err)
			}
		}
		if n, err := onnx.Elements(shape); err == nil && n > 0 && len(shape) > 0 && t.Elem.Bits() == 16 && t.Elem.IsFloat() {
			if out[i], err = ortgo.NewCustomDataTensor(shape, aligned(make([]byte, 2*n)), ortgo.TensorElementDataType(t.Elem)); err != nil {
				return fmt.Errorf("ort: output %q: %w", v.Name, err)
			}
		}
	}
	return nil
}
