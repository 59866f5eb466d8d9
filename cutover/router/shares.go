package router

import (
	"container/heap"
	"container/list"
)

// A hold has so many places and takes so many bytes. While there is room, everybody gets some. When there is none, a
// newcomer gets the place of somebody who has more than the newcomer would have: first the address that has most gives
// one up, within it the connection that has most, and within that the client (client_id) that has most. So whoever fills
// a hold, over however many connections and in however many names, does so until others come, and no longer.
//
// Who gives a place up has waited least of his, has not been forwarded, and is told to try again.

// claim says whose a request that is to wait is, and how many bytes it keeps.
type claim struct {
	address    string
	connection string // "" where connections carry the requests of many
	client     string // client_id; "" where the request does not say it
	size       int64
}

// claimant is asked for its claim when it has to wait.
type claimant interface{ claim() claim }

// waiter is a request that waits.
type waiter struct {
	claim
	weight int64
	out    chan struct{} // closed when it has given its place up
	gone   bool          // it has no place any more
	leaf   *party
	place  *list.Element // among those of leaf
	byName *list.Element // among those of its client, at whatever address
}

// party is those who share: an address, a connection of it, or a client on that. The root is all.
type party struct {
	key      string
	parent   *party
	children map[string]*party
	order    byWeight // the children, the heaviest first
	index    int      // in parent.order
	weight   int64
	count    int
	waiters  *list.List // of *waiter, of a leaf, the newest last
}

type byWeight []*party

func (b byWeight) Len() int           { return len(b) }
func (b byWeight) Less(i, j int) bool { return b[i].weight > b[j].weight }
func (b byWeight) Swap(i, j int)      { b[i], b[j] = b[j], b[i]; b[i].index, b[j].index = i, j }
func (b *byWeight) Push(x any)        { p := x.(*party); p.index = len(*b); *b = append(*b, p) }
func (b *byWeight) Pop() any {
	last := len(*b) - 1
	p := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	return p
}

// shares are the places of a hold. Its user locks it.
type shares struct {
	places  int
	bytes   int64
	each    int64 // what a place weighs, in bytes
	taken   int
	kept    int64
	root    party
	clients map[string]*list.List // of *waiter, the newest last
	heavy   string                // the client that may have more than half of the places
}

func newShares(l Limits) *shares {
	return &shares{
		places: l.Queue, bytes: l.QueueBytes, each: max(1, l.QueueBytes/int64(l.Queue)),
		clients: map[string]*list.List{},
	}
}

// take gives a place, if need be another's. It is nil where there is none for the claimant.
func (s *shares) take(c claim) *waiter {
	w := &waiter{claim: c, weight: s.each + c.size, out: make(chan struct{})}
	for s.taken >= s.places || s.kept+c.size > s.bytes {
		v := s.yielding(w)
		if v == nil {
			return nil
		}
		s.give(v)
		close(v.out)
	}
	s.taken++
	s.kept += c.size
	w.leaf = &s.root
	for _, key := range w.path() {
		w.leaf.add(w, 1)
		w.leaf = w.leaf.child(key)
	}
	w.leaf.add(w, 1)
	if w.leaf.waiters == nil {
		w.leaf.waiters = list.New()
	}
	w.place = w.leaf.waiters.PushBack(w)
	if c.client != "" {
		all := s.clients[c.client]
		if all == nil {
			all = list.New()
			s.clients[c.client] = all
		}
		w.byName = all.PushBack(w)
		if all.Len() > s.places/2 {
			s.heavy = c.client
		}
	}
	return w
}

// give takes a place back, once.
func (s *shares) give(w *waiter) {
	if w.gone {
		return
	}
	w.gone = true
	s.taken--
	s.kept -= w.size
	w.leaf.waiters.Remove(w.place)
	for p := w.leaf; p != nil; p = p.parent {
		p.add(w, -1)
		if p.count == 0 && p.parent != nil {
			heap.Remove(&p.parent.order, p.index)
			delete(p.parent.children, p.key)
		}
	}
	if w.byName != nil {
		all := s.clients[w.client]
		if all.Remove(w.byName); all.Len() == 0 {
			delete(s.clients, w.client)
		}
	}
}

// path is whom a claim counts for, from the address on.
func (c claim) path() [3]string { return [3]string{c.address, c.connection, c.client} }

func (p *party) child(key string) *party {
	c := p.children[key]
	if c == nil {
		if p.children == nil {
			p.children = map[string]*party{}
		}
		c = &party{key: key, parent: p}
		p.children[key] = c
		heap.Push(&p.order, c)
	}
	return c
}

func (p *party) add(w *waiter, sign int) {
	p.weight += int64(sign) * w.weight
	p.count += sign
	if p.parent != nil {
		heap.Fix(&p.parent.order, p.index)
	}
}

// yielding is who gives a place up for a newcomer, or nil.
func (s *shares) yielding(w *waiter) *waiter {
	at := &s.root
	for _, key := range w.path() {
		if len(at.order) == 0 {
			return nil
		}
		own, most := at.children[key], at.order[0]
		if own != most && most.heavier(own, w) {
			return most.newest()
		}
		if own == nil {
			break
		}
		at = own
	}
	return s.ofHeavyClient(w)
}

// heavier reports whether a party has more than another would have with a newcomer. A single request gives way only to one
// that is much smaller.
func (p *party) heavier(other *party, w *waiter) bool {
	would := w.weight
	if other != nil {
		would += other.weight
	}
	if p.count == 1 {
		return 4*would < p.weight
	}
	return would < p.weight
}

// newest is the last that came of those who have most.
func (p *party) newest() *waiter {
	for p.waiters == nil {
		p = p.order[0]
	}
	return p.waiters.Back().Value.(*waiter)
}

// ofHeavyClient is who gives a place up because his client has more than half of all, over many addresses or connections.
// Names are easily invented: a newcomer's address must have no more by it than the one that loses a place.
func (s *shares) ofHeavyClient(w *waiter) *waiter {
	all := s.clients[s.heavy]
	if all == nil || all.Len() <= s.places/2 || w.client == s.heavy || w.client == "" {
		return nil
	}
	v := all.Back().Value.(*waiter)
	if own := s.root.children[w.address]; own != nil && v.address != w.address && own.weight+w.weight > s.root.children[v.address].weight {
		return nil
	}
	return v
}
