package data

import "image"

// upsampleChroma returns the image with chroma at full resolution, interpolated by libjpeg's triangle filter ("fancy upsampling",
// jdsample.c: h2v1_fancy_upsample, h2v2_fancy_upsample), which PIL, OpenCV and torchvision use: 3/4 of the nearer chroma sample and 1/4 of
// the farther one in each direction that is subsampled. image/jpeg alone would repeat the samples, which moves colours by up to 55 of 255 on
// CIFAR-10's JPEGs. Other subsampling than 4:2:0 and 4:2:2, which libjpeg repeats, and images narrower than 5 are returned as they are.
func upsampleChroma(m *image.YCbCr) *image.YCbCr {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	half := (w + 1) / 2
	vertical := m.SubsampleRatio == image.YCbCrSubsampleRatio420
	if half <= 2 || m.Rect.Min != (image.Point{}) || !vertical && m.SubsampleRatio != image.YCbCrSubsampleRatio422 {
		return m
	}
	out := *m
	out.SubsampleRatio, out.CStride = image.YCbCrSubsampleRatio444, 2*half
	out.Cb, out.Cr = make([]byte, 2*half*h), make([]byte, 2*half*h)
	sum := make([]int, half)
	for _, plane := range []struct{ to, from []byte }{{out.Cb, m.Cb}, {out.Cr, m.Cr}} {
		for y := range h {
			to := plane.to[y*2*half : (y+1)*2*half]
			if !vertical {
				h2v1(to, plane.from[y*m.CStride:][:half])
				continue
			}
			near, far := y/2, y/2-1+y%2*2 // the row above for even rows, the row below for odd ones
			far = min(max(far, 0), (h+1)/2-1)
			a, b := plane.from[near*m.CStride:][:half], plane.from[far*m.CStride:][:half]
			for i := range sum {
				sum[i] = 3*int(a[i]) + int(b[i])
			}
			h2v2(to, sum)
		}
	}
	return &out
}

// h2v1 doubles a row; the uneven rounding constants (1 and 2 of 4) are libjpeg's, against a bias.
func h2v1(to, from []byte) {
	last := len(from) - 1
	for i, v := range from {
		to[2*i] = byte((3*int(v) + int(from[max(0, i-1)]) + 1) >> 2)
		to[2*i+1] = byte((3*int(v) + int(from[min(last, i+1)]) + 2) >> 2)
	}
}

// h2v2 doubles a row of sums 3·near + far; rounding constants 8 and 7 of 16 as in libjpeg.
func h2v2(to []byte, sum []int) {
	last := len(sum) - 1
	for i, v := range sum {
		to[2*i] = byte((3*v + sum[max(0, i-1)] + 8) >> 4)
		to[2*i+1] = byte((3*v + sum[min(last, i+1)] + 7) >> 4)
	}
}
