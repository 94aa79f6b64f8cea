//go:build linux && cgo

package cuda

// load loads the kernels.
func (d *device) load() error {
	m, err := d.context.Load([]byte("//"))
	if err != nil {
		return err
	}
	d.modules = append(d.modules, m)
	for _, name := range kernelNames() {
		f, err := m.Function(name)
		if err != nil {
			return err
		}
		d.kernels[name] = f
	}
	return nil
}

func kernelNames() []string {
	names := []string{"chain", "scatter", "transpose", "pad", "reduce_threads", "reduce_warps", "reduce_blocks", "reduce_columns", "arg_max", "moments",
		"softmax", "softmax_grad", "norm_statistics", "norm_apply", "norm_grad_sums", "norm_grad_apply", "begin_step", "end_step", "gather", "gather_grad",
		"one_hot", "update", "recurrent_1", "recurrent_4", "recurrent_grad_1", "recurrent_grad_4", "recurrent_peepholes", "depthwise_fwd", "depthwise_dx",
		"depthwise_dw", "max_pool", "avg_pool", "max_pool_picks", "max_pool_grad", "avg_pool_grad"}
	for _, tile := range []string{"128", "64", "32"} {
		for _, kind := range []string{"matmul_nn", "matmul_nt", "matmul_tn", "matmul_tt", "conv_fwd", "conv_dx", "conv_dw"} {
			names = append(names, kind+"_"+tile)
		}
	}
	return names
}
