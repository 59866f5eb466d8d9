package traffic

import (
	"fmt"
	"math"
	"time"
)

// never is later than anything in a history.
const never = time.Duration(math.MaxInt64)

// op is one request with its answer. Without an answer it ends never.
type op struct {
	Request
	id         int64
	start, end time.Duration
	answer     *Answer
}

// misdirected reports whether a request that no browser sent was answered by a redirect.
func (o *op) misdirected() bool {
	switch o.Kind {
	case Login, Consent, Logout, Refuse:
		return false
	}
	return o.answer != nil && o.answer.Status >= 300 && o.answer.Status < 400
}

// effect is what a request may have done to the server's state.
type effect int

const (
	without effect = iota // refused: changed nothing
	unknown               // no answer, or a server error: it may have taken effect at any time after its start
	done                  // acknowledged
)

// timeline is the marks, as the judge needs them.
type timeline struct {
	started  time.Time
	marks    []Record
	released time.Duration // when it was last settled which side serves: released, aborted or rolled back; else never
	replay   time.Duration // the first mark of replay or hold; never without one
	last     time.Duration // of anything
	refusal  Refusal
}

// fold turns records into requests in the order of their ids, and finds what is wrong with the record itself.
func fold(h *History) ([]*op, timeline, []Finding) {
	var ops []*op
	var bad []Finding
	broken := func(id int64, format string, args ...any) {
		bad = append(bad, Finding{BrokenHistory, []int64{id}, fmt.Sprintf(format, args...)})
	}
	tl := timeline{started: h.Started, released: never, replay: never, refusal: h.Expect.Refusal}
	byID := map[int64]*op{}
	for n, r := range h.Records {
		if r.At < tl.last {
			broken(r.Op, "record %d (request %d) is %s older than the record before it", n+1, r.Op, tl.last-r.At)
		}
		tl.last = max(tl.last, r.At)
		switch {
		case r.Mark != "" && r.Request == nil && r.Answer == nil:
			tl.mark(r)
		case r.Request != nil && r.Answer == nil && r.Mark == "":
			if want := int64(len(ops) + 1); r.Op != want {
				broken(r.Op, "request %d stands where request %d should: requests are missing or out of order", r.Op, want)
			}
			if byID[r.Op] != nil {
				broken(r.Op, "request %d is recorded twice", r.Op)
				continue
			}
			if !r.Request.Kind.Known() || (r.Request.Target != Router && r.Request.Target != Bypass) {
				broken(r.Op, "request %d is of kind %q to %q, which no client sends", r.Op, r.Request.Kind, r.Request.Target)
			}
			o := &op{Request: *r.Request, id: r.Op, start: r.At, end: never}
			ops, byID[r.Op] = append(ops, o), o
		case r.Answer != nil && r.Request == nil && r.Mark == "":
			o := byID[r.Op]
			if o == nil {
				broken(r.Op, "request %d is answered before it was sent, or was never sent", r.Op)
				continue
			}
			if o.answer != nil {
				broken(r.Op, "request %d has two answers", r.Op)
				continue
			}
			o.answer, o.end = r.Answer, r.At
		default:
			broken(r.Op, "record %d is neither a request nor an answer nor a mark", n+1)
		}
	}
	if h.Closed != len(h.Records) {
		broken(0, "the history has %d records and was closed with %d: it was cut", len(h.Records), h.Closed)
	}
	for _, o := range ops {
		if o.answer == nil {
			bad = append(bad, Finding{UnansweredWorker, []int64{o.id}, fmt.Sprintf("%s has no end: its worker died", about(o))})
		}
	}
	return ops, tl, bad
}

func (tl *timeline) mark(r Record) {
	tl.marks = append(tl.marks, r)
	switch r.Mark {
	case MarkReplay, MarkHold:
		tl.replay = min(tl.replay, r.At)
	case MarkReleased, MarkAborted, MarkRollback:
		tl.released = r.At
	}
}

// fenced reports whether the old side was to refuse writes at some time up to t, by the last mark before it.
func (tl *timeline) fenced(t time.Duration) bool {
	fenced := false
	for _, m := range tl.marks {
		if m.At > t {
			break
		}
		switch m.Mark {
		case MarkHold, MarkReleased:
			fenced = true
		case MarkAborted, MarkRollback:
			fenced = false
		}
	}
	return fenced
}

// oldSide reports whether the new side served at t, so that a request past the router met a server out of use.
func (tl *timeline) oldSide(t time.Duration) bool {
	served := false
	for _, m := range tl.marks {
		if m.At > t {
			break
		}
		switch m.Mark {
		case MarkReleased:
			served = true
		case MarkRollback:
			served = false
		}
	}
	return served
}

// switching reports whether [from, to] touches a hold, or the grace that browsers have after it.
func (tl *timeline) switching(from, to time.Duration) bool {
	const grace = 30 * time.Second
	for _, m := range tl.marks {
		if (m.Mark == MarkHold || m.Mark == MarkReleased || m.Mark == MarkRollback) && m.At <= to && from <= m.At+grace {
			return true
		}
	}
	return false
}

// refusedWrite reports whether o is a write that the old side's fence refused, as it should: no failure, and no effect.
func (tl *timeline) refusedWrite(o *op) bool {
	return o.Target == Bypass && o.answer != nil && tl.refusal.is(*o.answer) && tl.fenced(o.end)
}

// effect says what o may have done.
func (tl *timeline) effect(o *op) effect {
	switch {
	case o.answer == nil, o.answer.Transport != "":
		return unknown
	case tl.refusedWrite(o):
		return without
	case o.answer.Status >= 500, o.misdirected():
		return unknown
	case o.answer.Status >= 400, o.answer.Error != "", o.answer.Status == 0:
		return without
	}
	return done
}

// over is when o can no longer take effect: never, if its answer was lost.
func (tl *timeline) over(o *op) time.Duration {
	if tl.effect(o) == unknown {
		return never
	}
	return o.end
}
