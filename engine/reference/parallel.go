package reference

import (
	"runtime"
	"sync"
)

// grain is the least work, in units of about a nanosecond, that is worth a goroutine of its own (starting one costs about 1,000).
const grain = 20_000

// parallel calls f on disjoint ranges that cover [0, n), on as many goroutines as n items of so much cost each are worth. What f computes
// for an item must not depend on the range that the item falls into.
func parallel(n, cost int, f func(lo, hi int)) {
	workers := min(runtime.GOMAXPROCS(0), n, n*max(cost, 1)/grain)
	if workers <= 1 {
		if n > 0 {
			f(0, n)
		}
		return
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { f(w*n/workers, (w+1)*n/workers) })
	}
	wg.Wait()
}
