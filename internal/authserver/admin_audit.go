package authserver

import (
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/tideover/tideover/internal/authserver/store"
)

// Headers by which a caller of the admin API says for whom it acts. They are believed as the caller is: whoever reaches the
// API may do anything.
const (
	actorHeader        = "X-Tideover-Actor"
	actorAddressHeader = "X-Tideover-Actor-Address"
	intentHeader       = "X-Tideover-Intent" // what a person wants by it, such as "verify app"
)

// audited is the store for a change by the admin API. Where the generation keeps an audit, the change writes its entry.
func (s *Server) audited(r *http.Request, action, client, subject string, detail map[string]any) store.Store {
	audits, ok := s.store.(store.Audits)
	if !ok {
		return s.store
	}
	if detail == nil {
		detail = map[string]any{}
	}
	if intent := said(r, intentHeader); intent != "" {
		detail["intent"] = intent
	}
	e := store.Entry{Actor: said(r, actorHeader), Address: said(r, actorAddressHeader), Action: action, Client: client, Subject: subject}
	if e.Actor == "" {
		e.Actor = "admin API"
	}
	if e.Address == "" {
		e.Address = s.address(r)
	}
	e.Detail = store.NewDocument(detail)
	return audits.Audited(e)
}

// said is a header's text, short and on one line.
func said(r *http.Request, header string) string {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(r.Header.Get(header), "?"))
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200])
	}
	return text
}

// told is what of a client an entry has: what people are shown of it, and where it sends them.
func told(c clientJSON) map[string]any {
	return map[string]any{"client_name": c.Name, "owner": c.Owner, "redirect_uris": some(c.RedirectURIs), "scope": c.Scope,
		"token_endpoint_auth_method": c.AuthMethod, "secret_set": c.Secret != ""}
}

// listAudit takes client_id, before (an id) and page_size.
func (s *Server) listAudit(r *http.Request) (int, any, error) {
	audits, ok := s.store.(store.Audits)
	if !ok {
		return 0, nil, store.ErrNotFound
	}
	q := r.URL.Query()
	before, limit := int64(0), 100
	if text := q.Get("before"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return 0, nil, invalid("query parameter before is no id")
		}
		before = n
	}
	if n, err := strconv.Atoi(q.Get("page_size")); err == nil && n > 0 {
		limit = min(n, 1000)
	}
	entries, err := audits.Entries(r.Context(), q.Get("client_id"), before, limit)
	if entries == nil {
		entries = []store.Entry{}
	}
	return http.StatusOK, entries, err
}
