// Package eyes draws grey images of single eyes, 36 pixels high and 60 wide, from the angles of the head and of the gaze: a stand-in for the
// UnityEyes images of the benchmark's gaze network.
//
// An image is a function of a seed and an index alone, so any of them can be had without the others. The angles, the shape of the eye and its lids,
// skin, light and noise vary from image to image; the ranges are in draw. Edges are smoothed by their distance in pixels (no supersampling),
// values are 0..1 in steps of 1/255. docs/eyes.png shows the first twelve of seed 42.
//
// Directions are given by two angles as in the benchmark's loss: v(a, b) = (sin a·cos b, sin a·sin b, cos a), with the first axis from the
// eye to the camera, the second to the right of the image, the third up. So a is the angle from upright (π/2: level, less: upwards) and b the angle
// to the side (0: at the camera, positive: to the right). Both are in radians.
package eyes

import (
	"math"
	"runtime"
	"sync"

	"netmend/data"
)

// The size of an image.
const (
	Height = 36
	Width  = 60
)

// Scene is everything that an image shows. Lengths are in pixels, brightnesses 0 (black) to 1.
type Scene struct {
	Head, Gaze [2]float64 // angles a, b of the face and of the line of sight, relative to the camera

	centerX, centerY     float64 // of the opening of the lids, from the middle of the image
	roll                 float64 // of the opening, radians
	halfWidth            float64 // of the opening, seen from the front
	upper, lower         float64 // heights of the lids' arcs over the line of the corners
	skew                 float64 // where the arcs are highest, -1 (left corner) to 1
	radius               float64 // of the eyeball
	irisSine, pupilSine  float64 // radii of iris and pupil as shares of the eyeball's
	skin, sclera, iris   float64
	lash, crease         float64 // darkness of the line of the lashes and of the crease of the upper lid
	creaseAt             float64 // distance of the crease from the edge of the lid
	lightA, lightB       float64 // direction of the light
	ambient, noise, gain float64
	texture              uint64 // seeds the noise
}

// The ranges of the angles, radians either way: the head turns, the eye turns in the head.
const (
	headPitch, headYaw = 0.20, 0.30
	eyePitch, eyeYaw   = 0.25, 0.45
)

// Draw makes the scene of an index.
func Draw(seed, index uint64) Scene {
	r := random{state: mix(seed ^ mix(index+golden))}
	pitch, yaw := r.around(0, headPitch), r.around(0, headYaw)
	up, side := r.around(0, eyePitch), r.around(0, eyeYaw)
	s := Scene{
		Head:      [2]float64{math.Pi/2 - pitch, yaw},
		Gaze:      [2]float64{math.Pi/2 - pitch - up, yaw + side},
		centerX:   r.around(0, 1.5),
		centerY:   r.around(1, 1.2),
		roll:      r.around(0, 0.08),
		halfWidth: r.around(23, 2.5),
		skew:      r.around(0, 0.25),
		radius:    r.around(18.5, 1.2),
		irisSine:  r.around(0.48, 0.03),
		pupilSine: r.around(0.19, 0.05),
		skin:      r.around(0.55, 0.2),
		sclera:    r.around(0.82, 0.08),
		iris:      r.around(0.3, 0.12),
		lash:      r.around(0.6, 0.3),
		crease:    r.around(0.25, 0.2),
		creaseAt:  r.around(4.5, 1.5),
		lightA:    r.around(1.1, 0.35),
		lightB:    r.around(0, 0.9),
		ambient:   r.around(0.55, 0.15),
		noise:     r.around(0.018, 0.008),
		gain:      r.around(0.95, 0.2),
	}
	// The upper lid follows the eye up and down.
	s.upper = r.around(9.5, 1.5) * (1 + 0.9*up)
	s.lower = r.around(5.5, 1) * (1 - 0.3*up)
	s.texture = r.next()
	return s
}

// direction is v(a, b) with the axes of the image: right, up, to the camera.
func direction(a, b float64) [3]float64 {
	sin, cos := math.Sincos(a)
	sinB, cosB := math.Sincos(b)
	return [3]float64{sin * sinB, cos, sin * cosB}
}

// Render draws the scene: Height·Width values, row by row.
func (s *Scene) Render(to []float32) {
	p := s.prepare()
	noise := random{state: s.texture}
	sd := s.noise / math.Sqrt(4*(256*256-1)/12.0) // of the sum of four uniform bytes
	var bits uint64
	for i := range Height * Width {
		x, y := float64(i%Width)+0.5-Width/2-s.centerX, Height/2-(float64(i/Width)+0.5)-s.centerY
		v := s.gain * p.shade(x, y)
		if i%2 == 0 {
			bits = noise.next()
		}
		v += sd * (float64(bits&255+bits>>8&255+bits>>16&255+bits>>24&255) - 510)
		bits >>= 32
		to[i] = float32(math.Round(255*min(max(v, 0), 1))) / 255
	}
}

// painter is a scene with all that does not change from pixel to pixel. Coordinates: x to the right, y up, from the middle of the opening.
type painter struct {
	*Scene
	sin, cos         float64 // of the roll
	width, top, low  float64 // of the opening, foreshortened
	ballX, ballY     float64 // the middle of the eyeball
	gaze, light      [3]float64
	irisCos, pupilCo float64
	glintX, glintY   float64
}

func (s *Scene) prepare() painter {
	p := painter{Scene: s, gaze: direction(s.Gaze[0], s.Gaze[1]), light: direction(s.lightA, s.lightB)}
	p.sin, p.cos = math.Sincos(s.roll)
	head := direction(s.Head[0], s.Head[1])
	p.width, p.top, p.low = s.halfWidth*math.Cos(s.Head[1]), s.upper*math.Sin(s.Head[0]), s.lower*math.Sin(s.Head[0])
	// The opening lies in front of the eyeball, on the side to which the head turns.
	p.ballX, p.ballY = -s.radius*head[0], -s.radius*head[1]
	p.irisCos, p.pupilCo = math.Sqrt(1-s.irisSine*s.irisSine), math.Sqrt(1-s.pupilSine*s.pupilSine)
	// The light is mirrored where the cornea's normal lies halfway between light and camera. The cornea is a sphere of 7.8 mm around a point
	// 5.7 mm in front of the middle of an eyeball of 12 mm (Gullstrand's schematic eye).
	half := [3]float64{p.light[0], p.light[1], p.light[2] + 1}
	n := math.Sqrt(half[0]*half[0] + half[1]*half[1] + half[2]*half[2])
	p.glintX = p.ballX + s.radius*(5.7*p.gaze[0]+7.8*half[0]/n)/12
	p.glintY = p.ballY + s.radius*(5.7*p.gaze[1]+7.8*half[1]/n)/12
	return p
}

// shade is the brightness at a point.
func (p *painter) shade(x, y float64) float64 {
	u, w := p.cos*x+p.sin*y, p.cos*y-p.sin*x // along and across the line of the corners
	t := u / p.width
	above, below := p.lids(t)
	upper, lower := w-above, below-w // beyond the lids' edges, where positive
	skin := p.skinAt(x, y, t, upper)
	open := coverage(upper) * coverage(lower)
	if open == 0 {
		return skin
	}
	eye := p.ball(x, y)
	// The upper lid and its lashes cast a soft shadow on the eyeball.
	eye *= 1 - 0.45*math.Exp(upper/2.5)
	return open*eye + (1-open)*skin
}

// lids are the heights of the two edges at t, -1..1 between the corners: parabolas whose tops are moved to the side.
func (p *painter) lids(t float64) (above, below float64) {
	if t <= -1 || t >= 1 {
		return -0.5 - 3*(math.Abs(t)-1), 0.5 + 3*(math.Abs(t)-1) // closed
	}
	arc := (1 - t*t) * (1 + p.skew*t)
	return p.top * arc, -p.low * (1 - t*t) * (1 - 0.5*p.skew*t)
}

// skinAt is the lids and what is around them: lit from one side, with a crease over the upper lid and lashes along its edge.
func (p *painter) skinAt(x, y, t, upper float64) float64 {
	v := p.skin * (p.ambient + 0.45 + 0.012*(x*p.light[0]+y*p.light[1]))
	if t > -1.15 && t < 1.15 {
		if upper > -1 {
			c := (upper - p.creaseAt*(1.2-0.5*t*t)) / 1.1
			l := (upper - 0.4) / 1.1
			v *= (1 - p.crease*math.Exp(-c*c)) * (1 - p.lash*math.Exp(-l*l))
		}
	}
	return v
}

// ball is the eyeball: white, iris with its dark rim, pupil, the mirrored light.
func (p *painter) ball(x, y float64) float64 {
	nx, ny := (x-p.ballX)/p.radius, (y-p.ballY)/p.radius
	rest := 1 - nx*nx - ny*ny
	nz := math.Sqrt(max(rest, 0))
	lit := p.ambient + 0.5*max(0, nx*p.light[0]+ny*p.light[1]+nz*p.light[2])
	v := p.sclera * lit
	along := nx*p.gaze[0] + ny*p.gaze[1] + nz*p.gaze[2]
	// A circle around the gaze on the sphere; the distance from it in pixels, along the surface, near enough to its edge.
	if limbus := (p.irisCos - along) / p.irisSine * p.radius; limbus < 1 {
		pupil := coverage((p.pupilCo - along) / p.pupilSine * p.radius)
		rim := 1 - 0.5*math.Exp(min(0, limbus)/1.5)
		iris := p.iris*rim*(0.7+0.5*lit)*(1-pupil) + 0.04*pupil
		c := coverage(limbus / 1.6) // the limbus is not sharp
		v = c*iris + (1-c)*v
	}
	if dx, dy := x-p.glintX, y-p.glintY; dx*dx+dy*dy < 9 {
		g := coverage(math.Sqrt(dx*dx+dy*dy) - 1.2)
		v += 0.85 * g * (1 - v)
	}
	return v
}

// coverage is how much of a pixel lies inside of an edge that passes at a signed distance (positive: the middle is outside).
func coverage(distance float64) float64 { return min(max(0.5-distance, 0), 1) }

// golden is 2^64 over the golden ratio, the increment of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
// generators").
const golden = 0x9e3779b97f4a7c15

// random is a SplitMix64 stream.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += golden
	return mix(r.state)
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// around draws uniformly from middle ± spread.
func (r *random) around(middle, spread float64) float64 {
	return middle + spread*(2*float64(r.next()>>11)/(1<<53)-1)
}

// Set renders the images of n indices from first on: inputs image [36,60,1] and head [2], target gaze [2].
func Set(seed uint64, first, n int) data.Set {
	image := data.Array{Name: "image", Shape: []int{n, Height, Width, 1}, Float: make([]float32, n*Height*Width)}
	head := data.Array{Name: "head", Shape: []int{n, 2}, Float: make([]float32, 2*n)}
	gaze := data.Array{Name: "gaze", Shape: []int{n, 2}, Float: make([]float32, 2*n)}
	var wg sync.WaitGroup
	workers := min(max(1, n), runtime.GOMAXPROCS(0))
	for k := range workers {
		wg.Go(func() {
			for i := k * n / workers; i < (k+1)*n/workers; i++ {
				s := Draw(seed, uint64(first+i))
				s.Render(image.Float[i*Height*Width : (i+1)*Height*Width])
				for j := range 2 {
					head.Float[2*i+j], gaze.Float[2*i+j] = float32(s.Head[j]), float32(s.Gaze[j])
				}
			}
		})
	}
	wg.Wait()
	return data.Set{Inputs: []data.Array{image, head}, Targets: []data.Array{gaze}}
}
