package dataset

import (
	"fmt"
	"path/filepath"
	"slices"

	"netmend/data"
)

// mnist reads the four idx files: [28,28,1], pixels 0..255.
func mnist(root string) (train, test data.Set, err error) {
	path, err := present(root, "mnist")
	if err != nil {
		return train, test, err
	}
	return images(path, 28, 28, 1)
}

// cifar10 reads the binary release (cifar10/*.bin) or else the archive of JPEG copies: [32,32,3], pixels 0..255, classes in the order of their names,
// which is the release's.
func cifar10(root string) (train, test data.Set, err error) {
	path, err := present(root, "cifar10")
	if err != nil {
		return train, test, err
	}
	if bins, _ := filepath.Glob(filepath.Join(path, "*.bin")); len(bins) == 0 {
		if path, err = present(root, "cifar10", "cifar10-jpeg.tar.xz"); err != nil {
			return train, test, err
		}
	}
	return images(path, 32, 32, 3)
}

// channelsFirst gives the images of cifar10 in the layout of networks from PyTorch, [3,32/block,32/block]: a pixel is the mean of block x block of them.
func channelsFirst(block int) func(root string) (train, test data.Set, err error) {
	return func(root string) (train, test data.Set, err error) {
		if train, test, err = cifar10(root); err != nil {
			return train, test, err
		}
		for _, part := range []*data.Set{&train, &test} {
			part.Inputs[0] = moveChannels(part.Inputs[0], block)
		}
		return train, test, nil
	}
}

// moveChannels turns images [N,height,width,channels] into [N,channels,height/block,width/block]; block divides both sides.
func moveChannels(a data.Array, block int) data.Array {
	n, height, width, channels := a.Shape[0], a.Shape[1]/block, a.Shape[2]/block, a.Shape[3]
	out := data.Array{Name: a.Name, Shape: []int{n, channels, height, width}, Float: make([]float32, n*channels*height*width)}
	for i := range n {
		from, to := a.Float[i*a.RowSize():], out.Float[i*out.RowSize():]
		for y := range height * block {
			for x := range width * block {
				for c := range channels {
					to[(c*height+y/block)*width+x/block] += from[(y*width*block+x)*channels+c] / float32(block*block)
				}
			}
		}
	}
	return out
}

// images opens a set with a test part and gives its pictures the shape [height,width,channels].
func images(path string, height, width, channels int) (train, test data.Set, err error) {
	s, err := data.Open(path, data.Options{})
	if err != nil {
		return train, test, err
	}
	if !s.HasTest() {
		return train, test, fmt.Errorf("%q holds no test part", path)
	}
	for _, part := range []*data.Set{&s.Train, &s.Test} {
		if part.Inputs[0], err = data.Fit(part.Inputs[0], []int{-1, height, width, channels}); err != nil {
			return train, test, err
		}
	}
	return s.Train, s.Test, nil
}

// The Reuters bag: as many words as the published Tokenizer(num_words=10000) keeps, and the divisions of keras.datasets.reuters.load_data and of the
// program.
const (
	reutersWords  = 10_000
	reutersTopics = 46
)

// reuters46 reads documents as word indices (tokens, offsets) and topics (labels) and makes the bags of words that
// Tokenizer(num_words=10000).sequences_to_matrix(mode='binary') makes: column w is 1 where the document has the index w; higher ones are left out.
// The last fifth of the documents are the test part, as load_data(test_split=.2) cuts it.
func reuters46(root string) (train, test data.Set, err error) {
	path, err := present(root, "reuters", "reuters46.npz")
	if err != nil {
		return train, test, err
	}
	arrays, err := data.ReadNpz(path, 0)
	if err != nil {
		return train, test, err
	}
	byName := map[string][]int32{}
	for i := range arrays {
		if a := &arrays[i]; a.IsInt() && len(a.Shape) == 1 {
			byName[a.Name] = a.Int
		}
	}
	tokens, offsets, labels := byName["tokens"], byName["offsets"], byName["labels"]
	n := len(labels)
	if n < 10 || len(offsets) != n+1 || offsets[0] != 0 || int(offsets[n]) != len(tokens) || !slices.IsSorted(offsets) {
		return train, test, fmt.Errorf("%q: the arrays tokens, offsets and labels do not belong together", path)
	}
	if lo, hi := data.LabelRange(labels); lo < 0 || hi >= reutersTopics {
		return train, test, fmt.Errorf("%q: topics are numbered %d..%d, there are %d", path, lo, hi, reutersTopics)
	}
	cut := int(float64(n) * (1 - 0.2)) // as Keras rounds
	learn, _ := TrainTestSplit(cut, 0.2, seed)
	held := make([]int32, n-cut)
	for i := range held {
		held[i] = int32(cut + i)
	}
	bag := func(rows []int32) data.Set {
		x, y := make([]float32, len(rows)*reutersWords), make([]int32, len(rows))
		for i, r := range rows {
			for _, w := range tokens[offsets[r]:offsets[r+1]] {
				if w >= 0 && w < reutersWords {
					x[i*reutersWords+int(w)] = 1
				}
			}
			y[i] = labels[r]
		}
		return labelled([]int{reutersWords}, x, y)
	}
	return bag(learn), bag(held), nil
}
