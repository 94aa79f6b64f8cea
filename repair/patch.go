package repair

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// patchVersion is the version of the patch file format.
const patchVersion = 1

// maxPatchBytes bounds what is read of a patch file; an edit takes about a hundred bytes.
const maxPatchBytes = 16 << 20

// patchFile is a patch on disk.
type patchFile struct {
	Version int               `json:"version"`
	Edits   []json.RawMessage `json:"edits"`
}

// ReadPatch reads a patch file: {"version": 1, "edits": [{"operator": …, "target": …, "value": …}, …]}. Unknown or missing fields, another
// version, two edits of one operator and target are errors that name the file and the edit; edits may be in any order.
func ReadPatch(path string) (Patch, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("repair: patch: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxPatchBytes+1))
	if err == nil && len(raw) > maxPatchBytes {
		err = fmt.Errorf("longer than %d bytes", maxPatchBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("repair: patch %q: %w", path, err)
	}
	p, err := ParsePatch(raw)
	if err != nil {
		return nil, fmt.Errorf("repair: patch %q: %w", path, err)
	}
	return p, nil
}

// ParsePatch is ReadPatch on bytes.
func ParsePatch(raw []byte) (Patch, error) {
	var file patchFile
	if err := strict(raw, &file); err != nil {
		return nil, err
	}
	switch {
	case file.Version == 0:
		return nil, fmt.Errorf(`field "version" is missing: this netmend writes %d`, patchVersion)
	case file.Version != patchVersion:
		return nil, fmt.Errorf("version %d is not known: this netmend reads %d", file.Version, patchVersion)
	case file.Edits == nil:
		return nil, errors.New(`field "edits" is missing`)
	}
	var p Patch
	for i, one := range file.Edits {
		e, err := parseEdit(one)
		if err != nil {
			return nil, fmt.Errorf("edit %d: %w", i+1, err)
		}
		if _, twice := p.Get(e.Key()); twice {
			return nil, fmt.Errorf("edit %d: there is another edit %s(%s)", i+1, e.Operator, e.Target)
		}
		p = p.With(e)
	}
	return p, nil
}

func parseEdit(raw []byte) (Edit, error) {
	var fields struct {
		Operator, Target *string
		Value            json.RawMessage
	}
	if err := strict(raw, &fields); err != nil {
		return Edit{}, err
	}
	switch {
	case fields.Operator == nil || *fields.Operator == "":
		return Edit{}, errors.New(`field "operator" is missing`)
	case fields.Target == nil || *fields.Target == "":
		return Edit{}, errors.New(`field "target" is missing`)
	case fields.Value == nil:
		return Edit{}, errors.New(`field "value" is missing`)
	}
	e := Edit{Operator: *fields.Operator, Target: *fields.Target}
	if err := e.Value.UnmarshalJSON(fields.Value); err != nil {
		return Edit{}, fmt.Errorf("value %s is neither a number nor a string", fields.Value)
	}
	return e, nil
}

// strict decodes one JSON value with no unknown fields and nothing behind it.
func strict(raw []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("the file is empty")
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the JSON ends in the middle")
		}
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the JSON value")
	}
	return nil
}

// Marshal gives the contents of a patch file.
func (p Patch) Marshal() ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	edits := p
	if edits == nil {
		edits = Patch{}
	}
	raw, err := json.MarshalIndent(struct {
		Version int   `json:"version"`
		Edits   Patch `json:"edits"`
	}{patchVersion, edits}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("repair: patch: %w", err)
	}
	return append(raw, '\n'), nil
}

// WritePatch writes a patch file; see WriteFile.
func WritePatch(path string, p Patch) error {
	raw, err := p.Marshal()
	if err != nil {
		return err
	}
	return WriteFile(path, raw)
}

// WriteFile writes a file that appears whole or not at all: it is written and synced under another name first.
func WriteFile(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("repair: write %q: %w", path, err)
	}
	return nil
}

// The metadata of a repaired model.
const (
	MetaRecipe = "netmend.recipe" // the recipe that it was trained with, as YAML
	MetaPatch  = "netmend.patch"  // the patch that made it, as a patch file's JSON
)
