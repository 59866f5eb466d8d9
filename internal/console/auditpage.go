package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// entry is something that was done by the admin API, of a server that keeps an audit.
type entry struct {
	ID      int64           `json:"id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	Address string          `json:"address"`
	Action  string          `json:"action"`
	Client  string          `json:"client_id"`
	Subject string          `json:"subject"`
	Detail  json.RawMessage `json:"detail"`
}

const auditPage = 50

// entries are the newest before an id.
func (a *api) entries(ctx context.Context, client, before string) ([]entry, error) {
	query := url.Values{"page_size": {strconv.Itoa(auditPage)}}
	for name, value := range map[string]string{"client_id": client, "before": before} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var out []entry
	_, err := a.call(ctx, http.MethodGet, "/audit", query, nil, &out)
	return out, err
}

// auditView is what the page shows.
type auditView struct {
	Client  string // of which one was asked
	None    bool   // the server keeps no audit
	Entries []entryView
	Older   string // address of the next page, or ""
}

type entryView struct {
	At                                       time.Time
	Actor, Address, Action, Client, On, What string
}

func (c *Console) showAudit(v *visit) error {
	q := v.r.URL.Query()
	p := auditView{Client: q.Get("client")}
	before := q.Get("before")
	if n, err := strconv.ParseInt(before, 10, 64); err != nil || n < 1 {
		before = ""
	}
	all, err := c.api.entries(v.r.Context(), p.Client, before)
	if missing(err) {
		p.None, err = true, nil
	}
	if err != nil {
		return err
	}
	for _, e := range all {
		var detail struct {
			Intent string `json:"intent"`
			Name   string `json:"client_name"`
		}
		_ = json.Unmarshal(e.Detail, &detail) // what is no object says nothing
		p.Entries = append(p.Entries, entryView{e.At, visible(e.Actor), visible(e.Address), visible(e.Action), visible(e.Client), visible(e.Subject),
			visible(detail.Intent)})
		if detail.Name != "" {
			p.Entries[len(p.Entries)-1].Client += " (" + visible(detail.Name) + ")"
		}
	}
	if len(all) == auditPage {
		p.Older = "/admin/audit?" + url.Values{"client": {p.Client}, "before": {strconv.FormatInt(all[len(all)-1].ID, 10)}}.Encode()
	}
	p.Client = visible(p.Client)
	return c.show(v, http.StatusOK, "audit", p)
}
