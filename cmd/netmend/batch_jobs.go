package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"netmend/repair"
)

// job is an entry of the jobs file.
type job struct {
	Name          string `json:"name"`
	repairOptions `yaml:",inline"`
}

// readJobs reads and checks a file of jobs. What a job's own files hold is not looked at yet.
func readJobs(path string) ([]job, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var strict struct {
		Defaults job
		Jobs     []job
	}
	d := yaml.NewDecoder(bytes.NewReader(raw))
	d.KnownFields(true)
	if err := d.Decode(&strict); err != nil && !errors.Is(err, io.EOF) {
		return nil, &failure{err: fmt.Errorf("%s: %w", path, err), hint: "`netmend batch --help` shows such a file", code: exitUsage}
	}
	if len(strict.Jobs) == 0 {
		return nil, &failure{err: fmt.Errorf("%s: there are no jobs", path), hint: "`netmend batch --help` shows such a file", code: exitUsage}
	}
	var file struct { // the same once more: a job is read over the defaults
		Defaults yaml.Node
		Jobs     []yaml.Node
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	taken := map[string]bool{}
	jobs := make([]job, len(file.Jobs))
	for i := range jobs {
		j := job{repairOptions: defaultRepair()}
		for _, n := range []*yaml.Node{&file.Defaults, &file.Jobs[i]} {
			if n.IsZero() {
				continue
			}
			if err := n.Decode(&j); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		if err := j.complete(filepath.Dir(path)); err != nil {
			var f *failure
			if errors.As(err, &f) {
				f.err = fmt.Errorf("%s: job %d: %w", path, i+1, f.err)
			}
			return nil, err
		}
		if taken[j.Name] {
			return nil, usage("%s: there are two jobs %q: give them names", path, j.Name)
		}
		taken[j.Name] = true
		jobs[i] = j
	}
	return jobs, nil
}

// complete checks a job, names it after its model where it has no name, and leads its paths from the folder of the jobs file.
func (j *job) complete(folder string) error {
	if j.Model == "" {
		return usage("it has no model")
	}
	if err := j.subjectFiles.check(); err != nil {
		return err
	}
	if _, err := j.config(); err != nil {
		return err
	}
	for _, p := range []*string{&j.Model, &j.Recipe, &j.Data} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	if j.Name == "" {
		j.Name = strings.TrimSuffix(filepath.Base(j.Model), filepath.Ext(j.Model))
		if j.Name == "model" { // as the export scripts call every one
			j.Name = filepath.Base(filepath.Dir(j.Model))
		}
	}
	if j.Name != filepath.Base(j.Name) || !filepath.IsLocal(j.Name) || j.Name == "." || j.Name == fileSummary {
		return usage("its name %q cannot name a folder", j.Name)
	}
	return nil
}

// claim makes the job's folder, or finds it. One of other options is refused.
func (j job) claim(folder string) error {
	raw, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(folder, fileJob)
	if old, err := os.ReadFile(path); err == nil {
		var was job
		if err := json.Unmarshal(old, &was); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !reflect.DeepEqual(was, j) {
			return hinted(fmt.Errorf("%s: the job has been changed since it was begun", path), "give it another name, or remove its folder to begin anew")
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	} else if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	} else if err := repair.WriteFile(path, append(raw, '\n')); err != nil {
		return err
	}
	return nil
}
