//go:build linux && cgo

package cuda

import (
	"errors"
	"time"

	"netmend/cuda/driver"
	"netmend/engine"
)

// The sizes of the copies that are timed: doubled from the least until a copy takes measureLong.
const (
	leastCopy   = 1 << 20
	mostCopy    = 256 << 20
	measureLong = 5 * time.Millisecond
	measureBest = 5 // of so many copies the fastest counts
)

// MeasureCopies times copies between page-locked memory and the GPU of an index, by events on the GPU, as far as memory is free.
func MeasureCopies(index int) (r Rates, err error) {
	lib, err := driver.Open()
	if err != nil {
		return r, err
	}
	d, err := newDevice(lib, Options{Index: index})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(d.explain(err), d.Close()) }()
	for size := int64(leastCopy); size <= mostCopy; size *= 2 {
		next, long, err := d.copies(size)
		if err != nil {
			if errors.Is(err, engine.ErrMemory) && size > leastCopy { // the last size has to do
				return r, nil
			}
			return r, err
		}
		if r = next; long {
			break
		}
	}
	return r, nil
}

// copies times copies of a size; long: each took long enough for what it costs to begin one not to count.
func (d *device) copies(size int64) (r Rates, long bool, err error) {
	stream, err := d.context.NewStream()
	if err != nil {
		return r, false, err
	}
	defer stream.Close()
	host, err := d.context.AllocHost(int(size))
	if err != nil {
		return r, false, err
	}
	defer host.Close()
	at, err := d.allocate(size, size)
	if err != nil {
		return r, false, err
	}
	defer func() { err = errors.Join(err, d.free(at, size, size)) }()
	long = true
	for _, c := range []struct {
		rate *float64
		copy func() error
	}{
		{&r.ToDevice, func() error { return stream.UploadAsync(at[0], host, 0, int(size)) }},
		{&r.Within, func() error { return stream.Copy(at[1], at[0], size) }},
		{&r.FromDevice, func() error { return stream.DownloadAsync(host, 0, at[1], int(size)) }},
	} {
		best, err := d.fastest(stream, c.copy)
		if err != nil {
			return r, false, err
		}
		*c.rate = float64(size) / best.Seconds()
		long = long && best >= measureLong
	}
	return r, long, nil
}

// fastest is the least time on the GPU that work takes.
func (d *device) fastest(s *driver.Stream, work func() error) (best time.Duration, err error) {
	var events [2]*driver.Event
	for i := range events {
		if events[i], err = d.context.NewEvent(true); err != nil {
			return 0, err
		}
		defer events[i].Close()
	}
	for i := range measureBest {
		if err := errors.Join(events[0].Record(s), work(), events[1].Record(s), events[1].Synchronize()); err != nil {
			return 0, err
		}
		took, err := events[1].Elapsed(events[0])
		if err != nil {
			return 0, err
		}
		if took = max(took, time.Nanosecond); i == 0 || took < best {
			best = took
		}
	}
	return best, nil
}
