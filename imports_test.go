package netmend_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is the import table of docs/architecture.md: which packages of ours a package may import. A key stands for the package and all
// below it; the longest key that matches counts. A package may always import those below itself.
var allowed = map[string][]string{
	"onnx":              {},
	"onnx/ort":          {"onnx"},
	"onnx/onnxgo":       {"onnx", "engine", "train", "train/lower", "data"},
	"engine":            {},
	"engine/reference":  {"engine"},
	"engine/cpu":        {"engine"},
	"engine/devicetest": {"engine", "engine/reference"},
	"cuda":              {"engine"},
	"cuda/driver":       {},
	"cuda/cublaslt":     {"cuda/driver"},
	"cuda/cudnn":        {"cuda/driver"},
	"cuda/kernels":      {},
	"cuda/emulator":     {"cuda/kernels"},
	"data":              {},
	"train":             {"onnx", "engine", "data"},
	"train/lower":       {"onnx", "engine"},
	"train/traintest":   {"train", "onnx", "data"},
	"train/goldentest":  {"train", "train/lower", "onnx", "engine", "data"},
	"repair":            {"train", "onnx", "data"},
	"repair/stats":      {},
	"repair/operators":  {"repair", "train", "train/lower", "onnx", "data"},
	"repair/diagnose":   {"repair", "train", "train/lower", "onnx", "data", "engine"},
	"repair/technique":  {"repair", "repair/operators", "repair/diagnose", "train", "data"},
	"repair/smoke":      {"repair", "repair/diagnose", "train", "train/lower", "onnx", "data", "engine"},
	"repair/study":      {"repair", "repair/stats", "repair/operators", "repair/diagnose", "repair/technique", "train", "data", "engine", "onnx"},
	"models":            {"onnx"},
	"faults":            {"models", "repair", "repair/stats", "repair/operators", "repair/diagnose", "repair/technique", "repair/study", "train", "data", "onnx", "engine"},
	"faults/eyes":       {"data"},
	"faults/dataset":    {"faults/eyes", "data"},
	"faults/suspicion":  {"faults", "faults/dataset", "faults/mutate", "repair", "repair/diagnose", "repair/operators", "repair/study", "train", "engine"},
	"faults/bench":      {"faults", "faults/dataset", "models", "repair", "repair/stats", "repair/operators", "repair/diagnose", "repair/technique", "repair/study", "train", "data", "onnx", "engine"},
	"faults/bench/svg":  {},
	"cmd":               {"*"},
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], "netmend/")
		if pkg == "netmend" {
			continue
		}
		may, ok := rule(pkg)
		if !ok {
			t.Errorf("package %s has no line in the import table: add one here and to docs/architecture.md", pkg)
			continue
		}
		for _, imp := range fields[1:] {
			imp, ours := strings.CutPrefix(imp, "netmend/")
			if !ours || may[0] == "*" || strings.HasPrefix(imp, pkg+"/") || slices.Contains(may, imp) {
				continue
			}
			t.Errorf("package %s imports %s; it may import %v", pkg, imp, may)
		}
	}
}

// rule is the table's line for a package, never empty when found.
func rule(pkg string) ([]string, bool) {
	for key := pkg; key != ""; {
		if may, ok := allowed[key]; ok {
			return append(slices.Clone(may), key), true
		}
		i := strings.LastIndex(key, "/")
		if i < 0 {
			break
		}
		key = key[:i]
	}
	return nil, false
}

func TestTestsOfRepairDoNotSeeFaults(t *testing.T) {
	out, err := exec.Command("go", "list", "-test", "-deps", "-f", "{{.ImportPath}}", "./repair/...", "./train/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if strings.HasPrefix(pkg, "netmend/faults") {
			t.Errorf("repair or train depends on %s", pkg)
		}
	}
}
