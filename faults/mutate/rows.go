package mutate

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"netmend/data"
	"netmend/onnx"
	"netmend/repair"
	"netmend/train"
)

// part draws pct % of the rows, rounded down, sorted. The rows of a smaller share are among those of a larger one, so that mutants grow with the
// value that is bisected.
func part(rows []int32, pct float64, r *rand.Rand) []int32 {
	n := int(math.Floor(float64(len(rows)) * pct / 100))
	out := data.BatchOrder(rows, r.Uint64(), 0, true)[:n]
	slices.Sort(out)
	return out
}

// byFrequency are the classes of the training rows, the most frequent first, of equals the smallest.
func byFrequency(rows map[int32][]int32) []int32 {
	order := slices.Sorted(maps.Keys(rows))
	slices.SortStableFunc(order, func(a, b int32) int { return len(rows[b]) - len(rows[a]) })
	return order
}

// labelSites are the targets with two classes at least, or all of a regression.
func labelSites(s repair.Subject) []Site {
	var sites []Site
	for i := range s.Data.Targets {
		_, rows, ok := classes(s, i)
		if ok && len(rows) > 1 || s.Recipe.Task == train.Regression && len(s.Data.Train) > 1 {
			sites = append(sites, percent(s.Data.Targets[i].Name, 100)...)
		}
	}
	return sites
}

func arrayNamed(arrays []data.Array, name string) int {
	return slices.IndexFunc(arrays, func(a data.Array) bool { return a.Name == name })
}

// changeLabels is TCL. A regression gets N(0, std(y)·pct/100) added to every target, std over the training rows.
func changeLabels(s repair.Subject, x Site, v repair.Value, r *rand.Rand) (repair.Subject, error) {
	i := arrayNamed(s.Data.Targets, x.Target)
	s.Data.Targets = slices.Clone(s.Data.Targets)
	if s.Recipe.Task == train.Regression {
		s.Data.Targets[i] = noisy(s.Data.Targets[i], s.Data.Train, s.Data.Train, v.Number/100, r)
		return s, nil
	}
	_, rows, _ := classes(s, i)
	order := byFrequency(rows)
	chosen := part(rows[order[0]], v.Number, r)
	wrong := make([]int32, len(chosen))
	for k := range wrong {
		wrong[k] = order[1+r.IntN(len(order)-1)]
	}
	s.Data.Targets[i] = relabelled(s.Data.Targets[i], chosen, wrong)
	return s, nil
}

// relabelled is a copy of labels, one number or one-hot per row, in which some rows have other classes.
func relabelled(a data.Array, rows, classes []int32) data.Array {
	a.Int, a.Float = slices.Clone(a.Int), slices.Clone(a.Float)
	size := a.RowSize()
	for k, row := range rows {
		at := int(row) * size
		c := int(classes[k])
		switch {
		case size == 1 && a.IsInt():
			a.Int[at] = int32(c)
		case size == 1:
			a.Float[at] = float32(c)
		case a.IsInt():
			clear(a.Int[at : at+size])
			a.Int[at+c] = 1
		default:
			clear(a.Float[at : at+size])
			a.Float[at+c] = 1
		}
	}
	return a
}

// noisy is a copy of an array with N(0, σ·std) added to some rows; std is that of all elements of the training rows (numpy's, ddof 0).
func noisy(a data.Array, rows, trainRows []int32, sigma float64, r *rand.Rand) data.Array {
	a = *a.AsFloat()
	size := a.RowSize()
	n, sum := 0.0, 0.0
	each := func(rows []int32, f func(at int)) {
		for _, row := range rows {
			for at := int(row) * size; at < (int(row)+1)*size; at++ {
				f(at)
			}
		}
	}
	each(trainRows, func(at int) { n, sum = n+1, sum+float64(a.Float[at]) })
	mean, squares := sum/n, 0.0
	each(trainRows, func(at int) { squares += (float64(a.Float[at]) - mean) * (float64(a.Float[at]) - mean) })
	scale := sigma * math.Sqrt(squares/n)
	a.Float = slices.Clone(a.Float)
	each(rows, func(at int) { a.Float[at] += float32(scale * r.NormFloat64()) })
	return a
}

// keepOthers takes training rows out; the arrays stay as they are.
func keepOthers(s repair.Subject, out []int32) repair.Subject {
	s.Data.Train = slices.DeleteFunc(slices.Clone(s.Data.Train), func(r int32) bool {
		_, found := slices.BinarySearch(out, r)
		return found
	})
	return s
}

// deleteRows is TRD. Without classes, a share of all training rows goes.
func deleteRows(s repair.Subject, _ Site, v repair.Value, r *rand.Rand) (repair.Subject, error) {
	_, rows, ok := classes(s, 0)
	if !ok {
		rows = map[int32][]int32{0: s.Data.Train}
	}
	var out []int32
	for _, c := range byFrequency(rows) {
		out = append(out, part(rows[c], v.Number, r)...)
	}
	slices.Sort(out)
	return keepOthers(s, out), nil
}

// rare are the classes with fewer training rows than the average class.
func rare(rows map[int32][]int32, total int) []int32 {
	return slices.DeleteFunc(byFrequency(rows), func(c int32) bool { return len(rows[c])*len(rows) >= total })
}

func unbalanceSites(s repair.Subject) []Site {
	if _, rows, ok := classes(s, 0); ok && len(rare(rows, len(s.Data.Train))) > 0 {
		return percent(dataTarget, 100)
	}
	return nil
}

// unbalance is TUD.
func unbalance(s repair.Subject, _ Site, v repair.Value, r *rand.Rand) (repair.Subject, error) {
	_, rows, _ := classes(s, 0)
	var out []int32
	for _, c := range rare(rows, len(s.Data.Train)) {
		out = append(out, part(rows[c], v.Number, r)...)
	}
	slices.Sort(out)
	return keepOthers(s, out), nil
}

// noiseSites are the inputs that the model takes as numbers and not as indices.
func noiseSites(s repair.Subject) []Site {
	inputs := s.Model.Graph.DataInputs()
	names := make([]string, len(inputs))
	for i := range inputs {
		names[i] = inputs[i].Name
	}
	match, err := data.Match(s.Data.Inputs, names)
	if err != nil {
		return nil // the training says why
	}
	var sites []Site
	for i := range inputs {
		if t := inputs[i].Type.Elem; t.IsFloat() || t == onnx.Undefined {
			sites = append(sites, percent(s.Data.Inputs[match[i]].Name, 100)...)
		}
	}
	return sites
}

// addNoise is TAN: pct % of the training rows get N(0, std(x)·pct/100), std over the training rows.
func addNoise(s repair.Subject, x Site, v repair.Value, r *rand.Rand) (repair.Subject, error) {
	i := arrayNamed(s.Data.Inputs, x.Target)
	s.Data.Inputs = slices.Clone(s.Data.Inputs)
	s.Data.Inputs[i] = noisy(s.Data.Inputs[i], part(s.Data.Train, v.Number, r), s.Data.Train, v.Number/100, r)
	return s, nil
}

func overlapSites(s repair.Subject) []Site {
	var sites []Site
	for i := range s.Data.Targets {
		if _, rows, ok := classes(s, i); ok && len(rows) > 1 {
			sites = append(sites, percent(s.Data.Targets[i].Name, 100)...)
		}
	}
	return sites
}

// overlap is TCO. The repeated rows come behind all others.
func overlap(s repair.Subject, x Site, v repair.Value, r *rand.Rand) (repair.Subject, error) {
	i := arrayNamed(s.Data.Targets, x.Target)
	_, rows, _ := classes(s, i)
	order := byFrequency(rows)
	chosen := part(rows[order[0]], v.Number, r)
	before := s.Data.Rows()
	set, err := data.Concat(s.Data.Set, s.Data.Select(chosen))
	if err != nil {
		return repair.Subject{}, err
	}
	added, wrong := make([]int32, len(chosen)), make([]int32, len(chosen))
	for k := range added {
		added[k], wrong[k] = int32(before+k), order[1]
	}
	set.Targets[i] = relabelled(set.Targets[i], added, wrong)
	s.Data.Set = set
	s.Data.Train = append(slices.Clone(s.Data.Train), added...)
	return s, nil
}
