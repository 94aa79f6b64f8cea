// Sums of products under a moving window: gradients of the weights of convolutions.

// acc[i, j] += x[…, i]·y[…, j] over the places of a window, for M elements of x side by side and W vectors of y. y is read to the end of the
// last vector. Every element is summed in the order of the places before it is added to acc.
template <int M, int W> static void window_tile(const Window &w, const float *x, const float *y, float *acc, int64_t ld) {
	Vector s[M][W];
	for (int i = 0; i < M; i++)
		for (int j = 0; j < W; j++) s[i][j] = SPREAD(0.0f);
	for (int64_t image = 0; image < w.images; image++) {
		const float *to = y + image * w.y_image;
		for (int64_t row = 0; row < w.rows; row++) {
			const float *from = x + image * w.x_image + row * w.x_row;
			for (int64_t col = 0; col < w.cols; col++, from += w.x_col, to += w.y_col) {
				Vector v[W];
				for (int j = 0; j < W; j++) v[j] = LOAD(to + j * VECTOR);
				for (int i = 0; i < M; i++) {
					const Vector f = SPREAD(from[i]);
					for (int j = 0; j < W; j++) s[i][j] = MULADD(f, v[j], s[i][j]);
				}
			}
		}
	}
	for (int i = 0; i < M; i++)
		for (int j = 0; j < W; j++) STORE(acc + i * ld + j * VECTOR, LOAD(acc + i * ld + j * VECTOR) + s[i][j]);
}

using WindowTile = void (*)(const Window &, const float *, const float *, float *, int64_t);

template <int... M> struct WindowTiles { // by M - 1 and W - 1
	static constexpr WindowTile of[sizeof...(M)][2] = {{window_tile<M, 1>, window_tile<M, 2>}...};
};
#if TILE_ROWS > 6
using Tiles = WindowTiles<1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>;
#else
using Tiles = WindowTiles<1, 2, 3, 4, 5, 6>;
#endif

// acc (m, n) += the sums of m elements of x and n of y. The rows of acc are ld >= n elements long, rounded up to whole vectors.
static void window_sums(const Window &w, const float *x, const float *y, float *acc, int64_t ld, int64_t m, int64_t n) {
	const int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
	for (int64_t j = 0; j < n; j += panel_width)
		for (int64_t q = 0; q < tiles; q++) {
			const int64_t i = m * q / tiles, rows = m * (q + 1) / tiles - i;
			Tiles::of[rows - 1][n - j > VECTOR](w, x + i, y + j, acc + i * ld + j, ld);
		}
}
