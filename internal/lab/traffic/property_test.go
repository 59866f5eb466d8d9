package traffic

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/lab/slice"
)

// simulation runs many clients against a model on a clock of its own: every request takes effect at a random instant
// between its start and its end, so that its history is linearizable and full of overlaps.
type simulation struct {
	r       *rand.Rand
	server  *model // the server that answers
	truth   *model // what a faultless one would do, with the same requests at the same instants
	fault   string
	struck  string // what the fault hit; empty: nothing yet
	lossy   bool   // some answers get lost
	now     int
	ops     []*simOp
	pending []*simOp
	tokens  []simToken
	codes   []simToken
	clients []string
}

type simToken struct{ hash, client, subject, chain string }

type simOp struct {
	id              int
	q               Request
	a               Answer
	start, lin, end int
	dropped         bool // the fault swallowed it
	wrong           bool // a faultless server would have answered otherwise
	lost            bool
	done            bool
	chain           string
}

func (s *simulation) begin(q Request, chain string) {
	q.Worker, q.Target = "w", Router
	o := &simOp{id: len(s.ops) + 1, q: q, start: s.now, chain: chain}
	o.lin = o.start + 1 + s.r.IntN(14)
	o.end = o.lin + 1 + s.r.IntN(14)
	if s.lossy && s.r.IntN(40) == 0 {
		o.lost = true
		o.lin = o.start + 1 + s.r.IntN(60) // perhaps after its client has given up
	}
	s.ops, s.pending = append(s.ops, o), append(s.pending, o)
}

// step lets a millisecond pass.
func (s *simulation) step() {
	s.now++
	for _, o := range s.pending {
		if o.lin == s.now {
			s.effect(o)
		}
		if o.end == s.now {
			s.answered(o)
		}
	}
	s.pending = slices.DeleteFunc(s.pending, func(o *simOp) bool { return o.end <= s.now && o.lin <= s.now })
}

func (s *simulation) effect(o *simOp) {
	id := fmt.Sprint(o.id)
	if o.lost && s.r.IntN(2) == 0 {
		return
	}
	right := s.truth.apply(id, o.q)
	if s.fault == "drop a revocation" && s.struck == "" && o.q.Kind.Revokes() && s.now > 400 && s.r.IntN(4) == 0 && right.Status < 300 {
		s.struck, o.dropped, o.a = string(o.q.Kind), true, right
		return
	}
	answer := s.server.apply(id, o.q)
	if o.done {
		return // its client has given up
	}
	o.a = answer
	o.wrong = !reflect.DeepEqual(o.a, right)
	if s.fault == "flip one introspection" && s.struck == "" && o.q.Kind == Introspect && s.now > 400 && s.r.IntN(10) == 0 {
		flipped := !*o.a.Active
		s.struck, o.wrong = o.q.Token, true
		o.a = Answer{Status: 200, Active: &flipped}
		if t := s.truth.tokens[o.q.Token]; flipped && t != nil {
			c := s.truth.chains[t.chain]
			o.a.Subject, o.a.Client, o.a.Scope = c.subject, c.client, c.scope
		}
	}
}

// answered lets the clients know.
func (s *simulation) answered(o *simOp) {
	o.done = true
	if o.lost {
		o.a = Answer{Transport: "timeout"}
		return
	}
	if o.a.Client != "" && o.q.Kind == CreateClient {
		s.clients = append(s.clients, o.a.Client)
	}
	if i := o.a.Issued; i != nil {
		if i.Code != "" {
			s.codes = append(s.codes, simToken{i.Code, o.q.Client, o.q.Subject, i.Code})
			return
		}
		chain := o.chain
		for _, h := range []string{i.Access, i.Refresh} {
			s.tokens = append(s.tokens, simToken{h, o.q.Client, o.q.Subject, chain})
		}
	}
}

// act begins a random request of a client that knows what has been answered so far.
func (s *simulation) act() {
	recent := func(refresh bool) (simToken, bool) {
		lately := s.tokens[max(0, len(s.tokens)-40):]
		for range 5 {
			if len(lately) > 0 {
				if t := lately[s.r.IntN(len(lately))]; (t.hash[:2] == "rt") == refresh {
					return t, true
				}
			}
		}
		return simToken{}, false
	}
	at, haveAT := recent(false)
	rt, haveRT := recent(true)
	subject := fmt.Sprintf("u%d", s.r.IntN(8))
	switch n := s.r.IntN(100); {
	case len(s.clients) < 2 || n < 3:
		s.begin(Request{Kind: CreateClient}, "")
	case n < 15:
		c := s.clients[s.r.IntN(len(s.clients))]
		s.begin(Request{Kind: Consent, Step: Finish, Session: simSession(len(s.ops)), Subject: subject, Client: c, Scope: "openid offline"}, "")
	case len(s.codes) > 0:
		c := s.codes[0]
		s.codes = s.codes[1:]
		s.begin(Request{Kind: Exchange, Client: c.client, Subject: c.subject, Token: c.hash}, c.chain)
	case n < 35 && haveRT:
		s.begin(Request{Kind: Refresh, Client: rt.client, Subject: rt.subject, Token: rt.hash}, rt.chain)
	case n < 60 && haveAT:
		s.begin(Request{Kind: Introspect, Client: at.client, Token: at.hash}, at.chain)
	case n < 68 && haveRT:
		s.begin(Request{Kind: Introspect, Client: rt.client, Token: rt.hash}, rt.chain)
	case n < 74 && haveAT:
		s.begin(Request{Kind: RevokeAccess, Client: at.client, Token: at.hash}, at.chain)
	case n < 79 && haveRT:
		s.begin(Request{Kind: RevokeRefresh, Client: rt.client, Token: rt.hash}, rt.chain)
	case n < 82 && haveAT:
		s.begin(Request{Kind: RevokeConsent, Subject: at.subject, Client: at.client}, "")
	case n < 84:
		s.begin(Request{Kind: RevokeSubject, Subject: subject}, "")
	case n < 85:
		s.begin(Request{Kind: DeleteClient, Client: s.clients[s.r.IntN(len(s.clients))]}, "")
	case n < 90:
		s.begin(Request{Kind: GetClient, Client: s.clients[s.r.IntN(len(s.clients))]}, "")
	default:
		s.begin(Request{Kind: ListConsents, Subject: subject}, "")
	}
}

const simEnd = 1600

func simulate(seed uint64, fault string, lossy bool) *simulation {
	s := &simulation{r: rand.New(rand.NewPCG(seed, 3)), server: newModel(), truth: newModel(), fault: fault, lossy: lossy}
	strikes := 500 + s.r.IntN(500)
	for s.now < simEnd {
		s.step()
		if s.r.IntN(3) == 0 && len(s.pending) < 12 {
			s.act()
		}
		switch fault {
		case "", "drop a revocation", "flip one introspection", "drop a request":
		default:
			if s.now >= strikes && s.struck == "" {
				if hit, ok := s.server.spoil(s.r, fault); ok {
					s.struck = hit
				}
			}
		}
	}
	s.settle()
	// The sweep: everything that was handed out, then the last refresh tokens.
	for _, t := range slices.Clone(s.tokens) {
		s.begin(Request{Kind: Introspect, Client: t.client, Token: t.hash}, t.chain)
		s.step()
	}
	for i := range 8 {
		s.begin(Request{Kind: ListConsents, Subject: fmt.Sprintf("u%d", i)}, "")
	}
	for _, c := range s.clients {
		s.begin(Request{Kind: GetClient, Client: c}, "")
	}
	s.settle()
	last := map[string]simToken{}
	for _, t := range s.tokens {
		if t.hash[:2] == "rt" {
			last[t.chain] = t
		}
	}
	for _, t := range s.tokens {
		if last[t.chain] == t {
			s.begin(Request{Kind: Refresh, Client: t.client, Subject: t.subject, Token: t.hash}, t.chain)
		}
	}
	s.settle()
	return s
}

func (s *simulation) settle() {
	for len(s.pending) > 0 {
		s.step()
	}
}

func (s *simulation) history() *History {
	script := &script{expect: Expect{FailuresAllowed: s.lossy}}
	for _, o := range s.ops {
		script.calls = append(script.calls, &call{Request: o.q, Answer: o.a, start: o.start, end: o.end})
	}
	for at, m := range map[int]string{400: MarkReplay, 1000: MarkHold, simEnd: MarkReleased} {
		script.mark(at, m)
	}
	slices.SortFunc(script.marks, func(a, b Record) int { return compare(a.At, b.At) })
	return script.history()
}

// No linearizable history has a finding, whatever overlaps and whatever answers get lost.
func TestCheckPassesTheModel(t *testing.T) {
	t.Parallel()
	seeds := slice.Of(t, 30, 300)
	for _, lossy := range []bool{false, true} {
		requests := 0
		for _, seed := range seeds {
			s := simulate(uint64(seed), "", lossy)
			v := Check(s.history())
			requests += v.Requests
			bad := slices.DeleteFunc(slices.Clone(v.Findings), func(f Finding) bool { return lossy && f.Class == NothingProved })
			if len(bad) > 0 {
				v.Findings = bad[:min(len(bad), 3)]
				t.Fatalf("seed %d, lossy %t: %s", seed, lossy, v)
			}
		}
		t.Logf("lossy %t: %d requests judged", lossy, requests)
	}
}

// Each fault must be found wherever an answer shows it. A fault that no answer of the whole history shows (such as a
// revocation dropped of a session that was dead already) cannot be found; nor can one whose every wrong answer would be
// right had overlapping requests taken effect in another order.
func TestCheckCatchesMutations(t *testing.T) {
	t.Parallel()
	seeds := slice.Of(t, 15, 150)
	for _, fault := range []string{"drop a revocation", "resurrect a chain", "lose a token", "lose a chain", "lose a consent",
		"lose a client", "swap subjects", "flip one introspection", "drop a request"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			struck, shown, excused, caught := 0, 0, 0, 0
			for _, seed := range seeds {
				s := simulate(uint64(seed), fault, false)
				h := s.history()
				wrong := slices.ContainsFunc(s.ops, func(o *simOp) bool { return o.wrong })
				if fault == "drop a request" {
					id := int64(1 + s.r.IntN(len(s.ops)-1)) // but the last, which leaves no gap
					h.Records = slices.DeleteFunc(h.Records, func(r Record) bool { return r.Op == id })
					h.Closed = len(h.Records)
					s.struck, wrong = fmt.Sprint(id), true
				}
				if s.struck == "" {
					continue
				}
				struck++
				if !wrong {
					continue
				}
				shown++
				v := Check(h)
				switch {
				case slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Class != NothingProved }):
					caught++
				case s.excuse():
					excused++
				default:
					t.Errorf("seed %d: %s struck %s and was not found: %s", seed, fault, s.struck, s.wrongs())
				}
			}
			t.Logf("%-24s struck %d, shown by an answer %d, ambiguous %d, caught %d (%.1f %% of what can be known)", fault, struck, shown,
				excused, caught, 100*float64(caught)/float64(max(1, shown-excused)))
			if shown-excused < len(seeds)/8 {
				t.Errorf("only %d of %d runs can show anything", shown-excused, len(seeds))
			}
		})
	}
}

// excuse reports whether every wrong answer may be right in another order: it meets in time, or comes after a meeting
// of, requests that decide about its session in either order.
func (s *simulation) excuse() bool {
	for _, o := range s.ops {
		if o.wrong && !s.ambiguous(o) {
			return false
		}
	}
	return true
}

// ambiguous says so for one answer: a request on its chain that may end tokens meets the question itself, or two such
// requests met each other before it.
func (s *simulation) ambiguous(o *simOp) bool {
	var enders []*simOp
	for _, e := range s.ops {
		if e == o || e.start >= o.end {
			continue
		}
		same := e.chain != "" && e.chain == o.chain && (e.q.Kind == Refresh || e.q.Kind.Revokes())
		wide := e.q.Kind == RevokeSubject || e.q.Kind == RevokeConsent || e.q.Kind == DeleteClient || e.q.Kind == Consent
		if same || wide && (e.q.Subject == "" || o.q.Subject == "" || e.q.Subject == o.q.Subject) &&
			(e.q.Client == "" || o.q.Client == "" || e.q.Client == o.q.Client) {
			enders = append(enders, e)
		}
	}
	for i, e := range enders {
		if e.end > o.start {
			return true
		}
		if s.fault == "resurrect a chain" && e.chain == o.chain && e.q.Kind == Refresh && e.a.Status == 400 {
			return true // it died of reuse, which only strict servers punish
		}
		for _, f := range enders[i+1:] {
			if e.chain == o.chain && f.chain == o.chain && e.start < f.end && f.start < e.end {
				return true
			}
		}
	}
	return false
}

func (s *simulation) wrongs() string {
	var out []string
	for _, o := range s.ops {
		if o.wrong || o.dropped {
			out = append(out, fmt.Sprintf("\n  %d %s %s %s %s [%d %d %d] chain %s: %+v", o.id, o.q.Kind, o.q.Token, o.q.Subject, o.q.Client,
				o.start, o.lin, o.end, o.chain, o.a))
		}
	}
	return strings.Join(out[:min(len(out), 6)], "")
}
