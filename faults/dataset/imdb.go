package dataset

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/ulikunitz/xz"

	"netmend/data"
)

// imdbWords is how many words the networks of texts know: the most frequent ones, and the three indices before them, as
// keras.datasets.imdb.load_data(num_words=20000) numbers them.
const (
	imdbWords  = 20_000
	wordStart  = 1
	wordRare   = 2 // of a word that is not among them
	wordOffset = 3 // the most frequent word is 4; 0 fills up short texts
)

// imdb reads the Large Movie Review Dataset (Maas et al. 2011) as texts of so many words: longer ones lose their beginning, shorter ones are filled
// up in front, as Keras' pad_sequences does. The rows stay in the order of the files, all negative reviews (class 0) before all positive ones.
func imdb(length int) func(root string) (train, test data.Set, err error) {
	return func(root string) (train, test data.Set, err error) {
		var parts [2]reviews
		for i, name := range []string{"train.tsv.xz", "test.tsv.xz"} {
			path, err := present(root, "imdb", name)
			if err != nil {
				return train, test, err
			}
			if parts[i], err = readReviews(path); err != nil {
				return train, test, fmt.Errorf("%q: %w", path, err)
			}
		}
		index := vocabulary(parts[0].texts, imdbWords-wordOffset-1)
		return parts[0].set(index, length), parts[1].set(index, length), nil
	}
}

// reviews are texts as words, and their classes.
type reviews struct {
	texts  [][]string
	labels []int32
}

// readReviews reads lines of a class (0 or 1), an id and a text, separated by tabs.
func readReviews(path string) (r reviews, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	unpacked, err := xz.NewReader(bufio.NewReader(f))
	if err != nil {
		return r, err
	}
	lines := bufio.NewReader(unpacked)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			fields := strings.SplitN(line, "\t", 3)
			label, bad := strconv.ParseUint(fields[0], 10, 1)
			if bad != nil || len(fields) != 3 {
				return r, fmt.Errorf("line %d is no class 0 or 1, id and text", len(r.labels)+1)
			}
			r.texts, r.labels = append(r.texts, words(fields[2])), append(r.labels, int32(label))
		}
		if err == io.EOF {
			return r, nil
		}
		if err != nil {
			return r, err
		}
	}
}

// words are a text's runs of letters, digits and apostrophes, in lower case.
func words(text string) []string {
	text = strings.ReplaceAll(strings.ToLower(text), "<br />", " ")
	return strings.FieldsFunc(text, func(c rune) bool { return c != '\'' && !unicode.IsLetter(c) && !unicode.IsDigit(c) })
}

// vocabulary numbers the most frequent words, at most so many, from wordOffset + 1; of words that are equally frequent the first in the alphabet
// comes first.
func vocabulary(texts [][]string, most int) map[string]int32 {
	count := map[string]int{}
	for _, t := range texts {
		for _, w := range t {
			count[w]++
		}
	}
	sorted := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], strings.Compare(a, b)) })
	index := map[string]int32{}
	for i, w := range sorted[:min(most, len(sorted))] {
		index[w] = int32(wordOffset + 1 + i)
	}
	return index
}

// set is the reviews as indices [length].
func (r reviews) set(index map[string]int32, length int) data.Set {
	x := make([]int32, len(r.texts)*length)
	for i, t := range r.texts {
		row := x[i*length : (i+1)*length]
		at := length - len(t) // of the first word
		if at > 0 {
			row[at-1] = wordStart
		}
		for k := max(0, at); k < length; k++ {
			if row[k] = index[t[k-at]]; row[k] == 0 {
				row[k] = wordRare
			}
		}
	}
	return data.Set{
		Inputs:  []data.Array{{Name: "x", Shape: []int{len(r.texts), length}, Int: x}},
		Targets: []data.Array{{Name: "y", Shape: []int{len(r.labels)}, Int: r.labels}},
	}
}
