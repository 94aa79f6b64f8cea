package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// writeJSON writes one object, indented, and a newline.
func writeJSON(w io.Writer, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", raw)
	return err
}
