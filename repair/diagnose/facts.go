package diagnose

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Part is the part of a subject that a kind of symptom is about.
type Part string

// The parts.
const (
	OfRecipe   Part = "recipe"
	OfGraph    Part = "graph"
	OfData     Part = "data"
	OfTraining Part = "training"
)

// Level is how bad a kind of symptom is, in the words of SARIF.
type Level string

// The levels.
const (
	Note    Level = "note"    // healthy networks show it as well
	Warning Level = "warning" // it usually costs something
	Error   Level = "error"   // it cannot work like this
)

// fact is what is known of a kind.
type fact struct {
	part   Part
	level  Level
	field  string // of the recipe, as its file spells it; "*" stands for the symptom's node. "": none
	says   string // the sentence: {at} is the node, {m} the measure, {v} the value, {l} the limit
	source string // of the rule or its limit
}

const (
	deepChecker = "TheDeepChecker (TOSEM 2022)"
	autoTrainer = "AutoTrainer (ICSE 2021)"
	bttackler   = "BTTackler (KDD 2024)"
	umlaut      = "UMLAUT (CHI 2021)"
	neuraLint   = "NeuraLint (TOSEM 2021)"
	theia       = "Theia (TOSEM 2025)"
	deepDiag    = "DeepDiagnosis (ICSE 2022)"
	keras       = "the documentation of Keras' losses"
	ours        = "netmend"
)

// facts has a line for every kind.
var facts = map[Kind]fact{
	OutputNotProbability: {OfGraph, Error, "", "the loss reads probabilities, but what follows {at} can be any number", umlaut},
	DoubleSoftmax:        {OfGraph, Error, "", "{at} normalises the output, and the loss does so once more", umlaut},
	OutputBounded:        {OfGraph, Error, "", "{v} target values lie outside what {at} can give", autoTrainer},
	OutputUnusual:        {OfGraph, Warning, "", "the output ends in {at}, which fits neither classes nor numbers", autoTrainer},
	SoftmaxOneUnit:       {OfGraph, Error, "", "{at} is a softmax over {v} unit, which is 1 whatever the input; it takes {l}", autoTrainer},
	OutputWidth:          {OfGraph, Error, "", "{at} has {v} units, the labels have {l} classes", theia},
	LossNotForTask:       {OfRecipe, Warning, "loss", "the loss does not fit the task: {m}", autoTrainer},
	LossNotForTargets:    {OfRecipe, Error, "loss", "{v} target values are negative, and the loss {m} is made for those that never are", keras},
	MetricBlind:          {OfRecipe, Warning, "metric", "the metric cannot see whether the task is done: {m}", umlaut},
	ConstantKernel:       {OfGraph, Error, "initializers.*", "all weights of {at} start with one value, so that its units stay alike", neuraLint},
	ConstantBias:         {OfGraph, Warning, "initializers.*", "the biases {at} start far from 0", neuraLint},
	InitialScale:         {OfGraph, Warning, "initializers.*", "the initial weights of {at} have {v} times the usual width ({m}); up to {l} times either way is tolerable", deepChecker},
	LearningRateHigh:     {OfRecipe, Warning, "optimizer.learning_rate", "the learning rate {v} is above {l}, where trainings with this optimizer usually start at most", umlaut},
	LearningRateLow:      {OfRecipe, Warning, "optimizer.learning_rate", "the learning rate {v} is below {l}, where trainings with this optimizer usually start at least", umlaut},
	BatchSmall:           {OfRecipe, Warning, "batch_size", "the batch size {v} is below {l}", ours},
	BatchLarge:           {OfRecipe, Warning, "batch_size", "the batch size {v} is above {l}, which leaves few updates", ours},
	FewUpdates:           {OfRecipe, Note, "epochs", "the training makes {v} updates; fewer than {l} are few", deepChecker},
	NotShuffled:          {OfRecipe, Warning, "shuffle", "every epoch visits the rows in the order of the file", ours},
	ClassAfterClass:      {OfRecipe, Error, "shuffle", "every epoch visits the rows class after class: the {m} is {v}, in a random order it is {l}", ours},
	ShortPatience:        {OfRecipe, Warning, "early_stopping.patience", "early stopping waits {v} epochs; fewer than {l} are few", autoTrainer},
	UnevenPreprocessing:  {OfRecipe, Warning, "preprocessing", "the preprocessing step {at} changes some rows only, or the labels of classes", ours},
	HiddenLinear:         {OfGraph, Warning, "", "no function follows {at}: together with the next layer it is a single linear one", umlaut},
	HiddenSaturating:     {OfGraph, Note, "", "{at} has a bounded range, through which gradients shrink layer by layer", deepDiag},
	HiddenExponential:    {OfGraph, Warning, "", "{at} is an exponential function between layers", deepDiag},
	HiddenSoftmax:        {OfGraph, Warning, "", "{at} is a softmax between layers, whose units must sum to 1", deepDiag},
	StrongRegularizer:    {OfGraph, Warning, "regularizers.*", "the {m} regularizer of {at} is {v}; from {l} on it outweighs most losses", ours},
	HighDropout:          {OfGraph, Warning, "dropout.*", "{at} drops a share of {v}; more than {l} is a lot", umlaut},
	TightClip:            {OfRecipe, Warning, "gradient_clip", "gradients are clipped by {m} at {v}; below {l}, a hundredth of the usual, hardly anything moves", ours},
	FastDecay:            {OfRecipe, Warning, "schedule", "the learning rate falls too fast: the {m} is {v}, less than {l}", ours},
	Frozen:               {OfGraph, Note, "frozen", "{at} is not trained", ours},

	UselessBias:          {OfGraph, Note, "", "the batch normalization behind {at} takes its bias out again", neuraLint},
	DropoutBeforeNorm:    {OfGraph, Warning, "", "{at} comes in front of a batch normalization, whose statistics then differ between training and inference", neuraLint},
	DropoutBeforePooling: {OfGraph, Note, "", "{at} comes in front of a pooling; behind it, it would drop more", neuraLint},
	FeatureMapSmall:      {OfGraph, Warning, "", "the feature map at {at} has shrunk too far: {m} is {v}, at least {l} is needed", neuraLint},
	StackedActivations:   {OfGraph, Warning, "", "{at} and another function follow each other without a layer between them", neuraLint},
	MissingFlatten:       {OfGraph, Error, "", "{at} takes {v} axes instead of {l} and gives more outputs than there are targets: flatten or pool in front of it", neuraLint},

	NonFiniteData:    {OfData, Error, "", "{at} holds {v} values {m} that are not finite", deepChecker},
	InputScale:       {OfData, Warning, "", "{at} is not scaled: the {m} is {v}, from {l} on trainings suffer", autoTrainer},
	ConstantFeatures: {OfData, Warning, "", "most of {at} is constant: the {m} is {v}, more than {l}", deepChecker},
	ScaleShift:       {OfData, Error, "", "{at} is scaled differently in the search rows: {m} is {v}, more than {l} times either way", ours},
	FeatureShift:     {OfData, Warning, "", "{at} differs between training and search rows: the {m} is {v}, more than {l}", ours},
	LabelsNotWhole:   {OfData, Error, "", "{v} class labels of {at} are no whole numbers", ours},
	LabelsConstant:   {OfData, Error, "", "{at} hardly varies: {m} is {v}, the least is {l}", deepChecker},
	MissingClasses:   {OfData, Error, "", "{at} has {v} classes in the search rows that no training row has", theia},
	Imbalance:        {OfData, Note, "", "the classes of {at} are unbalanced: {m}, is {v}, below {l}", deepChecker},
	MajorityGuess:    {OfRecipe, Warning, "metric", "the metric cannot tell much: always the same answer scores {v}, more than {l}", ours},
	LabelShift:       {OfData, Warning, "", "the classes of {at} are divided unevenly between training and search rows: one differs by a share of {v}, more than {l}", ours},
	Leakage:          {OfData, Error, "", "the data leaks: the {m} is {v}, more than {l}", ours},

	Untrainable:       {OfTraining, Error, "", "it cannot be trained: {m}", ours},
	NonFiniteOutput:   {OfTraining, Error, "", "before training there are {v} {m}", deepChecker},
	InitialLoss:       {OfTraining, Warning, "", "the loss before training is {v}, more than {l} ({m})", deepChecker},
	InputIgnored:      {OfTraining, Error, "", "trained on a few rows, the model gives them all the same answer: the {m}, is {v}, below {l}", deepChecker},
	CannotOverfit:     {OfTraining, Error, "", "the model cannot memorise a few rows: {m} is {v}, the limit {l}", deepChecker},
	TrainEvalDisagree: {OfTraining, Warning, "", "training and inference form disagree: the {m} is {v}, more than {l}", deepChecker},
	ConstantOutput:    {OfTraining, Error, "", "the trained model answers every row alike: the {m}, is {v}, below {l}", deepChecker},

	NonFiniteLoss:      {OfTraining, Error, "", "the training diverged: the loss of step {v} (of {l}) is not finite", autoTrainer},
	LossRising:         {OfTraining, Error, "", "the loss rose to {v} times its least, more than {l}", deepChecker},
	NoLearning:         {OfTraining, Error, "", "nothing was learned: the {m} is {v}, less than {l}", autoTrainer},
	SlowConvergence:    {OfTraining, Warning, "", "the training is slow: the {m} is {v}, less than {l}", deepChecker},
	StillImproving:     {OfTraining, Note, "epochs", "the training ended while the loss was falling: the {m} is {v}, more than {l}", ours},
	Plateau:            {OfTraining, Note, "", "the loss rests: the {m} is {v}, less than {l}", bttackler},
	Oscillation:        {OfTraining, Warning, "", "the loss oscillates: the {m} is {v}, at least {l}", autoTrainer},
	Overfitting:        {OfTraining, Warning, "", "the model overfits: the {m} is {v}, more than {l}", autoTrainer},
	LossMetricDisagree: {OfTraining, Warning, "", "the metric does not follow the loss: the {m} is {v}, less than {l}", deepChecker},
	ExplodingGradient:  {OfTraining, Error, "", "the gradient{of} explodes: its {m} is {v}, more than {l}", deepChecker},
	VanishingGradient:  {OfTraining, Warning, "", "the gradient{of} vanishes: its {m} is {v}, less than {l}", deepChecker},
	NoGradient:         {OfTraining, Error, "", "no gradient reaches {at}", deepDiag},
	DeadUnits:          {OfTraining, Warning, "", "a share of {v} of the units of {at} is 0 for every row, more than {l}", autoTrainer},
	Saturation:         {OfTraining, Warning, "", "{at} is saturated: {m}, is {v}, more than {l}", deepChecker},
	LargeActivation:    {OfTraining, Warning, "", "the values of {at} are large: their {m} is {v}, from {l} on trainings suffer", autoTrainer},
	WeightsUnchanged:   {OfTraining, Warning, "", "the weights {at} do not change: their {m} between epochs is below {l}", deepDiag},
	NonFiniteWeights:   {OfTraining, Error, "", "{v} weights of {at} are not finite", autoTrainer},
}

// Kinds lists all kinds, sorted.
func Kinds() []Kind { return slices.Sorted(maps.Keys(facts)) }

// Part is what a kind is about; "" for one that is not known.
func (k Kind) Part() Part { return facts[k].part }

// Level is how bad a kind is; "" for one that is not known.
func (k Kind) Level() Level { return facts[k].level }

// Source names where the rule or its limit comes from.
func (k Kind) Source() string { return facts[k].source }

// Field is where a symptom's value stands in the recipe's file, from the outermost key inwards: "optimizer", "learning_rate"; nil for none.
func (s Symptom) Field() []string {
	if facts[s.Kind].field == "" {
		return nil
	}
	path := strings.Split(facts[s.Kind].field, ".")
	for i := range path {
		if path[i] == "*" {
			path[i] = s.Node
		}
	}
	return path
}

// Words says a symptom in a sentence without a full stop, with number and limit.
func (s Symptom) Words() string {
	f, ok := facts[s.Kind]
	if !ok {
		return fmt.Sprintf("%s at %q: %s is %s, the limit %s", s.Kind, s.Node, s.Measure, short(s.Value), short(s.Limit))
	}
	of := ""
	if s.Node != "" {
		of = " of " + s.Node
	}
	words := strings.NewReplacer("{at}", s.Node, "{of}", of, "{m}", s.Measure, "{v}", short(s.Value), "{l}", short(s.Limit)).Replace(f.says)
	switch {
	case f.part != OfTraining || s.Kind == InitialLoss || s.Kind == InputIgnored || s.Kind == CannotOverfit || s.Kind == NonFiniteOutput || s.Kind == Untrainable:
		return words
	case s.Epoch == 0:
		return words + " (before training)"
	}
	return words + fmt.Sprintf(" (epoch %d)", s.Epoch)
}

// short writes a number with four digits.
func short(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
