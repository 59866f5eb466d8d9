package traffic

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHeaders(t *testing.T) {
	t.Parallel()
	res := &http.Response{Header: http.Header{
		"Cache-Control":    {"No-Store, private", "no-store"},
		"Content-Type":     {"application/json;charset=UTF-8"},
		"Www-Authenticate": {`Bearer error="invalid_token"`},
		"Location":         {"http://login.example:8080/login?login_challenge=secret"},
		"Set-Cookie":       {"a=secret; Path=/; HttpOnly; SameSite=Lax", "b=secret; Path=/x", "gone=; Max-Age=0"},
	}}
	want := map[string]string{"Cache-Control": "no-store, private", "Content-Type": "application/json", "WWW-Authenticate": "Bearer",
		"Location": "http://login.example:8080", "Set-Cookie": "HttpOnly SameSite path /, path /x"}
	if diff := cmp.Diff(want, headers(res)); diff != "" {
		t.Error(diff)
	}
}

// TestPromises has the new side say something else than the old one did, of answers of one sort.
func TestPromises(t *testing.T) {
	t.Parallel()
	at := func(seconds int) time.Duration { return time.Duration(seconds) * time.Second }
	tests := []struct {
		name, header string
		before       []string
		after        string
		finding      string // "" is none
	}{
		{"as before", "Cache-Control", []string{"no-store"}, "no-store", ""},
		{"stricter", "Cache-Control", []string{"no-store"}, "no-cache, no-store", ""},
		{"it may be kept now", "Cache-Control", []string{"no-store"}, "", `Cache-Control ""`},
		{"it may be kept longer", "Cache-Control", []string{"no-cache, no-store"}, "no-store", "Cache-Control"},
		{"new", "Pragma", []string{""}, "no-cache", ""},
		{"sometimes, before", "Pragma", []string{"no-cache", ""}, "", ""},
		{"a cookie that scripts can read", "Set-Cookie", []string{"HttpOnly SameSite path /"}, "SameSite path /", "Set-Cookie"},
		{"a cookie that scripts can read, where some answers had none", "Set-Cookie", []string{"", "HttpOnly path /"}, "path /", "Set-Cookie"},
		{"a cookie where there was none", "Set-Cookie", []string{""}, "path /", ""},
		{"a cookie that is kept better", "Set-Cookie", []string{"HttpOnly path /"}, "HttpOnly Secure path /", ""},
		{"no cookie", "Set-Cookie", []string{"HttpOnly path /"}, "", ""},
		{"sent elsewhere", "Location", []string{"http://router"}, "http://green", "Location"},
		{"another kind of answer", "Content-Type", []string{"application/json"}, "text/html", "Content-Type"},
		{"nobody says how to authenticate", "WWW-Authenticate", []string{"Bearer"}, "", "WWW-Authenticate"},
		{"a second less", "expires_in", []string{"3600"}, "3599", ""},
		{"tokens live longer", "expires_in", []string{"3600"}, "1800", "expires_in"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &History{}
			n := int64(0)
			put := func(second int, value string) {
				n++
				a := &Answer{Status: 200, Issued: &Issued{Access: fmt.Sprint("token ", n), ExpiresIn: 3600}, Headers: map[string]string{tt.header: value}}
				if tt.header == "expires_in" {
					a.Headers, a.Issued.ExpiresIn = nil, map[string]int64{"3600": 3600, "3599": 3599, "1800": 1800}[value]
				}
				h.Records = append(h.Records, Record{At: at(second), Op: n, Request: &Request{Target: Router, Kind: ClientCredentials}},
					Record{At: at(second), Op: n, Answer: a})
			}
			for _, value := range tt.before {
				put(1, value)
			}
			h.Records = append(h.Records, Record{At: at(2), Mark: MarkRun})
			put(3, "while the run is on, anything goes")
			h.Records = append(h.Records, Record{At: at(4), Mark: MarkAfter})
			put(5, tt.after)
			put(6, tt.after) // said once
			h.Closed = len(h.Records)
			ops, tl, _ := fold(h)
			j := &judge{ledger: &ledger{ops: ops, timeline: tl}}
			j.promises()
			switch {
			case tt.finding == "" && len(j.findings) > 0:
				t.Errorf("finds %v", j.findings)
			case tt.finding != "" && (len(j.findings) != 1 || !strings.Contains(j.findings[0].Message, tt.finding)):
				t.Errorf("finds %v, want one of %s", j.findings, tt.finding)
			}
		})
	}
}

// TestSameAgain gives the tokens of one answer to a second request.
func TestSameAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		tokens, headers [2]string
		findings        int
	}{
		"as before":             {[2]string{"x", "x"}, [2]string{"no-store", "no-store"}, 0},
		"it may be kept now":    {[2]string{"x", "x"}, [2]string{"no-store", ""}, 1},
		"tokens of another one": {[2]string{"x", "y"}, [2]string{"no-store", ""}, 0},
	} {
		h := &History{}
		for n := range 2 {
			h.Records = append(h.Records, Record{Op: int64(n), Request: &Request{Target: Router, Kind: Refresh}},
				Record{At: time.Second, Op: int64(n), Answer: &Answer{Status: 200, Issued: &Issued{Access: tt.tokens[n]}, Headers: map[string]string{"Cache-Control": tt.headers[n]}}})
		}
		h.Closed = len(h.Records)
		ops, tl, _ := fold(h)
		j := &judge{ledger: &ledger{ops: ops, timeline: tl}}
		j.sameAgain()
		if len(j.findings) != tt.findings {
			t.Errorf("%s: finds %v", name, j.findings)
		}
	}
}
