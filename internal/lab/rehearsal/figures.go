package rehearsal

import (
	"sync/atomic"

	"github.com/tideover/tideover/internal/lab/traffic"
)

// Figures are the clients' figures while a rehearsal goes on, for a screen. The zero value has none yet.
type Figures struct {
	generator atomic.Pointer[traffic.Generator]
}

// Live returns the figures, or false while there is no traffic.
func (f *Figures) Live() (traffic.Live, bool) {
	g := f.generator.Load()
	if g == nil {
		return traffic.Live{}, false
	}
	return g.Live(), true
}
