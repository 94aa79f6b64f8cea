package train

import "netmend/data"

// PreprocessInput applies the recipe's preprocessing to an input array of the data, known by its own name or that of the graph's input.
func PreprocessInput(a data.Array, graphName string, r Recipe, d data.Splits) (data.Array, error) {
	return preprocess(a, graphName, true, r, d)
}
