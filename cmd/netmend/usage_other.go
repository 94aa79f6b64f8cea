//go:build !unix

package main

import "time"

// processTime, peakMemory and residentMemory are 0, not known, where there is no getrusage.
func processTime() time.Duration { return 0 }

func peakMemory() int64 { return 0 }

func residentMemory() int64 { return 0 }
