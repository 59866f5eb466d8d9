package replay

import "time"

// pace sizes batches by time. A batch has costs of its own, a scratch database and its migrations, so that a long queue
// wants large ones; but for as long as one reads, blue can't clean up after its updates, and what it holds is in memory.
type pace struct {
	limit, least, most int
}

const (
	pleasant = time.Second // what a batch of a long queue should take
	stretch  = 10          // how far it may get from the size that was asked for
)

func newPace(batch int) pace {
	return pace{limit: batch, least: max(1, batch/stretch), most: batch * stretch}
}

// learn sets the next size from how long a full batch took.
func (p *pace) learn(took time.Duration) {
	switch {
	case took < pleasant/2:
		p.limit = min(2*p.limit, p.most)
	case took > 2*pleasant:
		p.limit = max(p.limit/2, p.least)
	}
}
