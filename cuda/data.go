//go:build linux && cgo

package cuda

import (
	"errors"
	"hash/maphash"
	"slices"
	"sync"

	"netmend/cuda/driver"
)

// A data set is uploaded once per GPU: executables that load equal columns share them, and a column that nobody uses any more stays until its memory is
// wanted, for the next training of a search.

// content tells columns apart: their length and 128 bits of two hashes with random keys over all of it. It has to be all, as callers may change a few
// values of a slice and load it again. The hash is the runtime's own: both sums together pass 4.9 GB/s on a core where SHA-256 makes 1.5 (go test ./cuda
// -bench Content). It is not made against an adversary, who would have to guess the keys, which are of this process alone.
type content struct {
	bytes int
	sums  [2]uint64
}

var hashKeys = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// hashBlock is what is hashed at once: both hashes find it in the cache.
const hashBlock = 256 << 10

func contentOf(b []byte) content {
	var sums [2]maphash.Hash
	for k := range sums {
		sums[k].SetSeed(hashKeys[k])
	}
	for block := range slices.Chunk(b, hashBlock) {
		for k := range sums {
			maphash.WriteComparable(&sums[k], maphash.Bytes(hashKeys[k], block))
		}
	}
	return content{len(b), [2]uint64{sums[0].Sum64(), sums[1].Sum64()}}
}

// column is a Data tensor's elements on a GPU.
type column struct {
	gpu     *gpu
	content content
	at      driver.Pointer
	size    int64 // in bytes, as allocated

	// Guarded by gpu.mu:
	users int
	used  uint64 // when, by gpu.uses
	// Known once uploading is closed:
	uploading chan struct{}
	ready     *driver.Event // after the upload; on the device, since the host does not wait for it
	failure   error
}

// column finds elements on the GPU, or uploads them. Whoever gets a column gives it back by release, and lets the stream that reads it Wait for ready.
func (g *gpu) column(elements []byte) (*column, error) {
	key := contentOf(elements)
	for {
		if c := g.use(key); c != nil {
			<-c.uploading
			if c.failure != nil {
				return nil, errors.Join(c.failure, c.release())
			}
			return c, nil
		}
		// The upload is the task of the first who has the memory for it; allocate takes the lock that use does, so another may be faster in between.
		size := int64(roundUp(max(len(elements), 1)))
		at, err := g.allocate(size)
		if err != nil {
			return nil, err
		}
		c := &column{gpu: g, content: key, at: at[0], size: size, users: 1, uploading: make(chan struct{})}
		if !g.add(c) {
			if err := g.free(at, size); err != nil {
				return nil, err
			}
			continue
		}
		if c.ready, c.failure = g.context.NewEvent(false); c.failure == nil {
			c.failure = g.upload.copy(c.at, elements, c.ready)
		}
		close(c.uploading)
		if c.failure != nil {
			return nil, errors.Join(c.failure, c.release())
		}
		return c, nil
	}
}

// use finds a column that is there.
func (g *gpu) use(key content) *column {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.data[key]
	if c != nil {
		c.users++
	}
	return c
}

// add makes a column known, unless there is an equal one.
func (g *gpu) add(c *column) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.data[c.content] != nil {
		return false
	}
	g.data[c.content] = c
	return true
}

// release ends a use of the column, when nothing is under way that reads it. It stays where it is, unless it could not be uploaded.
func (c *column) release() error {
	g := c.gpu
	g.mu.Lock()
	defer g.mu.Unlock()
	g.uses++
	c.users, c.used = c.users-1, g.uses
	if c.failure != nil && c.users == 0 {
		return g.drop(c)
	}
	return nil
}

// evict frees the column that was not used for longest; false: all are in use. The caller holds gpu.mu.
func (g *gpu) evict() bool {
	var oldest *column
	for _, c := range g.data {
		if c.users == 0 && (oldest == nil || c.used < oldest.used) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	// An error is that of a lost GPU, which whoever wants the memory hears of as well.
	_ = g.drop(oldest)
	return true
}

// drop frees a column. The caller holds gpu.mu.
func (g *gpu) drop(c *column) error {
	delete(g.data, c.content)
	g.held -= granules(c.size)
	var errs []error
	if c.ready != nil { // a reader may have closed before it came to wait for the upload
		errs = append(errs, c.ready.Synchronize(), c.ready.Close())
	}
	return errors.Join(append(errs, g.context.Free(c.at))...)
}

// stagingBytes is the size of each of the two buffers that uploads go through: a copy of it takes some hundred microseconds over PCIe, which is long beside
// the ten that it takes to begin one.
const stagingBytes = 4 << 20

// staging is page-locked memory that data sets go through on their way to the GPU: while one half is copied from, the other is filled.
type staging struct {
	mu     sync.Mutex
	stream *driver.Stream
	half   [2]*driver.Host
	copied [2]*driver.Event // what was copied from each half last has arrived
}

func (s *staging) open(x *driver.Context) (err error) {
	if s.stream, err = x.NewStream(); err != nil {
		return err
	}
	for i := range s.half {
		if s.half[i], err = x.AllocHost(stagingBytes); err != nil {
			return err
		}
		if s.copied[i], err = x.NewEvent(false); err != nil {
			return err
		}
	}
	return nil
}

// copy uploads elements, and records ready behind the last copy. When it returns, the elements have been read, and may not have arrived yet.
func (s *staging) copy(to driver.Pointer, elements []byte, ready *driver.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := 0
	for block := range slices.Chunk(elements, stagingBytes) {
		half, copied := s.half[i%2], s.copied[i%2]
		if err := copied.Synchronize(); err != nil {
			return err
		}
		copy(half.Bytes(), block)
		if err := s.stream.UploadAsync(to+driver.Pointer(i*stagingBytes), half, 0, len(block)); err != nil {
			return err
		}
		if err := copied.Record(s.stream); err != nil {
			return err
		}
		i++
	}
	return ready.Record(s.stream)
}

func (s *staging) close() error {
	var errs []error
	if s.stream != nil {
		errs = append(errs, s.stream.Synchronize())
	}
	for i := range s.half {
		if s.copied[i] != nil {
			errs = append(errs, s.copied[i].Close())
		}
		if s.half[i] != nil {
			errs = append(errs, s.half[i].Close())
		}
	}
	if s.stream != nil {
		errs = append(errs, s.stream.Close())
	}
	return errors.Join(errs...)
}
