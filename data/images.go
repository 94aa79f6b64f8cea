package data

import (
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg"
	_ "image/png"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

var imageName = regexp.MustCompile(`\.(png|jpe?g)$`)

// picture is one image file with its class and, once looked at, its size.
type picture struct {
	file
	class         string
	width, height int
	gray          bool
}

// openImages opens a folder of images: CLASS/FILE, or train/CLASS/FILE and test/CLASS/FILE. Labels number the class names in sorted order.
// The rows take the classes in turn, the files of a class in the order of their names.
//
// Images are [N,height,width,channels] floats of 0..255: one channel where all of them are gray, else red, green, blue. As with
// PIL's convert("RGB"), alpha is dropped; samples of 16 bits keep their upper 8. JPEGs decode to within 4 of libjpeg's values, whose chroma
// interpolation is followed (upsampleChroma). All images have one size.
func openImages(files []file, o Options, l *limits) (Source, error) {
	train, test, err := classFolders(files)
	if err != nil {
		return Source{}, err
	}
	names := map[string]bool{}
	for _, p := range slices.Concat(train, test) {
		names[p.class] = true
	}
	classes := slices.Sorted(maps.Keys(names)) // before the limit, which must not renumber them
	train, test = inTurn(train), inTurn(test)
	if o.Limit > 0 && o.Limit < len(train) {
		train = train[:o.Limit]
	}
	all := slices.Concat(train, test)
	if err := inParallel(len(all), func(i int) error { return all[i].look(l) }); err != nil {
		return Source{}, err
	}
	channels := 1
	for i := range all {
		p, first := &all[i], &all[0]
		if p.width != first.width || p.height != first.height {
			return Source{}, fmt.Errorf("%q is %dx%d, %q is %dx%d: all images must have one size",
				p.path, p.width, p.height, first.path, first.width, first.height)
		}
		if !p.gray {
			channels = 3
		}
	}
	s := Source{Format: "images"}
	if s.Train, err = readImages(all[:len(train)], channels, classes, l); err != nil {
		return Source{}, err
	}
	if len(test) > 0 {
		s.Test, err = readImages(all[len(train):], channels, classes, l)
	}
	return s, err
}

// classFolders tells training and test files and their classes from the paths. Folders that all files share are passed over.
func classFolders(files []file) (train, test []picture, err error) {
	dirs := make([][]string, len(files))
	for i, f := range files {
		parts := strings.Split(f.path, "/")
		dirs[i] = parts[:len(parts)-1]
	}
	depth := 0 // of the folder that holds the classes or the parts
	for len(dirs[0]) > depth+1 && !slices.ContainsFunc(dirs, func(d []string) bool {
		return len(d) <= depth+1 || d[depth] != dirs[0][depth]
	}) {
		depth++
	}
	divided := slices.ContainsFunc(dirs, func(d []string) bool { return len(d) == depth+2 })
	for i, f := range files {
		d := dirs[i][min(depth, len(dirs[i])):]
		switch {
		case len(d) == 0:
			return nil, nil, fmt.Errorf("%q lies in no class folder: put the images of every class into a folder of its name", f.path)
		case !divided && len(d) == 1:
			train = append(train, picture{file: f, class: d[0]})
		case divided && len(d) == 2 && d[0] == "train":
			train = append(train, picture{file: f, class: d[1]})
		case divided && len(d) == 2 && d[0] == "test":
			test = append(test, picture{file: f, class: d[1]})
		default:
			return nil, nil, fmt.Errorf("%q does not fit: images lie in CLASS/FILE, or in train/CLASS/FILE and test/CLASS/FILE", f.path)
		}
	}
	if len(train) == 0 {
		return nil, nil, fmt.Errorf("there are no training images, only test images")
	}
	return train, test, nil
}

// inTurn orders the pictures by taking one of every class in turn, classes and files by name.
func inTurn(pictures []picture) []picture {
	byClass := map[string][]picture{}
	var classes []string
	longest := 0
	for _, p := range pictures {
		if byClass[p.class] == nil {
			classes = append(classes, p.class)
		}
		byClass[p.class] = append(byClass[p.class], p)
		longest = max(longest, len(byClass[p.class]))
	}
	slices.Sort(classes)
	var out []picture
	for i := range longest {
		for _, c := range classes {
			if i < len(byClass[c]) {
				out = append(out, byClass[c][i])
			}
		}
	}
	return out
}

// look reads the header of an image, so that a size is known before a pixel is decoded.
func (p *picture) look(l *limits) error {
	r, err := p.open()
	if err != nil {
		return fmt.Errorf("cannot open %q: %w", p.path, unwrapPath(err))
	}
	defer r.Close()
	c, _, err := image.DecodeConfig(r)
	if err != nil {
		return fmt.Errorf("%q is no PNG or JPEG image: %w", p.path, err)
	}
	p.width, p.height = c.Width, c.Height
	p.gray = c.ColorModel == color.GrayModel || c.ColorModel == color.Gray16Model
	// Go's decoders take up to 8 bytes a pixel; a few hundred megapixels in one image are no data set.
	if int64(c.Width)*int64(c.Height) > l.max/64 {
		return fmt.Errorf("%q is %dx%d: too large for the limit of %d bytes", p.path, c.Width, c.Height, l.max)
	}
	return nil
}

// readImages decodes pictures of one size, on all cores.
func readImages(pictures []picture, channels int, classes []string, l *limits) (Set, error) {
	n, h, w := len(pictures), pictures[0].height, pictures[0].width
	shape := []int{n, h, w, channels}
	total, err := elements(shape)
	if err != nil {
		return Set{}, err
	}
	if err := l.take(total); err != nil {
		return Set{}, err
	}
	x := Array{Name: "x", Shape: shape, Float: make([]float32, total)}
	y := Array{Name: "y", Shape: []int{n}, Int: make([]int32, n)}
	size := h * w * channels
	err = inParallel(n, func(i int) error {
		p := &pictures[i]
		at, _ := slices.BinarySearch(classes, p.class)
		y.Int[i] = int32(at)
		r, err := p.open()
		if err != nil {
			return fmt.Errorf("cannot open %q: %w", p.path, unwrapPath(err))
		}
		defer r.Close()
		m, _, err := image.Decode(r)
		if err != nil {
			return fmt.Errorf("%q: the image is damaged: %w", p.path, err)
		}
		if b := m.Bounds(); b.Dx() != w || b.Dy() != h {
			return fmt.Errorf("%q: the image changed while it was read", p.path)
		}
		if y, ok := m.(*image.YCbCr); ok {
			m = upsampleChroma(y)
		}
		pixels(x.Float[i*size:(i+1)*size], m, channels)
		return nil
	})
	return Set{Inputs: []Array{x}, Targets: []Array{y}, Classes: classes}, err
}

// pixels writes an image as height x width x channels.
func pixels(to []float32, m image.Image, channels int) {
	b := m.Bounds()
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, bl := rgb(m, x, y)
			if to[i] = float32(r); channels == 3 {
				to[i+1], to[i+2] = float32(g), float32(bl)
			}
			i += channels
		}
	}
}

// rgb is one pixel with 8 bits per channel, not multiplied by alpha.
func rgb(m image.Image, x, y int) (r, g, b uint8) {
	switch m := m.(type) {
	case *image.YCbCr:
		return color.YCbCrToRGB(m.Y[m.YOffset(x, y)], m.Cb[m.COffset(x, y)], m.Cr[m.COffset(x, y)])
	case *image.Gray:
		v := m.GrayAt(x, y).Y
		return v, v, v
	case *image.Gray16:
		v := uint8(m.Gray16At(x, y).Y >> 8)
		return v, v, v
	case *image.NRGBA64:
		c := m.NRGBA64At(x, y)
		return uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8)
	}
	c := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
	return c.R, c.G, c.B
}

// inParallel calls f for 0..n-1 on all cores and returns the error of the lowest index that failed.
func inParallel(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	next, firstAt := 0, n
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					mu.Lock()
					if i < firstAt {
						first, firstAt = err, i
					}
					next = n
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}
