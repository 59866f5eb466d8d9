package traffic

import "slices"

// standing is what is known of a browser's login.
type standing int

const (
	unclear standing = iota
	out              // nobody is logged in
	in               // somebody is, and wants to be remembered
)

// loggedIn judges whether browsers are logged in as they should be: whoever was remembered is not asked again until they log
// out, and whoever logged out is. A person has one browser, and does one thing after the other.
func (j *judge) loggedIn() {
	people := map[string][]*op{}
	for _, o := range j.ops {
		if (o.Kind == Login || o.Kind == Consent || o.Kind == Logout) && (o.Target != Bypass || !j.oldSide(o.start)) {
			people[o.Subject] = append(people[o.Subject], o)
		}
	}
	turns := turns(j.marks)
	j.standings = map[string]int{}
	for _, ops := range people {
		slices.SortStableFunc(ops, func(a, b *op) int { return compare(a.start, b.start) })
		j.browser(ops, turns)
	}
}

// browser goes through what one person did.
func (j *judge) browser(ops []*op, turns []turn) {
	state, by := out, (*op)(nil)   // by: what made it so
	remembered := map[string]*op{} // flows whose login was accepted to be remembered, and that are not through
	skipped := map[string]bool{}
	for _, o := range ops {
		for _, t := range turns { // a login on the new side stayed there; a log-out comes back
			if state == in && by != nil && by.end >= t.from && by.start < t.to && o.end >= t.back {
				state = unclear
			}
		}
		if hold := j.when(MarkHold); j.expect.ForgetsLogins && state == in && by.start < hold && o.end >= hold {
			state = unclear
		}
		switch done := j.effect(o) == done; {
		case o.Kind == Login && o.Step == Read && done && o.answer.Skipped != nil:
			skipped[o.Session] = *o.answer.Skipped
			if len(remembered) > 0 { // a flow that broke off may have logged the person in
				state = unclear
				clear(remembered)
			}
			if state != unclear && j.late(o) {
				j.standings[map[standing]string{in: "living login", out: "dead login"}[state]]++
			}
			switch {
			case state == in && !*o.answer.Skipped:
				j.find(RefusedLiving, []*op{o, by}, "%s asks %s to log in, whom %s had been told to remember", about(o), o.Subject, about(by))
			case state == out && *o.answer.Skipped && by == nil:
				j.find(AcceptedDead, []*op{o}, "%s takes %s for logged in, who never was", about(o), o.Subject)
			case state == out && *o.answer.Skipped:
				j.find(AcceptedDead, []*op{o, by}, "%s takes %s for logged in, who had logged out by %s", about(o), o.Subject, about(by))
			}
		case o.Kind == Login && o.Step == Accept && j.effect(o) != without && !skipped[o.Session]:
			if o.Remember {
				remembered[o.Session] = o
			} else {
				state, by = unclear, nil
			}
		case o.Kind == Consent && o.Step == Finish && done && o.answer.Issued != nil && remembered[o.Session] != nil:
			delete(remembered, o.Session)
			state, by = in, o
		case o.Kind == Logout && o.answer != nil && o.answer.LoggedOut && done:
			state, by = out, o
		case o.Kind == Logout && j.effect(o) != without:
			state, by = unclear, nil
		}
	}
}
