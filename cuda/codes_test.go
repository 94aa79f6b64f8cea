//go:build linux && cgo

package cuda

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"

	"netmend/cuda/kernels"
	"netmend/engine"
)

// TestCodes: the numbers of functions are those of kernels/functions.cuh, which names them as engine.Fn does.
func TestCodes(t *testing.T) {
	text, err := kernels.Sources.ReadFile("functions.cuh")
	if err != nil {
		t.Fatal(err)
	}
	body := regexp.MustCompile(`(?s)enum nm_function \{(.*?)\};`).FindSubmatch(text)
	if body == nil {
		t.Fatal("functions.cuh has no enum nm_function")
	}
	number, next := make(map[string]code), code(0)
	for _, m := range regexp.MustCompile(`(?m)^\s*NM_(\w+)( = (\d+))?,`).FindAllSubmatch(body[1], -1) {
		if len(m[3]) > 0 {
			n, _ := strconv.Atoi(string(m[3]))
			next = code(n)
		}
		number[string(m[1])] = next
		next++
	}
	check := func(name string, have code) {
		t.Helper()
		if want, ok := number[name]; !ok || want != have {
			t.Errorf("%s is %d, functions.cuh has %d (%t)", name, have, want, ok)
		}
	}
	words := regexp.MustCompile(`([a-z])([A-Z])`)
	for _, fn := range engine.Fns() {
		name := words.ReplaceAllString(fn.String(), "${1}_$2")
		name = regexp.MustCompile(`[a-z]`).ReplaceAllStringFunc(name, func(s string) string { return string(s[0] - 32) })
		if fn.Unary() {
			check(name, unaryCode[fn])
		}
		if fn.Binary() {
			check(name, binaryCode[fn])
		}
	}
	for name, have := range map[string]code{"COPY": codeCopy, "FILL": codeFill, "CAST_INT": codeCastInt, "CAST_FLOAT": codeCastFloat, "WHERE": codeWhere,
		"DROPOUT": codeDropout, "ONE_HOT": codeOneHot, "FMA": codeFMA, "NORMALIZE": codeNormalize, "SLOPE": codeSlope} {
		check(name, have)
	}
}

func TestDivisor(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	divide := func(n uint32, d divisor) uint32 { return (uint32(uint64(n)*uint64(d.mul)>>32) + n) >> d.shift }
	const most = 1<<31 - 1
	for range 2000 {
		d := int(r.Uint32()>>1>>r.IntN(31)) | 1
		if r.IntN(3) == 0 {
			d = max(1, d&^1)
		}
		by := divideBy(d)
		for _, n := range []uint32{0, 1, uint32(d) - 1, uint32(d), uint32(min(most, d+1)), uint32(most / d * d), uint32(most/d*d) - 1, most, r.Uint32() >> 1} {
			if got := divide(n&most, by); got != n&most/uint32(d) {
				t.Fatalf("%d / %d = %d", n&most, d, got)
			}
		}
	}
}
