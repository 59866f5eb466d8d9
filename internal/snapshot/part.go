package snapshot

import (
	"fmt"
	"slices"
	"strings"
)

// part is a unit of copying: a relation, or the rows of one on some pages of its heap. It is on green as a whole or not
// at all, and so is its mark.
type part struct {
	relation
	pieces bool  // the relation is copied in pieces, of which this is one
	from   int64 // first page
	to     int64 // the page after the last; 0: no end, whatever has been added since
}

// chunkDefault is the size from which on a table is copied in pieces of it. A crash costs a piece that was under way, at
// most, and several workers share a big table. What is lost by pieces is COPY's FREEZE.
const chunkDefault = 2 << 30

// String is the name that checkpoints, marks and notes use.
func (p part) String() string {
	switch {
	case !p.pieces:
		return p.relation.String()
	case p.to == 0:
		return fmt.Sprintf("%s, pages from %d", p.relation, p.from)
	}
	return fmt.Sprintf("%s, pages %d to %d", p.relation, p.from, p.to-1)
}

// condition picks the part's rows of all rows t of its relation; "": it is all of them.
func (p part) condition() string {
	if !p.pieces {
		return ""
	}
	c := fmt.Sprintf("t.ctid >= '(%d,0)'::pg_catalog.tid", p.from)
	if p.to > 0 {
		c += fmt.Sprintf(" AND t.ctid < '(%d,0)'::pg_catalog.tid", p.to)
	}
	return c
}

// size estimates the part's bytes on blue's disk, out-of-line values included.
func (p part) size() int64 {
	if !p.pieces || p.pages == 0 {
		return p.bytes
	}
	to := p.to
	if to == 0 {
		to = max(p.pages, p.from)
	}
	return int64(float64(p.bytes) * float64(min(to, p.pages)-min(p.from, p.pages)) / float64(p.pages))
}

// split lists the parts of r that are yet to be copied. Done are those that are there already; where they are pieces,
// all parts are, whatever size r has now. A relation without a primary key goes as a whole: see catchUp. So do all of a
// server before 14 (canSeek), which would read the whole table for every piece.
func split(r relation, done []part, chunk int64, canSeek bool) []part {
	whole := part{relation: r}
	if len(done) == 0 && (!canSeek || r.root || len(r.primary) == 0 || r.bytes <= chunk || r.pages < 2) {
		return []part{whole}
	}
	if len(done) == 1 && !done[0].pieces {
		return nil
	}
	step := max(1, int64(float64(r.pages)*float64(chunk)/float64(max(r.bytes, 1))))
	slices.SortFunc(done, func(a, b part) int { return int(min(max(a.from-b.from, -1), 1)) })
	var todo []part
	next := int64(0)
	gap := func(to int64) { // to 0: no end
		for to == 0 && next+step < r.pages || to > 0 && next+step < to {
			todo = append(todo, part{relation: r, pieces: true, from: next, to: next + step})
			next += step
		}
		if to == 0 || next < to {
			todo = append(todo, part{relation: r, pieces: true, from: next, to: to})
		}
	}
	for _, d := range done {
		if d.from > next {
			gap(d.from)
		}
		if d.to == 0 {
			return todo
		}
		next = d.to
	}
	gap(0)
	return todo
}

// anyOf picks the rows of all of some parts of one relation; "": all rows.
func anyOf(parts []part) string {
	var conditions []string
	for _, p := range parts {
		c := p.condition()
		if c == "" {
			return ""
		}
		conditions = append(conditions, c)
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}
