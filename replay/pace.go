package replay

import "time"

// pace sizes batches by time. A batch has costs of its own, a scratch database and its migrations, so that a long queue
// wants large ones; but for as long as one reads, blue can't clean up after its updates, and what it holds is in memory.
//
// Those own costs grow with the load of green's server. Where they are most of what a batch takes, smaller batches take no
// less time and only bring less: replay would fall behind for good. So a size that was halved and brought less goes back, and one
// that is smaller than what was asked for is doubled from time to time, to see whether it brings more.
type pace struct {
	limit, least, most int
	asked              int
	tolerated          time.Duration // what a batch may take before the next one is made smaller
	before             float64       // changes a second at twice the size; 0: the size was not just halved
	tried              float64       // changes a second at half the size; 0: the size was not just doubled for a trial
	calm, patience     int           // batches of one size, and after how many of them there is a trial
}

const (
	pleasant = time.Second      // what a batch of a long queue should take
	slowest  = 10 * time.Second // past this, batches get smaller whatever it costs
	stretch  = 10               // how far it may get from the size that was asked for
	soon     = 4                // batches before the first trial
	seldom   = 64               // batches between two of them at most
	worth    = 1.3              // how many times as much a trial has to bring
)

func newPace(batch int) pace {
	return pace{limit: batch, asked: batch, least: max(1, batch/stretch), most: batch * stretch, tolerated: 2 * pleasant, patience: soon}
}

// learn sets the next size from how many changes a full batch had and how long it took.
func (p *pace) learn(changes int64, took time.Duration) {
	rate := float64(changes) / took.Seconds()
	halved, half := p.before, p.tried
	p.before, p.tried = 0, 0
	p.calm++
	defer func(was int) {
		if p.limit != was {
			p.calm = 0
		}
	}(p.limit)
	switch {
	case half > 0 && rate < worth*half:
		p.limit = max(p.limit/2, p.least)
		p.patience = min(2*p.patience, seldom)
	case half > 0:
		p.patience = soon
	case took < pleasant/2:
		p.limit = min(2*p.limit, p.most)
		p.tolerated = max(2*pleasant, p.tolerated/2)
	case halved > 0 && rate < 0.75*halved && took <= slowest:
		p.limit = min(2*p.limit, p.most)
		p.tolerated = min(2*p.tolerated, slowest)
	case took > p.tolerated && p.limit > p.least:
		p.limit = max(p.limit/2, p.least)
		p.before = rate
	case p.limit < p.asked && p.calm >= p.patience && took <= slowest/2:
		p.limit = min(2*p.limit, p.asked)
		p.tolerated = min(max(p.tolerated, 2*took), slowest)
		p.tried = rate
	}
}
