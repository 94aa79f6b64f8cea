package diagnose

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"netmend/repair"
	"netmend/train"
)

// Suspect is how much a slot is suspected, and which of its values are expected to help.
type Suspect struct {
	Weight float64                  // relative; 1 is an edit of no particular reputation
	Prefer map[repair.Value]float64 // weights of values; those that are not named have 1
}

// priors say how often an edit of an operator is what repairs a network, before anything is known of it. They follow the fault types of the
// published benchmark's ground truths (learning rate, optimizer, loss, output activation, epochs and initialisers lead) and halve for what never
// was one; they are the author's reading, not fitted.
var priors = map[string]float64{"learning_rate": 3, "optimizer": 2, "loss": 1.5, "epochs": 2, "activation": 1, "add_activation": 0.7, "output_head": 2,
	"kernel_initializer": 1, "bias_initializer": 0.3, "batch_size": 1, "batch_normalization": 0.7, "regularizer": 0.3, "dropout": 0.3, "units": 0.3,
	"layer": 0.3, "gradient_clip": 0.5, "input_scaling": 0.5, "preprocessing": 1, "schedule": 0.3, "shuffle": 0.3, "frozen": 1, "early_stopping": 0.3}

// where a rule points.
type where uint8

const (
	there  where = iota // the slot whose target is the symptom's node
	recipe              // the recipe
	every               // all slots of the operator
	output              // the output's slot: activation, or the one to be added
)

// rule is one line of the table: a symptom raises the weight of an operator's slots, and of values.
type rule struct {
	operator string
	at       where
	weight   float64
	prefer   []string // the most promising first
}

var (
	goodKernels = []string{"glorot_uniform", "he_normal", "he_uniform", "glorot_normal"}
	goodHidden  = []string{"relu", "selu", "elu", "leaky_relu"}
	bestHead    = []string{"softmax", "sigmoid"}
	wellPaced   = []string{"adam", "rmsprop", "sgd", "nadam"}
)

// table says what each symptom makes suspicious. Sources: the fix lists of AutoTrainer (ICSE 2021), the decision tree of DeepDiagnosis (ICSE
// 2022) and the hints of UMLAUT (CHI 2021), turned from commands into weights.
var table = map[Kind][]rule{
	OutputNotProbability: {{"add_activation", there, 30, bestHead}, {"activation", there, 30, bestHead}, {"output_head", every, 20, nil}, {"loss", recipe, 10, nil}},
	DoubleSoftmax:        {{"activation", there, 20, []string{"linear"}}, {"loss", recipe, 15, nil}, {"output_head", every, 15, nil}},
	OutputBounded:        {{"activation", there, 30, []string{"linear"}}, {"output_head", every, 15, nil}},
	OutputUnusual:        {{"activation", there, 20, []string{"softmax", "sigmoid", "linear"}}, {"output_head", every, 15, nil}},
	SoftmaxOneUnit:       {{"activation", there, 40, []string{"sigmoid"}}, {"output_head", every, 20, nil}},
	OutputWidth:          {{"output_head", every, 30, nil}},
	LossNotForTask:       {{"loss", recipe, 15, nil}, {"output_head", every, 15, nil}},
	LossNotForTargets:    {{"loss", recipe, 30, nil}},
	LabelsNotWhole:       {{"preprocessing", every, 15, []string{"remove"}}},
	UnevenPreprocessing:  {{"preprocessing", there, 20, []string{"remove", "all_rows"}}},
	ConstantKernel:       {{"kernel_initializer", there, 30, goodKernels}},
	ConstantBias:         {{"bias_initializer", there, 8, []string{"zeros"}}},
	InitialScale:         {{"kernel_initializer", there, 10, goodKernels}, {"batch_normalization", every, 2, nil}},
	LearningRateHigh:     {{"learning_rate", recipe, 10, nil}, {"optimizer", recipe, 4, wellPaced}, {"gradient_clip", recipe, 1, nil}},
	LearningRateLow:      {{"learning_rate", recipe, 15, nil}, {"optimizer", recipe, 4, wellPaced}, {"epochs", recipe, 2, nil}},
	BatchSmall:           {{"batch_size", recipe, 8, []string{"32", "64"}}},
	BatchLarge:           {{"batch_size", recipe, 8, []string{"32", "64", "128"}}, {"epochs", recipe, 3, nil}},
	FewUpdates: {{"epochs", recipe, 8, nil}, {"batch_size", recipe, 3, []string{"16", "32"}}, {"learning_rate", recipe, 4, nil},
		{"optimizer", recipe, 2, wellPaced}},
	HiddenLinear:         {{"add_activation", there, 10, goodHidden}},
	HiddenSaturating:     {{"activation", there, 6, goodHidden}, {"batch_normalization", every, 1, nil}},
	HiddenExponential:    {{"activation", there, 10, goodHidden}},
	HiddenSoftmax:        {{"activation", there, 20, goodHidden}},
	StrongRegularizer:    {{"regularizer", there, 20, []string{"none", "l2=0.0001"}}},
	HighDropout:          {{"dropout", there, 8, nil}},
	TightClip:            {{"gradient_clip", recipe, 20, []string{"none", "global_norm=1"}}},
	FastDecay:            {{"schedule", recipe, 20, []string{"none"}}},
	InputScale:           {{"input_scaling", there, 8, []string{"standardize", "minmax"}}, {"learning_rate", recipe, 2, nil}, {"batch_normalization", every, 1, nil}},
	DropoutBeforeNorm:    {{"dropout", there, 6, nil}},
	DropoutBeforePooling: {{"dropout", there, 1, nil}},
	FeatureMapSmall:      {{"layer", every, 4, nil}},
	StackedActivations:   {{"activation", there, 15, []string{"linear"}}},
	MissingFlatten:       {{"output_head", every, 5, nil}},
	ScaleShift:           {{"preprocessing", every, 20, []string{"all_rows", "remove"}}},
	FeatureShift:         {{"preprocessing", every, 5, []string{"all_rows", "remove"}}},
	Frozen:               {{"frozen", there, 10, nil}},
	NotShuffled:          {{"shuffle", recipe, 5, nil}},
	ClassAfterClass:      {{"shuffle", recipe, 40, nil}},
	ShortPatience:        {{"early_stopping", recipe, 6, nil}},

	NonFiniteOutput: {{"kernel_initializer", every, 5, goodKernels}, {"input_scaling", every, 5, []string{"standardize", "minmax"}}, {"activation", every, 2, goodHidden},
		{"batch_normalization", every, 1, nil}},
	InitialLoss: {{"kernel_initializer", every, 4, goodKernels}, {"input_scaling", every, 3, []string{"standardize", "minmax"}}, {"loss", recipe, 3, nil},
		{"output_head", every, 4, nil}, {"bias_initializer", every, 1, []string{"zeros"}}},
	InputIgnored: {{"kernel_initializer", every, 6, goodKernels}, {"activation", every, 3, goodHidden}, {"input_scaling", every, 2, []string{"standardize"}}},
	CannotOverfit: {{"learning_rate", recipe, 8, nil}, {"optimizer", recipe, 5, wellPaced}, {"loss", recipe, 5, nil}, {"output_head", every, 5, nil},
		{"activation", output, 5, bestHead}, {"add_activation", output, 5, bestHead}, {"kernel_initializer", every, 3, goodKernels}, {"dropout", every, 1, nil}},
	TrainEvalDisagree: {{"batch_size", recipe, 3, []string{"32", "64"}}, {"dropout", every, 3, nil}, {"epochs", recipe, 3, nil}, {"batch_normalization", every, 1, nil}},
	ConstantOutput: {{"learning_rate", recipe, 6, nil}, {"output_head", every, 4, nil}, {"kernel_initializer", every, 3, goodKernels}, {"loss", recipe, 3, nil},
		{"preprocessing", every, 3, []string{"all_rows", "remove"}}, {"activation", every, 2, goodHidden}},
	LossMetricDisagree: {{"loss", recipe, 6, nil}, {"output_head", every, 6, nil}},
	Saturation: {{"activation", there, 6, goodHidden}, {"kernel_initializer", every, 4, goodKernels}, {"input_scaling", every, 4, []string{"standardize", "minmax"}},
		{"learning_rate", recipe, 3, nil}, {"batch_normalization", every, 2, nil}},

	NonFiniteLoss: {{"learning_rate", recipe, 12, nil}, {"gradient_clip", recipe, 5, nil}, {"input_scaling", every, 3, []string{"standardize", "minmax"}},
		{"loss", recipe, 4, nil}, {"kernel_initializer", every, 2, goodKernels}, {"output_head", every, 4, nil}, {"optimizer", recipe, 3, wellPaced}},
	LossRising: {{"learning_rate", recipe, 10, nil}, {"gradient_clip", recipe, 4, nil}, {"optimizer", recipe, 3, wellPaced}},
	NoLearning: {{"learning_rate", recipe, 8, nil}, {"optimizer", recipe, 5, wellPaced}, {"loss", recipe, 5, nil}, {"output_head", every, 5, nil},
		{"activation", output, 5, bestHead}, {"add_activation", output, 5, bestHead}, {"kernel_initializer", every, 3, goodKernels}, {"activation", every, 2, goodHidden},
		{"batch_normalization", every, 1, nil}, {"regularizer", every, 1, nil}},
	SlowConvergence: {{"learning_rate", recipe, 8, nil}, {"optimizer", recipe, 5, wellPaced}, {"epochs", recipe, 4, nil}, {"kernel_initializer", every, 1, goodKernels},
		{"batch_normalization", every, 1, nil}, {"input_scaling", every, 2, []string{"standardize"}}},
	StillImproving:    {{"epochs", recipe, 8, nil}, {"learning_rate", recipe, 3, nil}},
	Plateau:           {{"learning_rate", recipe, 4, nil}, {"optimizer", recipe, 3, wellPaced}, {"schedule", recipe, 2, nil}},
	Oscillation:       {{"learning_rate", recipe, 8, nil}, {"batch_size", recipe, 4, nil}, {"optimizer", recipe, 4, wellPaced}, {"schedule", recipe, 3, nil}, {"gradient_clip", recipe, 2, nil}},
	Overfitting:       {{"regularizer", every, 2, []string{"l2=0.001", "l2=0.0001"}}, {"dropout", every, 2, nil}, {"early_stopping", recipe, 3, nil}},
	ExplodingGradient: {{"gradient_clip", recipe, 6, nil}, {"learning_rate", recipe, 6, nil}, {"kernel_initializer", every, 3, goodKernels}, {"input_scaling", every, 3, nil}},
	VanishingGradient: {{"activation", every, 3, goodHidden}, {"batch_normalization", every, 3, nil}, {"kernel_initializer", every, 3, goodKernels}, {"kernel_initializer", there, 4, goodKernels}},
	NoGradient: {{"kernel_initializer", there, 6, goodKernels}, {"kernel_initializer", every, 4, goodKernels}, {"activation", every, 3, goodHidden}, {"loss", recipe, 4, nil},
		{"activation", output, 5, bestHead}, {"output_head", every, 4, nil}},
	DeadUnits: {{"kernel_initializer", every, 3, goodKernels}, {"activation", there, 6, []string{"leaky_relu", "elu", "selu"}}, {"learning_rate", recipe, 4, nil},
		{"bias_initializer", every, 1, []string{"zeros"}}, {"batch_normalization", every, 1, nil}},
	LargeActivation:  {{"input_scaling", every, 4, nil}, {"learning_rate", recipe, 2, nil}, {"batch_normalization", every, 1, nil}, {"activation", there, 2, goodHidden}},
	WeightsUnchanged: {{"learning_rate", recipe, 5, nil}, {"optimizer", recipe, 3, wellPaced}, {"frozen", there, 5, nil}, {"kernel_initializer", every, 1, goodKernels}},
	NonFiniteWeights: {{"learning_rate", recipe, 10, nil}, {"gradient_clip", recipe, 4, nil}},
}

// unrepairable are the kinds that no operator can do anything about: they want other data, another metric or another graph, or harm too little
// to be worth an edit. People want to know of them all the same.
var unrepairable = []Kind{MetricBlind, MajorityGuess, UselessBias, NonFiniteData, ConstantFeatures, LabelsConstant, MissingClasses, Imbalance, LabelShift, Leakage, Untrainable}

// preferFactor is how much more a value counts that a rule names.
const preferFactor = 6

// orderFactor is what a value counts beside the one that the rule names before it: enough to decide between equals.
const orderFactor = 0.99

// Suspicion turns evidence into weights of the slots of a space by the shipped table, see [Table.Suspicion].
func Suspicion(symptoms []Symptom, space repair.Space) map[repair.Key]Suspect {
	return Shipped().Suspicion(symptoms, space)
}

// Suspicion turns evidence into weights of the slots of a space. Slots that no evidence points at keep their prior.
func (t *Table) Suspicion(symptoms []Symptom, space repair.Space) map[repair.Key]Suspect {
	out := make(map[repair.Key]Suspect, len(space))
	for _, r := range t.weigh(symptoms, space) {
		out[r.Key()] = r.Suspect
	}
	return out
}

// outputTargets are the nodes that rules about the output have named.
func outputTargets(symptoms []Symptom) []string {
	var names []string
	for _, s := range symptoms {
		switch s.Kind {
		case OutputNotProbability, DoubleSoftmax, OutputBounded, OutputUnusual, SoftmaxOneUnit:
			names = append(names, s.Node)
		}
	}
	return names
}

// byRule lists the rules that point at a slot, each once however many symptoms of the kind there are.
func byRule(symptoms []Symptom, x repair.Slot, outputs []string) map[Kind][]rule {
	out := map[Kind][]rule{}
	for _, s := range symptoms {
		if _, done := out[s.Kind]; done && s.Node != x.Target {
			continue
		}
		var hit []rule
		for _, r := range table[s.Kind] {
			if r.operator != x.Operator || r.at == there && s.Node != x.Target || r.at == output && !slices.Contains(outputs, x.Target) {
				continue
			}
			hit = append(hit, r)
		}
		if len(hit) > len(out[s.Kind]) {
			out[s.Kind] = hit
		}
	}
	return out
}

// Ranking is a slot that evidence points at.
type Ranking struct {
	repair.Slot
	Suspect
	Why    []Kind         // the evidence, sorted
	Values []repair.Value // that are expected to help, the most promising first; none: any may
}

// Rank lists the slots that evidence points at, the most suspected first, by the shipped table.
func Rank(symptoms []Symptom, space repair.Space) []Ranking {
	return Shipped().Rank(symptoms, space)
}

// Rank lists the slots that evidence points at, the most suspected first.
func (t *Table) Rank(symptoms []Symptom, space repair.Space) []Ranking {
	all := slices.DeleteFunc(t.weigh(symptoms, space), func(r Ranking) bool { return len(r.Why) == 0 })
	slices.SortStableFunc(all, func(a, b Ranking) int { return cmp.Compare(b.Weight, a.Weight) })
	return all
}

// pointing is how much evidence must raise a weight to be given as a reason: half of what an edit of no particular reputation has.
const pointing = 0.5

// weigh gives every slot of a space, in its order. What is seen in a training is mostly an effect of what rules have seen before it, where they have
// seen something ("explaining away", Pearl 1988, section 2.2.4): by how much it raises a weight, of a slot or of a value, is multiplied by the share of all
// weight that was there before any evidence, in what is there with the evidence from before the training.
func (t *Table) weigh(symptoms []Symptom, space repair.Space) []Ranking {
	outputs, nodes, of := outputTargets(symptoms), places(symptoms), targets(space)
	all := make([]Ranking, len(space))
	votes := make([]map[repair.Value]float64, len(space)) // what the rules that name a value weigh
	effects := make([]Suspect, len(space))                // what effects add
	before, causes := 0.0, 0.0
	for i, x := range space {
		r := Ranking{Slot: x, Suspect: Suspect{Weight: prior(x.Operator, len(of[x.Operator])) * t.habit(x), Prefer: map[repair.Value]float64{}}}
		votes[i], effects[i].Prefer = map[repair.Value]float64{}, map[repair.Value]float64{}
		before += r.Weight
		for _, p := range t.pointers(x, byRule(symptoms, x, outputs), nodes, of[x.Operator]) {
			if p.raise >= pointing {
				r.Why = append(r.Why, p.kind)
			}
			to := &r.Suspect
			if seenInTraining(symptoms, p.kind) {
				to = &effects[i]
			}
			to.Weight += p.raise
			for _, rule := range p.rules {
				for k, word := range rule.prefer {
					if v, ok := valueOf(x.Domain, word); ok {
						to.Prefer[v] = math.Max(to.Prefer[v], preferFactor*math.Pow(orderFactor, float64(k)))
						votes[i][v] = math.Max(votes[i][v], rule.weight)
					}
				}
			}
			if len(p.rules) > 0 {
				to.hint(p.kind, x, symptoms)
			}
		}
		all[i] = r
		causes += r.Weight
	}
	sum, unexplained := 0.0, before/causes
	for i := range all {
		r := &all[i]
		r.Weight += unexplained * effects[i].Weight
		for v, f := range effects[i].Prefer {
			r.Prefer[v] = math.Max(r.Prefer[v], 1+unexplained*(f-1))
		}
		r.order(votes[i])
		sum += r.Weight
	}
	u := t.settings.Uniform
	for i := range all {
		all[i].Weight = (1-u)*all[i].Weight + u*sum/float64(len(all))
	}
	return all
}

// seenInTraining says whether evidence of a kind was seen in a training, rather than before.
func seenInTraining(symptoms []Symptom, kind Kind) bool {
	return slices.ContainsFunc(symptoms, func(s Symptom) bool { return s.Kind == kind && s.Epoch > 0 })
}

// order lists the values that are expected to help.
func (r *Ranking) order(votes map[repair.Value]float64) {
	for v := range r.Prefer {
		if v != r.Current {
			r.Values = append(r.Values, v)
		}
	}
	place := func(v repair.Value) int { return slices.Index(r.Domain.Choices, v) }
	slices.SortFunc(r.Values, func(a, b repair.Value) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(r.Prefer[b], r.Prefer[a]), place(a)-place(b), cmp.Compare(a.Number, b.Number))
	})
}

func valueOf(d repair.Domain, word string) (repair.Value, bool) {
	for _, v := range d.Choices {
		if v.String() == word {
			return v, true
		}
	}
	return repair.Value{}, false
}

// hint prefers numbers on the side on which they are expected to help, and losses of the kind that the evidence misses.
func (s *Suspect) hint(kind Kind, x repair.Slot, symptoms []Symptom) {
	switch kind {
	case LossNotForTask:
		s.hintLoss(x, symptoms)
	case LossNotForTargets:
		s.preferLosses(x, preferFactor/2, "mean_squared_error", "mean_absolute_error")
		s.preferLosses(x, preferFactor, string(train.Angle)) // offered where it is the metric: what is measured can be trained
	}
	if x.Operator != "learning_rate" {
		return
	}
	now := x.Current.Number
	for _, y := range symptoms {
		if y.Kind != kind {
			continue
		}
		switch kind {
		case LearningRateHigh: // a decade inside the usual range, where the defaults are, before its edge
			s.Prefer[repair.Num(clampTo(x.Domain, y.Limit/10))], s.Prefer[repair.Num(y.Limit)] = preferFactor, preferFactor/2
		case LearningRateLow:
			s.Prefer[repair.Num(clampTo(x.Domain, y.Limit*10))], s.Prefer[repair.Num(y.Limit)] = preferFactor, preferFactor/2
		case NonFiniteLoss, LossRising, Oscillation, ExplodingGradient, NonFiniteWeights, DeadUnits:
			s.Prefer[repair.Num(clampTo(x.Domain, now/10))], s.Prefer[repair.Num(clampTo(x.Domain, now/100))] = preferFactor, preferFactor
		case SlowConvergence, WeightsUnchanged, StillImproving:
			s.Prefer[repair.Num(clampTo(x.Domain, now*10))] = preferFactor
		case FewUpdates: // larger steps make more of each
			s.Prefer[repair.Num(clampTo(x.Domain, now*10))], s.Prefer[repair.Num(clampTo(x.Domain, now*100))] = preferFactor/2, preferFactor/2
		}
	}
}

// hintLoss prefers the losses of maximum likelihood: cross-entropy for classes, squared and absolute error for numbers.
func (s *Suspect) hintLoss(x repair.Slot, symptoms []Symptom) {
	i := slices.IndexFunc(symptoms, func(y Symptom) bool { return y.Kind == LossNotForTask })
	if i < 0 || x.Operator != "loss" && x.Operator != "output_head" {
		return
	}
	usual := []string{"crossentropy"}
	if strings.HasPrefix(symptoms[i].Measure, regressionWith) {
		usual = []string{"mean_squared_error", "mean_absolute_error"}
	}
	s.preferLosses(x, preferFactor, usual...)
}

// preferLosses prefers values whose word has one of several in it.
func (s *Suspect) preferLosses(x repair.Slot, factor float64, usual ...string) {
	for _, v := range x.Domain.Choices {
		if slices.ContainsFunc(usual, func(u string) bool { return strings.Contains(v.Text, u) }) {
			s.Prefer[v] = factor
		}
	}
}

// clampTo rounds a rate to one digit, so that patches are easy to read, within its domain.
func clampTo(d repair.Domain, v float64) float64 {
	if v > 0 {
		unit := math.Pow(10, math.Floor(math.Log10(v)+1e-9))
		v = math.Round(v/unit) * unit
		v, _ = roundTrip(v)
	}
	return min(d.Max, max(d.Min, v))
}

// roundTrip takes the noise of a product off a number: 0.30000000000000004 becomes 0.3.
func roundTrip(v float64) (float64, error) {
	return strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64)
}
