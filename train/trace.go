package train

// Outcome is how a training ended. All of them are results.
type Outcome string

const (
	Completed   Outcome = "completed"
	Stopped     Outcome = "stopped"       // early stopping ended it
	Diverged    Outcome = "diverged"      // the loss became non-finite
	OutOfMemory Outcome = "out_of_memory" // the device could not hold it
	Failed      Outcome = "failed"        // the graph, the recipe and the data do not go together
	Interrupted Outcome = "interrupted"
)

// Trace is what was seen of a training: evidence for diagnosis and search.
type Trace struct {
	Losses []float64 // training loss of every step, before its update
	Epochs []Epoch
}

// Epoch is what was seen of one epoch.
type Epoch struct {
	Number       int     // from 1
	Loss         float64 // mean of the steps' losses, weighted by batch size
	LearningRate float64
	Score        float64 // the metric on the search part; NaN when it was not evaluated
	SearchLoss   float64 // mean loss on the search part in inference form, without regularisers; NaN when it was not evaluated
	Layers       []Layer // statistics of a probe at the epoch's end; nil when none was taken
}

// Layer is the statistics of one trained tensor, or of one node's output, over a probe batch in training form.
type Layer struct {
	Name     string // of the parameter (an initializer) or of the node
	Kind     string // "parameter" or "activation"
	Op       string // activation: the node's operator; parameter: its role ("kernel", "bias", …, see lower.Role)
	Weight   Moments
	Gradient Moments // parameter: of the loss; activation: zero value
	Output   Moments // activation: of the node's output
	Dead     float64 // activation: share of units (channels) whose output is the same value, 0, for every sample of the batch
}

// Moments summarises a tensor; all but NonFinite over its finite elements.
type Moments struct {
	NonFinite  float64 // number of NaN and infinite elements
	Mean       float64
	MeanAbs    float64
	MeanSquare float64
	MaxAbs     float64
	Zeros      float64 // share of elements that are exactly zero
}

func momentsOf(v []float64) Moments {
	return Moments{NonFinite: v[0], Mean: v[1], MeanAbs: v[2], MeanSquare: v[3], MaxAbs: v[4], Zeros: v[5]}
}
