// Package ort runs models through ONNX Runtime: the independent oracle of what netmend exports. The library is
// opened at run time, so that a binary works without it until it is asked for. A build without cgo has the same
// functions; they return an error.
package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// EnvLibrary is the environment variable that names the ONNX Runtime library, or the folder it is in.
const EnvLibrary = "NETMEND_ORT"

// depsFolder is where scripts/deps.sh puts the library, relative to the repository.
var depsFolder = filepath.Join(".deps", "onnxruntime")

// FindLibrary returns the path of the ONNX Runtime library: what $NETMEND_ORT names, else the one that
// scripts/deps.sh fetched for this repository or beside the executable, else the system's.
func FindLibrary() (string, error) {
	if v := os.Getenv(EnvLibrary); v != "" {
		path, err := libraryAt(v)
		if err != nil {
			return "", fmt.Errorf("ort: $%s: %w", EnvLibrary, err)
		}
		return path, nil
	}
	for _, dir := range searchFolders() {
		if path, err := libraryAt(dir); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("ort: the ONNX Runtime library is not on this machine; run scripts/deps.sh, or set %s to a libonnxruntime.so", EnvLibrary)
}

// libraryAt returns the library that path is, or that lies in the folder path.
func libraryAt(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return filepath.Abs(path)
	}
	patterns := []string{"libonnxruntime.so.1", "libonnxruntime.so", "libonnxruntime.so.1.*"}
	switch runtime.GOOS {
	case "darwin":
		patterns = []string{"libonnxruntime.dylib", "libonnxruntime.1.*dylib"}
	case "windows":
		patterns = []string{"onnxruntime.dll"}
	}
	for _, p := range patterns {
		found, _ := filepath.Glob(filepath.Join(path, p))
		if len(found) > 0 {
			return filepath.Abs(found[len(found)-1])
		}
	}
	return "", fmt.Errorf("no ONNX Runtime library in %q", path)
}

// searchFolders lists where the library may be. Only a folder that belongs to netmend is looked at above the
// working directory: a library is code.
func searchFolders() []string {
	var dirs []string
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		dirs = append(dirs, filepath.Join(filepath.Dir(exe), depsFolder), filepath.Join(filepath.Dir(exe), "..", depsFolder))
	}
	if wd, err := os.Getwd(); err == nil {
		if root, ok := repositoryAbove(wd); ok {
			dirs = append(dirs, filepath.Join(root, depsFolder))
		}
	}
	dirs = append(dirs, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	dirs = append(dirs, "/usr/local/lib", "/usr/lib", "/usr/lib64")
	multiarch, _ := filepath.Glob("/usr/lib/*-linux-gnu")
	dirs = append(dirs, multiarch...)
	return slices.DeleteFunc(dirs, func(d string) bool { return d == "" })
}

// repositoryAbove returns the folder at or above dir that holds netmend's go.mod.
func repositoryAbove(dir string) (string, bool) {
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			first, _, _ := strings.Cut(string(b), "\n")
			return dir, strings.TrimSpace(first) == "module netmend"
		}
		if !errors.Is(err, os.ErrNotExist) || filepath.Dir(dir) == dir {
			return "", false
		}
		dir = filepath.Dir(dir)
	}
}
