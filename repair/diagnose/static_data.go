package diagnose

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"

	"netmend/data"
	"netmend/onnx"
	"netmend/train"
)

// The symptoms of the data, as a training would see them: after the recipe's preprocessing.
const (
	NonFiniteData    Kind = "non_finite_data"
	InputScale       Kind = "input_scale"
	ConstantFeatures Kind = "constant_features"
	ScaleShift       Kind = "scale_shift"   // the search rows are on another scale than the training rows
	FeatureShift     Kind = "feature_shift" // they lie elsewhere
	LabelsNotWhole   Kind = "labels_not_whole"
	LabelsConstant   Kind = "labels_constant"
	MissingClasses   Kind = "missing_classes"
	Imbalance        Kind = "imbalance"
	MajorityGuess    Kind = "majority_guess" // one answer for all rows scores well
	LabelShift       Kind = "label_shift"
	Leakage          Kind = "leakage" // rows that are judged by are trained on
)

// Limits of the rules about data. Those without a source are the author's.
const (
	inputLimit      = 10.0    // AutoTrainer's omega_1, for the mean absolute value of what a layer gets (ICSE 2021; monitor.py, layer_issue)
	constantShare   = 0.5     // of the features: single constant ones, such as the borders of images, do no harm
	shiftDeviations = 1.0     // training deviations by which the mean of a feature moves
	shiftErrors     = 4.0     // standard errors that it must be, too: chance reaches 4 in one of 16,000 features
	shiftShare      = 0.1     // of the features
	leastRows       = 8       // in the search part, to be compared with the training part
	balanceLimit    = 0.5     // TheDeepChecker's labels_perp_min_thresh
	targetVariation = 1e-3    // TheDeepChecker's outputs_var_coef_thresh: standard deviation over mean
	expectedRows    = 5.0     // of a class, that chance leaves out in less than 1 % (exp(-5))
	majorityLimit   = 0.9     // of the rows in one class
	labelShift      = 0.1     // of the rows that one class has more or less; beside it, shiftErrors/2 standard errors
	leakShare       = 0.01    // of the rows; CIFAR-10's test set has 3.3 % that its training set holds as well (Barz and Denzler 2020)
	leakTwins       = 2.0     // times the share of training rows that have a twin among themselves: coarse data repeats itself
	sampleRows      = 4096    // that statistics are taken of: more would not change what is typical
	sampleElements  = 1 << 24 // of an array that are copied for it: 64 MB
)

// spaced picks up to n rows evenly: files are often sorted by class.
func spaced(rows []int32, n int) []int32 {
	if len(rows) <= n {
		return rows
	}
	out := make([]int32, n)
	for i := range out {
		out[i] = rows[i*len(rows)/n]
	}
	return out
}

func element(a *data.Array, i int) float64 {
	if a.IsInt() {
		return float64(a.Int[i])
	}
	return float64(a.Float[i])
}

// data looks at the inputs and the targets of a sample of training and search rows.
func (c *checker) data() {
	for i := range c.Data.Inputs {
		raw := &c.Data.Inputs[i]
		n := min(sampleRows, max(leastRows, sampleElements/max(1, raw.RowSize())))
		trained, searched := spaced(c.Data.Train, n), spaced(c.Data.Search, n)
		c.nonFinite(raw, trained, searched)
		if in := c.inputNamed(i); raw.IsInt() || in != nil && isInteger(in.Type.Elem) || len(trained) == 0 {
			continue // token ids have no scale
		}
		a := c.prepared(i, slices.Concat(trained, searched), len(trained))
		of, than := columnsOf(&a, 0, len(trained)), columnsOf(&a, len(trained), len(trained)+len(searched))
		c.scale(i, of)
		if share := of.constantShare(); len(a.Shape) == 2 && len(trained) > 1 && share > constantShare {
			c.add(ConstantFeatures, raw.Name, "share of features that have one value", share, constantShare)
		}
		if len(searched) >= leastRows {
			c.shift(raw.Name, of, than, len(a.Shape) == 2)
		}
	}
	for i := range c.Data.Targets {
		c.nonFinite(&c.Data.Targets[i], spaced(c.Data.Train, sampleRows), spaced(c.Data.Search, sampleRows))
	}
}

// inputNamed is the graph's input that a data array goes into: the one of its name, or the one in its place.
func (c *checker) inputNamed(i int) *onnx.Value {
	ins := c.g.DataInputs()
	if k := slices.IndexFunc(ins, func(v onnx.Value) bool { return v.Name == c.Data.Inputs[i].Name }); k >= 0 {
		return &ins[k]
	}
	if i < len(ins) {
		return &ins[i]
	}
	return nil
}

// inputName is the graph's name of a data array, which edits target.
func (c *checker) inputName(i int) string {
	if in := c.inputNamed(i); in != nil {
		return in.Name
	}
	return c.Data.Inputs[i].Name
}

func isInteger(t onnx.DataType) bool {
	return t == onnx.Int64 || t == onnx.Int32 || t == onnx.Int16 || t == onnx.Int8 || t == onnx.Uint8 || t == onnx.Uint16 || t == onnx.Uint32
}

// prepared are some rows of an input as the recipe's preprocessing hands them to the model. What is fitted is fitted on the first trained of
// them, which stand for the training rows; the others stand for the search rows.
func (c *checker) prepared(i int, rows []int32, trained int) data.Array {
	a := *c.Data.Inputs[i].Select(rows)
	d := data.Splits{Set: c.Data.Set} // arrays are only looked up by name there
	for k := range rows {
		if k < trained {
			d.Train = append(d.Train, int32(k))
		} else {
			d.Search = append(d.Search, int32(k))
		}
	}
	p, err := train.PreprocessInput(a, c.inputName(i), c.Recipe, d)
	if err != nil {
		return *a.AsFloat() // training says why the steps cannot be applied
	}
	return *p.AsFloat()
}

func (c *checker) nonFinite(a *data.Array, trained, searched []int32) {
	count := func(rows []int32) float64 {
		n := 0.0
		for _, row := range rows {
			for k := range a.RowSize() {
				if !finite(element(a, int(row)*a.RowSize()+k)) {
					n++
				}
			}
		}
		return n
	}
	if n := count(trained); n > 0 {
		c.add(NonFiniteData, a.Name, "in the training rows", n, 0)
	}
	if n := count(searched); n > 0 {
		c.add(NonFiniteData, a.Name, "in the search rows", n, 0)
	}
}

// columns are the finite values of every element of a sample.
type columns struct {
	n                   []float64
	mean, meanAbs, m2   []float64 // m2: mean of squares
	least, most, square float64   // of all; square: mean of squares
}

func columnsOf(a *data.Array, from, to int) columns {
	size := a.RowSize()
	s := columns{n: make([]float64, size), mean: make([]float64, size), meanAbs: make([]float64, size), m2: make([]float64, size),
		least: math.Inf(1), most: math.Inf(-1)}
	total := 0.0
	for row := from; row < to; row++ {
		for k, x := range a.Float[row*size : (row+1)*size] {
			v := float64(x)
			if !finite(v) {
				continue
			}
			s.n[k]++
			s.mean[k] += v
			s.meanAbs[k] += math.Abs(v)
			s.m2[k] += v * v
			s.least, s.most = min(s.least, v), max(s.most, v)
			s.square += v * v
			total++
		}
	}
	for k, n := range s.n {
		n = max(1, n)
		s.mean[k], s.meanAbs[k], s.m2[k] = s.mean[k]/n, s.meanAbs[k]/n, s.m2[k]/n
	}
	s.square /= max(1, total)
	return s
}

// deviation is the standard deviation of a column; 0 below the rounding of its mean square.
func (s *columns) deviation(k int) float64 {
	v := s.m2[k] - s.mean[k]*s.mean[k]
	if v <= 1e-12*s.m2[k] {
		return 0
	}
	return math.Sqrt(v)
}

func (s *columns) constantShare() float64 {
	n := 0.0
	for k := range s.n {
		if s.deviation(k) == 0 {
			n++
		}
	}
	return n / float64(max(1, len(s.n)))
}

// scale judges the size of an input: of the largest feature of a table, of all elements of anything else.
func (c *checker) scale(i int, s columns) {
	name := c.inputName(i)
	if c.scaledInGraph(name) {
		return
	}
	a := &c.Data.Inputs[i]
	if len(a.Shape) == 2 {
		if v := slices.Max(append([]float64{0}, s.meanAbs...)); v >= inputLimit {
			c.add(InputScale, name, "mean absolute value of the largest feature", v, inputLimit)
		}
		return
	}
	sum := 0.0
	for _, v := range s.meanAbs {
		sum += v
	}
	if v := sum / float64(max(1, len(s.meanAbs))); v >= inputLimit {
		c.add(InputScale, name, "mean absolute value", v, inputLimit)
	}
}

// scaledInGraph says whether the first thing that happens to an input is a scaling by constants or a normalisation.
func (c *checker) scaledInGraph(input string) bool {
	value := input
	for range len(c.g.Nodes) {
		users := c.users[value]
		if len(users) != 1 {
			return false
		}
		switch n := users[0]; {
		case n.Is("BatchNormalization"), n.Is("InstanceNormalization"), n.Is("LayerNormalization"):
			return true
		case (n.Is("Sub") || n.Is("Div") || n.Is("Mul")) && (c.constant(n.Input(0)) || c.constant(n.Input(1))):
			return true
		case reshapers[n.OpType], n.Is("Cast"):
			value = n.Output(0)
		default:
			return false
		}
	}
	return false
}

// shift compares the search rows with the training rows: one program's two branches often prepare them differently.
func (c *checker) shift(name string, of, than columns, table bool) {
	if a, b := math.Sqrt(of.square), math.Sqrt(than.square); a > 0 && b > 0 && (b/a > scaleRatio || a/b > scaleRatio) {
		c.add(ScaleShift, name, "size of the search rows over that of the training rows", b/a, scaleRatio)
		return
	}
	if !table {
		return
	}
	moved, all := 0.0, 0.0
	for k := range of.n {
		d := of.deviation(k)
		if d == 0 || of.n[k] < leastRows || than.n[k] < leastRows {
			continue
		}
		all++
		if gap := math.Abs(of.mean[k] - than.mean[k]); gap > shiftDeviations*d && gap > shiftErrors*d*math.Sqrt(1/of.n[k]+1/than.n[k]) {
			moved++
		}
	}
	if all > 0 && moved/all > shiftShare {
		c.add(FeatureShift, name, "share of features whose mean in the search rows is elsewhere", moved/all, shiftShare)
	}
}

// labels looks at the first target.
func (c *checker) labels() {
	if len(c.Data.Targets) == 0 || len(c.Data.Train) == 0 {
		return
	}
	a := &c.Data.Targets[0]
	labels, ok := data.Labels(a)
	if c.Recipe.Task != train.Classification || !ok {
		c.targets(a)
		return
	}
	most := int32(0)
	for _, v := range labels {
		most = max(most, v)
	}
	classes := max(int(most)+1, a.RowSize())
	if classes > len(labels) && classes > sampleRows { // these are no classes
		return
	}
	trained, searched := data.ClassCounts(labels, c.Data.Train, classes), []int(nil)
	if len(c.Data.Search) > 0 {
		searched = data.ClassCounts(labels, c.Data.Search, classes)
	}
	c.classBalance(a.Name, trained, len(c.Data.Train))
	c.classShift(a.Name, trained, searched)
}

// order looks at the rows of a training that does not shuffle them: classes that follow each other in blocks are learned and forgotten one by one. In a
// random order a row is followed by one of its own class with the probability that two rows are of one class.
func (c *checker) order() {
	if len(c.Data.Targets) > 0 && c.Recipe.Task == train.Classification {
		if labels, ok := data.Labels(&c.Data.Targets[0]); ok {
			count := map[int32]float64{}
			same, n := 0.0, float64(len(c.Data.Train))
			for i, row := range c.Data.Train {
				count[labels[row]]++
				if i > 0 && labels[row] == labels[c.Data.Train[i-1]] {
					same++
				}
			}
			chance := 0.0
			for _, k := range count {
				chance += k / n * (k / n)
			}
			share := same / max(1, n-1)
			if share > (1+chance)/2 && share-chance > shiftErrors*math.Sqrt(chance*(1-chance)/n) {
				c.add(ClassAfterClass, "", "share of the rows that are followed by one of their own class", share, chance)
				return
			}
		}
	}
	c.add(NotShuffled, "", "epochs in the order of the file", 1, 0)
}

// targets looks at numbers: labels of classes that are none, and values that hardly differ.
func (c *checker) targets(a *data.Array) {
	size := a.RowSize()
	rows := spaced(c.Data.Train, sampleRows)
	if c.Recipe.Task == train.Classification {
		if n := c.fractional(a, rows); size == 1 && !a.IsInt() && n > 0 {
			c.add(LabelsNotWhole, a.Name, "labels that are no whole numbers", n, 0)
		}
		return
	}
	if len(rows) < 2 || len(rows)*size > sampleElements {
		return
	}
	s := columnsOf(a.Select(rows).AsFloat(), 0, len(rows))
	most := 0.0 // one constant element among many, such as a pixel at the border, does no harm
	for k := range size {
		if d := s.deviation(k); d > 0 {
			most = max(most, d/max(math.Abs(s.mean[k]), 1e-300))
		}
	}
	if most <= targetVariation {
		c.add(LabelsConstant, a.Name, "standard deviation of the targets over their mean", most, targetVariation)
	}
}

func (c *checker) fractional(a *data.Array, rows []int32) float64 {
	n := 0.0
	for _, row := range rows {
		for k := range a.RowSize() {
			if v := element(a, int(row)*a.RowSize()+k); v != math.Trunc(v) {
				n++
			}
		}
	}
	return n
}

// classBalance is TheDeepChecker's: the labels' perplexity exp(H), brought to 0..1 as (exp(H) - 1) / (classes - 1) (metadata.py, InputData).
func (c *checker) classBalance(name string, counts []int, rows int) {
	entropy, largest := 0.0, 0
	for _, n := range counts {
		if largest = max(largest, n); n > 0 {
			p := float64(n) / float64(rows)
			entropy -= p * math.Log(p)
		}
	}
	if largest == rows {
		c.add(LabelsConstant, name, "classes in the training rows", 1, 2)
		return
	}
	if len(counts) < 2 {
		return
	}
	if v := (math.Exp(entropy) - 1) / float64(len(counts)-1); v < balanceLimit {
		c.add(Imbalance, name, "perplexity of the labels, 1 where all classes are alike", v, balanceLimit)
	}
	if share := float64(largest) / float64(rows); share > majorityLimit && slices.Contains(classificationMetrics, c.Recipe.Metric) && c.Recipe.Metric != train.F1 {
		c.add(MajorityGuess, "", "share of the most common class", share, majorityLimit)
	}
}

// classShift compares the classes of the search rows with those of the training rows.
func (c *checker) classShift(name string, trained, searched []int) {
	n, m := float64(len(c.Data.Train)), float64(len(c.Data.Search))
	missing, worst, limit := 0.0, 0.0, labelShift
	for k := range searched {
		p, q := float64(trained[k])/n, float64(searched[k])/max(1, m)
		if trained[k] == 0 && q*n >= expectedRows {
			missing++
		}
		all := (p*n + q*m) / (n + m)
		bound := labelShift + shiftErrors/2*math.Sqrt(all*(1-all)*(1/n+1/max(1, m)))
		if gap := math.Abs(p - q); gap > bound && gap > worst {
			worst, limit = gap, bound
		}
	}
	if missing > 0 {
		c.add(MissingClasses, name, "classes of the search rows that no training row has", missing, 0)
	}
	if worst > limit {
		c.add(LabelShift, name, "share of the rows in one class, search against training", worst, limit)
	}
}

// leaks looks for rows to be judged by that are trained on.
func (c *checker) leaks() {
	if len(c.Data.Inputs) == 0 || len(c.Data.Train) == 0 {
		return
	}
	seed := maphash.MakeSeed()
	seen := make(map[uint64]bool, len(c.Data.Train)) // whether it is there twice
	twins := 0.0
	for _, row := range c.Data.Train {
		h := c.rowHash(seed, int(row))
		twice, there := seen[h]
		switch {
		case there && !twice:
			twins += 2
		case there:
			twins++
		}
		seen[h] = there
	}
	usual := twins / float64(len(c.Data.Train))
	for _, part := range []struct {
		name string
		rows []int32
	}{{"search", c.Data.Search}, {"hold-out", c.Data.Holdout}} {
		rows, shared := spaced(part.rows, sampleRows), 0.0
		for _, row := range rows {
			if _, there := seen[c.rowHash(seed, int(row))]; there {
				shared++
			}
		}
		if share := shared / float64(max(1, len(rows))); len(rows) >= leastRows && share > max(leakShare, leakTwins*usual) {
			c.add(Leakage, "", "share of the "+part.name+" rows that are training rows too", share, max(leakShare, leakTwins*usual))
		}
	}
}

// rowHash is of the inputs of a row.
func (c *checker) rowHash(seed maphash.Seed, row int) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	var buf [4]byte
	for i := range c.Data.Inputs {
		a := &c.Data.Inputs[i]
		size := a.RowSize()
		for k := row * size; k < (row+1)*size; k++ {
			if a.IsInt() {
				binary.LittleEndian.PutUint32(buf[:], uint32(a.Int[k]))
			} else {
				binary.LittleEndian.PutUint32(buf[:], math.Float32bits(a.Float[k]))
			}
			h.Write(buf[:]) // never fails
		}
	}
	return h.Sum64()
}

// classes is the number of classes that the labels of the training rows have, 0 where they are none.
func (c *checker) classes() int {
	if len(c.Data.Targets) == 0 || c.Recipe.Task != train.Classification {
		return 0
	}
	t := &c.Data.Targets[0]
	labels, ok := data.Labels(t)
	if !ok {
		return 0
	}
	if t.RowSize() > 1 {
		return t.RowSize()
	}
	most := int32(0)
	for _, row := range c.Data.Train {
		most = max(most, labels[row])
	}
	return int(most) + 1
}
