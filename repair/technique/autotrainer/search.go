package autotrainer

import "slices"

// Solution is a way to repair, by the original's name.
type Solution struct {
	Name  string
	Tries int // with another number or draw each time
}

// solutions are tried in this order: the original's default strategy, "balance" (repair.py, repair_strategy).
//
// selu: SELU with lecun_uniform kernels and biases; relu: ReLU with he_uniform kernels and zero biases; tanh: likewise; bn: batch
// normalisation behind all layers but the last; gradient: clip values to U(9, 10); initial: kernels and biases drawn from he_uniform,
// lecun_uniform, glorot_normal, glorot_uniform, he_normal, lecun_normal; leaky: LeakyReLU, ELU, thresholded ReLU; adam: with its defaults; lr:
// see [Rate]; ReduceLR: on a plateau of the validation loss of 5 epochs to a fifth, not below 0.001; batch: 32·2^try; momentum: SGD with
// U(0.01, 0.9); GN: Gaussian noise of 0.1 on the input; optimizer: another one of SGD, Adam, Nadam, Adamax, RMSprop with its defaults; activation:
// softmax, or for one unit sigmoid, linear without a cross-entropy; loss: cross-entropy, binary up to two units; data: scaling to [0, 1].
var solutions = map[Problem][]Solution{
	Vanishing:       {{"selu", 1}, {"relu", 1}, {"bn", 1}},
	Exploding:       {{"selu", 1}, {"relu", 1}, {"gradient", 2}, {"tanh", 1}, {"bn", 1}},
	DyingReLU:       {{"selu", 1}, {"bn", 1}, {"initial", 3}, {"leaky", 3}},
	Unstable:        {{"adam", 1}, {"lr", 3}, {"ReduceLR", 1}, {"batch", 4}, {"momentum", 3}, {"GN", 1}, {"initial", 3}},
	NotConverging:   {{"optimizer", 3}, {"lr", 3}, {"initial", 3}},
	WrongActivation: {{"activation", 1}},
	WrongLoss:       {{"loss", 1}},
	AbnormalData:    {{"data", 1}},
}

// Solutions lists the solutions of a problem in order.
func Solutions(p Problem) []Solution { return slices.Clone(solutions[p]) }

// Rate is the learning rate of try 0, 1, 2 of the solution lr: from 0.01 for SGD, 0.001 for the others, up by ten where training does not
// converge, and down by ten elsewhere (repair.py, op_lr).
func Rate(p Problem, sgd bool, try int) float64 {
	rate, factor := 1e-3, 0.1
	if sgd {
		rate = 1e-2
	}
	if p == NotConverging {
		factor = 10
	}
	for range try {
		rate *= factor
	}
	return rate
}

// Attempt is a training that tries a solution.
type Attempt struct {
	Problem  Problem
	Solution string
	Try      int // from 0
	Base     int // the attempt whose model and recipe it changes further; -1: the faulty ones
}

// Outcome is how a search ended.
type Outcome string

// The outcomes, by the original's names.
const (
	Solved    Outcome = "solved"    // a training without a problem
	Potential Outcome = "potential" // the problem went, and another that had been repaired before came
	Unsolved  Outcome = "no"
)

const (
	maxRounds    = 10 // modules.py, solve
	maxSolutions = 10 // of a round: modules.py, issue_repair
)

// Search is the order of attempts (modules.py, Repair_Module): in a round all solutions of one problem, until a training has no problem. Else the
// most accurate training that has the problem no longer is what the next round changes further, for the problem that it has instead.
type Search struct {
	left     map[Problem][]Solution // a solution is tried in one round only
	rounds   int
	repaired []Problem // per round
	base     int
	todo     []Solution // of the round; the first is being tried
	try      int
	results  []result
	changed  *int // of the round: the best attempt without its problem
	any      *int // of the round: the best attempt
	best     *int // of all rounds that changed the problem
	outcome  Outcome
	over     bool
}

type result struct {
	problem  Problem
	accuracy float64
}

// NewSearch begins with the problem of the faulty training.
func NewSearch(p Problem) *Search {
	s := &Search{left: map[Problem][]Solution{}, base: -1}
	for problem, list := range solutions {
		s.left[problem] = slices.Clone(list)
	}
	s.round(p)
	return s
}

func (s *Search) round(p Problem) {
	s.rounds++
	s.repaired = append(s.repaired, p)
	s.todo = s.left[p]
	if len(s.todo) > maxSolutions {
		s.todo = s.todo[:maxSolutions]
	}
	s.left[p] = s.left[p][len(s.todo):]
	s.try, s.changed, s.any = 0, nil, nil
	if len(s.todo) == 0 {
		s.close()
	}
}

// problem is what the round repairs.
func (s *Search) problem() Problem { return s.repaired[len(s.repaired)-1] }

// Next is the attempt to make; false: the search is over. It stays the same until Skip or Tell.
func (s *Search) Next() (Attempt, bool) {
	if s.over {
		return Attempt{}, false
	}
	return Attempt{s.problem(), s.todo[0].Name, s.try, s.base}, true
}

// Skip leaves the attempt and the further tries of its solution out, because the model has it already.
func (s *Search) Skip() { s.following(s.todo[0].Tries) }

// Pass leaves one try out, because it cannot be made; the original knows no such case.
func (s *Search) Pass() { s.following(s.try + 1) }

// Tell brings the problem of the attempt's training, empty where there is none, and its last validation accuracy. Attempts that are told are
// numbered from 0.
func (s *Search) Tell(p Problem, accuracy float64) {
	at := len(s.results)
	s.results = append(s.results, result{p, accuracy})
	switch {
	case p == "":
		s.best, s.outcome, s.over = &at, Solved, true
		return
	case p != s.problem() && (s.changed == nil || s.results[*s.changed].accuracy < accuracy):
		s.changed = &at
	}
	if s.any == nil || s.results[*s.any].accuracy <= accuracy {
		s.any = &at
	}
	s.following(s.try + 1)
}

// following goes on with a try of the solution, or with the next solution, or ends the round.
func (s *Search) following(try int) {
	if s.try = try; s.try >= s.todo[0].Tries {
		s.todo, s.try = s.todo[1:], 0
	}
	if len(s.todo) == 0 {
		s.close()
	}
}

// close ends a round without a solution.
func (s *Search) close() {
	if s.changed == nil {
		if s.over, s.outcome = true, Unsolved; s.rounds == 1 {
			s.best = s.any
		}
		return
	}
	next := s.results[*s.changed].problem
	if slices.Contains(s.repaired, next) || s.rounds == maxRounds {
		s.over, s.outcome = true, Potential
		return
	}
	if s.best == nil || s.results[*s.best].accuracy < s.results[*s.changed].accuracy {
		s.best = s.changed
	}
	s.base = *s.changed
	s.round(next)
}

// Best is what the search recommends and how it ended: the attempt that was solved; of a search that changed the problem, the most accurate of
// those that did; else the most accurate of all. -1: there was no attempt.
func (s *Search) Best() (attempt int, o Outcome) {
	if s.best == nil {
		return -1, s.outcome
	}
	return *s.best, s.outcome
}
