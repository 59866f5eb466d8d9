package traffic

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"
)

// script writes a history by hand. Times are milliseconds; every call takes ten of them unless the test says otherwise.
type script struct {
	t      *testing.T
	expect Expect
	calls  []*call
	marks  []Record
}

// call is one request of a script; a test may change its times and its answer.
type call struct {
	Request
	Answer     Answer
	start, end int
	noEnd      bool
	id         int64
}

func newScript(t *testing.T) *script {
	return &script{t: t, expect: Expect{Issuer: "http://issuer/"}}
}

func (s *script) mark(at int, name string) {
	s.marks = append(s.marks, Record{At: ms(at), Mark: name})
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func (s *script) add(at int, q Request, a Answer) *call {
	if q.Worker == "" {
		q.Worker = "w1"
	}
	if q.Target == "" {
		q.Target = Router
	}
	if a.Status == 0 && a.Transport == "" {
		a.Status = 200
	}
	c := &call{Request: q, Answer: a, start: at, end: at + 10}
	s.calls = append(s.calls, c)
	return c
}

// client makes a client at the time.
func (s *script) client(at int, id string) *call {
	return s.add(at, Request{Kind: CreateClient}, Answer{Status: 201, Client: id})
}

// session logs a subject in, grants, and trades the code: tokens NAME.at1 and NAME.rt1. It takes 100 ms.
func (s *script) session(at int, name, subject, client string) (consent, exchange *call) {
	q := Request{Session: name, Subject: subject, Client: client, Scope: "openid offline"}
	step := func(at int, k Kind, st Step, a Answer) *call {
		q := q
		q.Kind, q.Step = k, st
		return s.add(at, q, a)
	}
	step(at, Login, Start, Answer{Status: 302})
	step(at+12, Login, Accept, Answer{})
	step(at+24, Consent, Start, Answer{Status: 302})
	step(at+36, Consent, Accept, Answer{})
	consent = step(at+48, Consent, Finish, Answer{Status: 302, Issued: &Issued{Code: name + ".code"}})
	exchange = s.add(at+60, Request{Kind: Exchange, Session: name, Subject: subject, Client: client, Token: name + ".code"},
		Answer{Scope: "openid offline", Issued: &Issued{Access: name + ".at1", Refresh: name + ".rt1", ExpiresIn: 3600,
			IDSubject: subject, IDClient: client, IDIssuer: "http://issuer/", IDKey: "k1", IDExpiresIn: 3600}})
	return consent, exchange
}

// again lets a subject log in to c1 twice: the second time the consent page is skipped.
func (s *script) again(first, second, subject string, at, then int) {
	s.session(at, first, subject, "c1")
	s.session(then, second, subject, "c1")
	for _, o := range s.calls {
		o.Skip = o.Skip || o.Session == second
	}
}

// refresh trades NAME.rtN for NAME.at(N+1) and NAME.rt(N+1).
func (s *script) refresh(at int, client, from, to string) *call {
	name := from[:strings.Index(from, ".")]
	return s.add(at, Request{Kind: Refresh, Client: client, Token: from},
		Answer{Issued: &Issued{Access: name + ".at" + to, Refresh: name + ".rt" + to, ExpiresIn: 3600}})
}

func (s *script) refused(at int, client, token string) *call {
	return s.add(at, Request{Kind: Refresh, Client: client, Token: token}, Answer{Status: 400, Error: "invalid_grant"})
}

func (s *script) active(at int, token, subject, client string) *call {
	yes := true
	return s.add(at, Request{Kind: Introspect, Client: client, Token: token},
		Answer{Active: &yes, Subject: subject, Client: client, Scope: "offline openid"})
}

func (s *script) inactive(at int, token string) *call {
	no := false
	return s.add(at, Request{Kind: Introspect, Token: token}, Answer{Active: &no})
}

func (s *script) revoke(at int, k Kind, client, token string) *call {
	return s.add(at, Request{Kind: k, Client: client, Token: token}, Answer{})
}

func (s *script) revokeConsent(at int, subject, client string) *call {
	return s.add(at, Request{Kind: RevokeConsent, Subject: subject, Client: client}, Answer{Status: 204})
}

func (s *script) list(at int, subject string, clients ...string) *call {
	a := Answer{}
	for _, c := range clients {
		a.Consents = append(a.Consents, Listed{subject, c, "openid offline"})
	}
	return s.add(at, Request{Kind: ListConsents, Subject: subject}, a)
}

func (s *script) get(at int, client string, status int) *call {
	a := Answer{Status: status}
	if status == 200 {
		a.Client = client
	}
	return s.add(at, Request{Kind: GetClient, Client: client}, a)
}

// history puts the calls in order and numbers them by their start.
func (s *script) history() *History {
	slices.SortStableFunc(s.calls, func(a, b *call) int { return cmp.Compare(a.start, b.start) })
	records := slices.Clone(s.marks)
	for i, c := range s.calls {
		c.id = int64(i + 1)
		q, a := c.Request, c.Answer
		records = append(records, Record{At: ms(c.start), Op: c.id, Request: &q})
		if !c.noEnd {
			records = append(records, Record{At: ms(c.end), Op: c.id, Answer: &a})
		}
	}
	slices.SortStableFunc(records, func(a, b Record) int { return cmp.Compare(a.At, b.At) })
	return &History{Started: time.Unix(0, 0), Expect: s.expect, Records: records, Closed: len(records)}
}

// world is a script in which all goes well: u1 lives, u2 revoked its consent while changes were brought over, u3 revoked
// its refresh token before that, and everything is asked for after the switch. Switch: replay 1000, hold 2000, released
// 3000; the sweep begins at 4000.
type world struct {
	*script
	consent1, exchange1, revoke2, revoke3       *call
	active1, inactive2, inactive3, list1, list2 *call
	refused2, refused3, refresh1                *call
	jwks1, jwks2, disc1, disc2                  *call
}

func newWorld(t *testing.T) *world {
	w := &world{script: newScript(t)}
	w.client(1, "c1")
	w.mark(1000, MarkReplay)
	w.mark(2000, MarkHold)
	w.mark(3000, MarkReleased)
	w.consent1, w.exchange1 = w.session(100, "s1", "u1", "c1")
	w.session(300, "s2", "u2", "c1")
	w.session(500, "s3", "u3", "c1")
	keys := map[string]string{"k1": "thumb1"}
	w.disc1 = w.add(700, Request{Kind: Discovery}, Answer{Issuer: "http://issuer/"})
	w.jwks1 = w.add(720, Request{Kind: JWKS}, Answer{Keys: keys})
	w.revoke3 = w.revoke(800, RevokeRefresh, "c1", "s3.rt1")
	w.revoke2 = w.revokeConsent(1500, "u2", "c1")
	w.active1 = w.active(4000, "s1.at1", "u1", "c1")
	w.list1 = w.list(4020, "u1", "c1")
	w.refresh1 = w.refresh(4040, "c1", "s1.rt1", "2")
	w.inactive2 = w.inactive(4060, "s2.at1")
	w.refused2 = w.refused(4080, "c1", "s2.rt1")
	w.list2 = w.list(4100, "u2")
	w.inactive3 = w.inactive(4120, "s3.at1")
	w.refused3 = w.refused(4140, "c1", "s3.rt1")
	w.list(4160, "u3", "c1")
	w.get(4180, "c1", 200)
	w.jwks2 = w.add(4200, Request{Kind: JWKS}, Answer{Keys: keys})
	w.disc2 = w.add(4220, Request{Kind: Discovery}, Answer{Issuer: "http://issuer/"})
	return w
}

// drop takes a call out of the script.
func (s *script) drop(c *call) {
	s.calls = slices.DeleteFunc(s.calls, func(o *call) bool { return o == c })
}
