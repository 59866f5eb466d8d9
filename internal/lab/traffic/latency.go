package traffic

import (
	"slices"
	"time"
)

// Summary is how long requests took, from the client's point of view.
type Summary struct {
	Count         int
	P50, P95, Max time.Duration
}

// Summarize takes the figures of durations, by nearest rank.
func Summarize(ds []time.Duration) Summary {
	if len(ds) == 0 {
		return Summary{}
	}
	ds = slices.Sorted(slices.Values(ds))
	rank := func(p int) time.Duration { return ds[(len(ds)*p+99)/100-1] }
	return Summary{Count: len(ds), P50: rank(50), P95: rank(95), Max: ds[len(ds)-1]}
}

// Latency summarizes the answered requests through the router that began between two marks: the first one named from,
// and the first one named to after it (without one: the end). Without kinds it takes all.
func (h *History) Latency(from, to string, kinds ...Kind) Summary {
	ops, _, _ := fold(h)
	starts := h.When(from)
	if len(starts) == 0 {
		return Summary{}
	}
	begin, end := starts[0], never
	for _, at := range h.When(to) {
		if at >= begin {
			end = at
			break
		}
	}
	var ds []time.Duration
	for _, o := range ops {
		if o.start >= begin && o.start < end && o.end != never && o.Target == Router &&
			(len(kinds) == 0 || slices.Contains(kinds, o.Kind)) {
			ds = append(ds, o.end-o.start)
		}
	}
	return Summarize(ds)
}

// Held summarizes the requests that waited because of the switch: writes and logins through the router that began
// between the last hold before the release and the release, or were sent before and answered only after it.
func (h *History) Held() Summary {
	ops, tl, _ := fold(h)
	hold, released := lastHold(tl.marks)
	var ds []time.Duration
	for _, o := range ops {
		within := o.start >= hold && o.start < released
		across := o.start < hold && o.end >= released && o.end != never
		if o.Target == Router && o.Kind.waits() && (within || across) && o.end != never {
			ds = append(ds, o.end-o.start)
		}
	}
	return Summarize(ds)
}

// ReadsInHold summarizes the requests of the kinds that no switch holds, as far as they began within the last hold.
func (h *History) ReadsInHold() Summary {
	ops, tl, _ := fold(h)
	hold, released := lastHold(tl.marks)
	var ds []time.Duration
	for _, o := range ops {
		if o.Target == Router && (o.Kind == Introspect || o.Kind == Userinfo || o.Kind == JWKS || o.Kind == Discovery) &&
			o.start >= hold && o.start < released && o.end != never {
			ds = append(ds, o.end-o.start)
		}
	}
	return Summarize(ds)
}

// lastHold is the last hold before the first release, or twice never.
func lastHold(marks []Record) (hold, released time.Duration) {
	hold, released = never, never
	for _, m := range marks {
		switch {
		case m.Mark == MarkHold && (released == never || hold == never):
			hold, released = m.At, never
		case (m.Mark == MarkReleased || m.Mark == MarkAborted) && hold != never && released == never:
			released = m.At
		}
	}
	return hold, released
}

// waits reports whether a router holds requests of this kind during a switch.
func (k Kind) waits() bool {
	return k.Writes() || k == Login || k == Consent || k == Logout
}
