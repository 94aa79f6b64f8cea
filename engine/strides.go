package engine

// Strides are the row-major strides of a shape.
func Strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// BroadcastStrides are the strides with which a tensor of shape is read when it is broadcast to another: 0 along repeated axes.
func BroadcastStrides(shape, to []int) []int {
	out := make([]int, len(to))
	lead := len(to) - len(shape)
	for i, s := range Strides(shape) {
		if shape[i] != 1 {
			out[lead+i] = s
		}
	}
	return out
}
