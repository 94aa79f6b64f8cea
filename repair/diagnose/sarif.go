package diagnose

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Files are where the parts of a subject were read from, for reports that point into them. Recipe is the file's content, for line numbers.
type Files struct {
	Model, RecipePath, Data string
	Recipe                  []byte
}

// The parts of SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format", §3) that are written. Required properties have no omitempty.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID            string           `json:"id"`
		Short         sarifText        `json:"shortDescription"`
		Configuration sarifRuleDefault `json:"defaultConfiguration"`
		Properties    map[string]any   `json:"properties"`
	}
	sarifRuleDefault struct {
		Level Level `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        Level             `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Properties   Symptom           `json:"properties"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifLogical struct {
		Name          string `json:"name"`
		QualifiedName string `json:"fullyQualifiedName"`
		Kind          string `json:"kind"`
	}
)

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// WriteSARIF writes symptoms as a SARIF 2.1.0 log. What a field of the recipe says is located at its line, what a node or tensor shows in the
// model's file by its name, what an array shows in the data's file; what a whole training shows belongs to the recipe.
func WriteSARIF(w io.Writer, version string, f Files, symptoms []Symptom) error {
	lines, err := newLines(f.Recipe)
	if err != nil {
		return fmt.Errorf("diagnose: recipe %q: %w", f.RecipePath, err)
	}
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "netmend", Version: version, Rules: []sarifRule{}}}, Results: []sarifResult{}}
	index := map[Kind]int{}
	for _, s := range symptoms {
		if _, there := index[s.Kind]; !there {
			index[s.Kind] = len(run.Tool.Driver.Rules)
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: string(s.Kind), Short: sarifText{s.Kind.title()},
				Configuration: sarifRuleDefault{s.Kind.Level()}, Properties: map[string]any{"tags": []string{string(s.Kind.Part())}, "source": s.Kind.Source()}})
		}
		run.Results = append(run.Results, sarifResult{RuleID: string(s.Kind), RuleIndex: index[s.Kind], Level: s.Kind.Level(), Message: sarifText{s.Words()},
			Locations: []sarifLocation{locate(s, f, lines)}, Fingerprints: map[string]string{"symptom/v1": string(s.Kind) + ":" + s.Node}, Properties: s})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{run}})
}

// title is a kind in words: "learning rate high".
func (k Kind) title() string { return strings.ReplaceAll(string(k), "_", " ") }

// locate says where a symptom is.
func locate(s Symptom, f Files, l lines) sarifLocation {
	recipe := sarifPhysical{Artifact: sarifArtifact{fileURI(f.RecipePath)}}
	if line := l.of(s.Field()); line > 0 {
		recipe.Region = &sarifRegion{line}
		return sarifLocation{Physical: recipe}
	}
	named := func(file, kind string) sarifLocation {
		at := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{fileURI(file)}}}
		if s.Node != "" {
			at.Logical = []sarifLogical{{s.Node, s.Node, kind}}
		}
		return at
	}
	switch part := s.Kind.Part(); {
	case part == OfData:
		return named(f.Data, "array")
	case part == OfGraph || part == OfTraining && s.Node != "":
		return named(f.Model, "node")
	}
	return sarifLocation{Physical: recipe}
}

// fileURI is a path as a relative or absolute URI.
func fileURI(path string) string {
	u := url.URL{Path: filepath.ToSlash(path)}
	if filepath.IsAbs(path) {
		u.Scheme = "file"
	}
	return u.String()
}

// lines knows at which line of a recipe's file a field stands.
type lines struct{ root *yaml.Node }

func newLines(recipe []byte) (lines, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(recipe, &doc); err != nil {
		return lines{}, err
	}
	if len(doc.Content) == 0 {
		return lines{}, nil
	}
	return lines{doc.Content[0]}, nil
}

// of gives the line of the innermost field of a path that the file has; 0 when it has not even the first, or when only the innermost, which
// names a tensor or node, is missing from a map of such.
func (l lines) of(path []string) int {
	at, line := l.root, 0
	for i, key := range path {
		var next *yaml.Node
		for at != nil && at.Kind == yaml.AliasNode {
			at = at.Alias
		}
		if at != nil && at.Kind == yaml.MappingNode {
			for k := 0; k+1 < len(at.Content); k += 2 {
				if at.Content[k].Value == key {
					line, next = at.Content[k].Line, at.Content[k+1]
				}
			}
		}
		if next == nil {
			if byName[path[0]] && i == len(path)-1 {
				return 0
			}
			return line
		}
		at = next
	}
	return line
}

// byName are the fields that say something of tensors and nodes by their names.
var byName = map[string]bool{"initializers": true, "regularizers": true, "dropout": true}
