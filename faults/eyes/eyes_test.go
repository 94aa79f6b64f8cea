package eyes

import (
	"crypto/sha256"
	"encoding/hex"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"reflect"
	"runtime"
	"testing"
)

func TestSetIsAFunctionOfSeedAndIndex(t *testing.T) {
	all := Set(7, 0, 40)
	if err := all.Check(); err != nil {
		t.Fatal(err)
	}
	if got := all.Inputs[0].Shape; !reflect.DeepEqual(got, []int{40, Height, Width, 1}) {
		t.Errorf("images have shape %v", got)
	}
	part := all.Select([]int32{25, 26, 27})
	if got := Set(7, 25, 3); !reflect.DeepEqual(got, part) {
		t.Error("images 25 to 27 differ when they are rendered alone")
	}
	if reflect.DeepEqual(Set(8, 25, 3), part) {
		t.Error("the seed changes nothing")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if !reflect.DeepEqual(Set(7, 0, 40), all) {
		t.Error("the images depend on the number of processors")
	}
}

// The renderer's pixels must not drift: results of the benchmark would not be comparable. Other processors than x86-64 may fuse a
// multiplication with an addition and round differently.
func TestPixelsStay(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("recorded on amd64")
	}
	h := sha256.New()
	for _, v := range Set(42, 0, 100).Inputs[0].Float {
		h.Write([]byte{byte(math.Round(float64(v) * 255))})
	}
	const want = "f8630ceb43c4247d"
	if got := hex.EncodeToString(h.Sum(nil)[:8]); got != want {
		t.Errorf("the first 100 images hash to %s, recorded is %s", got, want)
	}
}

func TestValuesAreGreyLevels(t *testing.T) {
	for i, v := range Set(1, 0, 50).Inputs[0].Float {
		if k := math.Round(float64(v) * 255); k < 0 || k > 255 || float32(k)/255 != v {
			t.Fatalf("element %d is %v", i, v)
		}
	}
}

func TestAnglesCoverTheirRanges(t *testing.T) {
	const n = 20_000
	var head, gaze [2][]float64
	for i := range uint64(n) {
		s := Draw(3, i)
		for j := range 2 {
			head[j], gaze[j] = append(head[j], s.Head[j]), append(gaze[j], s.Gaze[j])
		}
	}
	// Variances of uniform numbers of ±r are r²/3; those of the gaze are the sums of the head's and the eye's.
	for _, c := range []struct {
		name           string
		values         []float64
		mean, variance float64
	}{
		{"head a", head[0], math.Pi / 2, headPitch * headPitch / 3},
		{"head b", head[1], 0, headYaw * headYaw / 3},
		{"gaze a", gaze[0], math.Pi / 2, (headPitch*headPitch + eyePitch*eyePitch) / 3},
		{"gaze b", gaze[1], 0, (headYaw*headYaw + eyeYaw*eyeYaw) / 3},
	} {
		sum, squares := 0.0, 0.0
		for _, v := range c.values {
			sum += v - c.mean
			squares += (v - c.mean) * (v - c.mean)
		}
		// Four standard errors of the mean, and 4 % (four standard errors of a variance of 20,000 numbers are at most that).
		if m := sum / n; math.Abs(m) > 4*math.Sqrt(c.variance/n) {
			t.Errorf("%s: mean is %v off", c.name, m)
		}
		if v := squares / n; math.Abs(v/c.variance-1) > 0.04 {
			t.Errorf("%s: variance %v, want %v", c.name, v, c.variance)
		}
	}
}

// v(a, b) of the loss has the axes (to the camera, right, up); of the image (right, up, to the camera).
func TestDirectionFollowsTheLoss(t *testing.T) {
	for _, c := range []struct{ a, b float64 }{{math.Pi / 2, 0}, {1.3, 0.4}, {1.8, -0.7}} {
		v := [3]float64{math.Sin(c.a) * math.Cos(c.b), math.Sin(c.a) * math.Sin(c.b), math.Cos(c.a)}
		d := direction(c.a, c.b)
		for i, want := range []float64{v[1], v[2], v[0]} {
			if math.Abs(d[i]-want) > 1e-15 {
				t.Errorf("direction(%v, %v) is %v, v is %v", c.a, c.b, d, v)
			}
		}
	}
}

// plain is a scene without chance: wide open, the light in front, no noise.
func plain(gazeA, gazeB float64) Scene {
	return Scene{
		Head: [2]float64{math.Pi / 2, 0}, Gaze: [2]float64{gazeA, gazeB}, halfWidth: 26, upper: 17, lower: 17, radius: 18.5, irisSine: 0.48,
		pupilSine: 0.2, skin: 0.6, sclera: 0.9, iris: 0.3, lightA: math.Pi / 2, ambient: 0.6, gain: 0.9,
	}
}

// darkest is the middle of the pixels that are about as dark as the pupil, from the middle of the image, up and to the right.
func darkest(s Scene) (right, up float64) {
	to := make([]float32, Height*Width)
	s.Render(to)
	n := 0.0
	for i, v := range to {
		if v < 0.08 {
			n++
			right += float64(i%Width) + 0.5 - Width/2
			up += Height/2 - float64(i/Width) - 0.5
		}
	}
	return right / n, up / n
}

// The pupil lies where the line of sight leaves the eyeball.
func TestPupilIsWhereTheGazeGoes(t *testing.T) {
	for _, c := range []struct{ a, b float64 }{{math.Pi / 2, 0.35}, {math.Pi / 2, -0.35}, {math.Pi/2 - 0.3, 0.2}, {math.Pi/2 + 0.3, -0.3}} {
		right, up := darkest(plain(c.a, c.b))
		// A pixel: the mirrored light covers a part of the pupil, and a circle on a sphere is no ellipse around its middle.
		if wantR, wantU := 18.5*math.Sin(c.a)*math.Sin(c.b), 18.5*math.Cos(c.a); math.Abs(right-wantR) > 1 || math.Abs(up-wantU) > 1 {
			t.Errorf("gaze %v, %v: pupil at %.2f, %.2f, want %.2f, %.2f", c.a, c.b, right, up, wantR, wantU)
		}
	}
}

// Edges are smooth: a small turn of the eye changes the image by little, and not by nothing.
func TestSmallTurnsMoveTheImageALittle(t *testing.T) {
	a, b := make([]float32, Height*Width), make([]float32, Height*Width)
	x, y := plain(math.Pi/2, 0.2), plain(math.Pi/2, 0.21) // 0.18 pixels
	x.Render(a)
	y.Render(b)
	sum, most := 0.0, 0.0
	for i := range a {
		d := math.Abs(float64(a[i] - b[i]))
		sum, most = sum+d, max(most, d)
	}
	// Along the edges of iris and pupil (together about 80 pixels) brightness changes by at most 0.7·0.18 and a pixel's by as much.
	if sum < 1 || sum > 10 || most > 0.3 {
		t.Errorf("the sum of the changes is %v, the largest %v", sum, most)
	}
}

// TestSamples writes the image of docs/eyes.png where NETMEND_EYES names a file.
func TestSamples(t *testing.T) {
	path := os.Getenv("NETMEND_EYES")
	if path == "" {
		t.Skip("set NETMEND_EYES to the file to write")
	}
	const columns, rows, zoom, gap = 4, 3, 3, 4
	m := image.NewGray(image.Rect(0, 0, columns*(Width*zoom+gap)-gap, rows*(Height*zoom+gap)-gap))
	for i := range m.Pix {
		m.Pix[i] = 255
	}
	f := Set(42, 0, columns*rows).Inputs[0].Float
	for k := range columns * rows {
		for i := range Height * zoom * Width * zoom {
			x, y := i%(Width*zoom), i/(Width*zoom)
			v := f[k*Height*Width+y/zoom*Width+x/zoom]
			m.SetGray(k%columns*(Width*zoom+gap)+x, k/columns*(Height*zoom+gap)+y, color.Gray{Y: uint8(math.Round(float64(v) * 255))})
		}
	}
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(out, m); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkRender(b *testing.B) {
	to := make([]float32, Height*Width)
	for i := range b.N {
		s := Draw(1, uint64(i))
		s.Render(to)
	}
}
