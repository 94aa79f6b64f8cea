//go:build !unix

package faults_test

// processSeconds is 0, not known, where there is no getrusage.
func processSeconds() float64 { return 0 }
