// Package engine is the language between netmend's trainer and its devices.
//
// A [Program] is a set of functions over shared, persistent tensors: the weights, the optimizer's state, the data set.
// One function is one kind of step (a training step, an evaluation step, a training step at the batch size of the epoch's
// remainder): a straight list of operations on tensors whose shapes are all known. A [Device] compiles a Program once and runs
// many steps of a function in one call, so that the cost of reaching the device is paid per epoch and not per operation.
//
// The package knows nothing of ONNX. It imports the standard library only. Gradients are derived here, operation by operation
// ([Builder.Gradient]), so that a device has to know just the operations of this page, forward and backward alike.
//
// # Numbers
//
// Non-finite values are legal and travel: Relu, MaxPool, Max and Min pass NaN on. Reductions run in a fixed order on every device:
// the same device, program, seed and state give the same bits. Random numbers come from [Philox], a function of
// (seed, step, stream, element) only, so every device draws the same ones.
package engine
