// Gradients of the weights of convolutions by our own kernel.
#pragma once
#include "plan.hpp"

namespace nm {

// sums_windows says whether our kernel takes a convolution; it is faster than oneDNN's at those that it takes.
bool sums_windows(const nm_window &);
// add_window_sums adds the step that computes dw and, where it is not NULL, db.
void add_window_sums(nm_plan *, const nm_window &, const float *dy, const float *x, float *dw, float *db);

} // namespace nm
