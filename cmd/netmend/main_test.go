package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"netmend/cuda/driver"
	"netmend/cuda/emulator"
	"netmend/engine/cpu"
	"netmend/onnx/ort"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"netmend": func() { os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/script/*.txtar. $ROOT is the repository; [ort] holds where ONNX Runtime's library is, [bf16] where the
// processor multiplies bfloat16 numbers, [driver] where the build can
// open NVIDIA's driver, [cuda] where the emulator of CUDA can be made, whose library is $LIBCUDA.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	library, ortErr := ort.FindLibrary()
	half, halfErr := cpu.New(cpu.Options{Precision: "bf16"})
	if halfErr == nil {
		half.Close()
	}
	_, driverErr := driver.Open()
	emulated, cudaErr := emulator.Library()
	if cudaErr != nil && !errors.Is(cudaErr, emulator.ErrUnavailable) {
		t.Error(cudaErr)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("ROOT", root)
			e.Setenv("EXPORTS", filepath.Join(root, "testdata", "exports"))
			e.Setenv("DEMO", filepath.Join(root, "testdata", "demo"))
			e.Setenv("DIGITS", filepath.Join(root, "testdata", "optdigits"))
			e.Setenv("LIBCUDA", emulated)
			if ortErr == nil {
				e.Setenv(ort.EnvLibrary, library)
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			return cond == "ort" && ortErr == nil || cond == "bf16" && halfErr == nil || cond == "cuda" && cudaErr == nil ||
				cond == "driver" && !errors.Is(driverErr, driver.ErrNotBuilt), nil
		},
	})
}
