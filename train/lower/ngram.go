package lower

import (
	"fmt"
	"slices"

	"netmend/engine"
	"netmend/onnx"
)

// ngrams count sequences of tokens.
var ngrams = map[string]lowering{"TfIdfVectorizer": lowerTfIdf}

// gram is a sequence of tokens with the place in the output where it is counted.
type gram struct {
	tokens []int64
	at     int
}

// lowerTfIdf counts, in every row of tokens, the n-grams of a pool: those of min_gram_length to max_gram_length tokens that follow each other
// with up to max_skip_count others between every two. Mode TF gives the counts, TFIDF the counts times the weights, IDF the weights where
// there is a count.
func lowerTfIdf(e *env, n *onnx.Node) error {
	x, err := e.arg(0)
	if err != nil {
		return err
	}
	s := e.shape(x)
	if e.isFloat(x) || len(s) < 1 || len(s) > 2 || s[len(s)-1] < 1 {
		return fmt.Errorf("input has shape %v and type %s, wants a row or rows of integers", s, x.elem)
	}
	grams, width, err := pool(n)
	if err != nil {
		return err
	}
	rows, length := engine.Len(s[:len(s)-1]), s[len(s)-1]
	tokens := e.Reshape(e.deviceFloat(x), []int{rows, length, 1})
	counts := e.Broadcast(e.Scalar(0), []int{rows, width})
	skips := clampInt(n.Int("max_skip_count", 0))
	for size := clampInt(n.Int("min_gram_length", 0)); size <= len(grams); size++ {
		// A single token has nothing to skip.
		for skip := 0; len(grams[size-1]) > 0 && skip <= skips && (size-1)*(skip+1) < length && (skip == 0 || size > 1); skip++ {
			c, err := e.count(tokens, grams[size-1], skip+1, width)
			if err != nil {
				return err
			}
			counts = e.Add(counts, c)
		}
	}
	mode := n.String("mode", "")
	if mode == "IDF" {
		counts = e.Binary(engine.Greater, counts, e.Scalar(0))
	} else if mode != "TF" && mode != "TFIDF" {
		return fmt.Errorf("mode %q is unknown: TF, IDF or TFIDF", mode)
	}
	if weights, ok := n.Floats("weights"); ok && mode != "TF" {
		indexes := ints(n, "ngram_indexes")
		if len(weights) != len(indexes) {
			return fmt.Errorf("%d weights of %d n-grams", len(weights), len(indexes))
		}
		w, set := floatConstant([]int{width}, make([]float64, width)...), make(map[int]bool)
		for k, at := range indexes {
			if set[at] {
				return fmt.Errorf("two n-grams with weights are counted at place %d", at)
			}
			w.f[at], set[at] = float64(weights[k]), true
		}
		counts = e.Mul(counts, e.device(hostValue(w)))
	}
	return e.setTensor(0, e.Reshape(counts, append(slices.Clone(s[:len(s)-1]), width)))
}

// pool are a node's n-grams by their number of tokens, from 1 to max_gram_length on, and the width of the output.
func pool(n *onnx.Node) (grams [][]gram, width int, err error) {
	tokens, _ := n.Ints("pool_int64s")
	starts, indexes := ints(n, "ngram_counts"), ints(n, "ngram_indexes")
	low, high := n.Int("min_gram_length", 0), n.Int("max_gram_length", 0)
	if low < 1 || high < low || len(tokens) == 0 || len(starts) == 0 || len(indexes) == 0 {
		return nil, 0, fmt.Errorf("n-grams of %d to %d of %d tokens: wants lengths from 1 on, pool_int64s, ngram_counts and ngram_indexes", low, high,
			len(tokens))
	}
	if width = slices.Max(indexes) + 1; slices.Min(indexes) < 0 || width > maxHostSize {
		return nil, 0, fmt.Errorf("ngram_indexes reach from %d to %d", slices.Min(indexes), width-1)
	}
	for _, t := range tokens {
		if t <= -maxExact || t >= maxExact {
			return nil, 0, fmt.Errorf("token %d is not exact in float32", t)
		}
	}
	grams = make([][]gram, min(int(min(high, maxDim)), len(starts)))
	number := 0
	for k := range starts {
		end := len(tokens)
		if k+1 < len(starts) {
			end = starts[k+1]
		}
		if starts[k] < 0 || end < starts[k] || end > len(tokens) || (end-starts[k])%(k+1) != 0 {
			return nil, 0, fmt.Errorf("ngram_counts %v do not divide %d tokens", starts, len(tokens))
		}
		seen := make(map[string]bool)
		for at := starts[k]; at < end; at += k + 1 {
			if number >= len(indexes) {
				return nil, 0, fmt.Errorf("%d ngram_indexes are too few", len(indexes))
			}
			g := gram{tokens[at : at+k+1], indexes[number]}
			if key := fmt.Sprint(g.tokens); seen[key] {
				return nil, 0, fmt.Errorf("the pool holds %s twice", key)
			} else if seen[key] = true; k < len(grams) {
				grams[k] = append(grams[k], g)
			}
			number++
		}
	}
	return grams, width, nil
}

// count is how often each of the n-grams, all of one length, occurs in rows of tokens (rows, length, 1), its tokens step places apart.
func (e *env) count(tokens engine.TensorID, grams []gram, step, width int) (engine.TensorID, error) {
	s, size := e.Shape(tokens), len(grams[0].tokens)
	places := s[1] - (size-1)*step
	if err := checkSize([]int{s[0], places, len(grams)}); err != nil {
		return engine.None, err
	}
	at := intConstant([]int{len(grams)})
	for _, g := range grams {
		at.i = append(at.i, int64(g.at))
	}
	found := engine.None
	for k := range size {
		want := floatConstant([]int{len(grams)})
		for _, g := range grams {
			want.f = append(want.f, float64(g.tokens[k]))
		}
		same := e.Binary(engine.Equal, e.take(tokens, 1, k*step, places, 1), e.device(hostValue(want)))
		if found != engine.None {
			same = e.Mul(found, same)
		}
		found = same
	}
	c := e.Reduce(engine.Sum, found, false, 1)
	i := e.device(hostValue(at))
	if e.Err() != nil {
		return engine.None, e.Err()
	}
	return e.Emit(engine.Op{Kind: engine.GatherGrad, In: []engine.TensorID{c, i}, Axes: []int{1}, Shape: []int{s[0], width}})[0], e.Err()
}
