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
	// TrainScore is the metric on the training rows as the steps met them, before each step's update and in training form: the mean over the
	// steps, weighted by batch size, as Keras' fit prints it for accuracies. NaN without Options.Watch.
	TrainScore float64
	First      *FirstBatch // nil when it was not looked at
}

// FirstBatch is what the first batch of training rows, in the data's order, shows at the end of an epoch: in inference form (no dropout, running
// statistics of normalisations), with the gradients of the loss and its regularisers as the optimizer gets them, that is, clipped. It is what
// AutoTrainer's monitor looks at (compute_gradient.py).
type FirstBatch struct {
	Layers []Layer // the parameters in the order of the nodes that use them, then the nodes
	// LargestRow is the largest sum of magnitudes over the classes of an output's position; NaN where an output is not finite.
	LargestRow float64
}

// Layer is the statistics of one trained tensor, or of one node's output, over a batch.
type Layer struct {
	Name     string // of the parameter (an initializer) or of the node
	Kind     string // "parameter" or "activation"
	Op       string // activation: the node's operator; parameter: its role ("kernel", "bias", …, see lower.Role)
	Shape    []int  // parameter: its shape; activation: nil
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
