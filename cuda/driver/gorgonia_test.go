//go:build linux && cgo && gorgonia

package driver

import (
	"reflect"
	"slices"
	"testing"

	"gorgonia.org/cu"
)

// ViaCu says that the driver is reached by gorgonia.org/cu.
const ViaCu = true

// TestCuIsInTheTable: the table differs from the library's in the functions that cu stands for, and in no other.
func TestCuIsInTheTable(t *testing.T) {
	direct, err := read("")
	if err != nil {
		t.Fatal(err)
	}
	used, err := load(library)
	if err != nil {
		t.Fatal(err)
	}
	var own []string
	a, b := reflect.ValueOf(direct).Elem(), reflect.ValueOf(used).Elem()
	for i := range a.NumField() {
		if a.Field(i).Pointer() == b.Field(i).Pointer() {
			own = append(own, a.Type().Field(i).Name)
		}
	}
	want := []string{"cuInit", "cuGetErrorName", "cuGetErrorString", "cuMemHostAlloc", "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags",
		"cuGraphGetNodes", "cuGraphLaunch", "cuModuleLoadDataEx", "cuFuncSetAttribute", "cuLaunchKernel", "cuFuncGetParamInfo"}
	if !slices.Equal(own, want) {
		t.Errorf("the library's own are %v, want %v", own, want)
	}
}

// TestHandles: what the conversions of handles rest on. The handles of cu are one pointer of C, and its errors are integers.
func TestHandles(t *testing.T) {
	for _, handle := range []any{cu.CUContext{}, cu.Stream{}, cu.Event{}, cu.Module{}, cu.Function{}, cu.Graph{}, cu.ExecGraph{}} {
		if h := reflect.TypeOf(handle); h.NumField() != 1 || h.Field(0).Type.Kind() != reflect.Pointer {
			t.Errorf("%v is not one pointer", h)
		}
	}
	if code(nil) != 0 || code(cu.NotReady) != notReady || code(cu.Unknown) != unknown {
		t.Errorf("results are %d, %d, %d, want 0, %d, %d", code(nil), code(cu.NotReady), code(cu.Unknown), notReady, unknown)
	}
}
