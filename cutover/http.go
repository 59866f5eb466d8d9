package cutover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tideover/tideover/plan"
)

// httpParticipant is a service with hooks: POST URL/prepare, /commit and /abort with the ticket as JSON and in headers,
// GET URL/status, which answers {"side":"blue"} or {"side":"green"}. Any 2xx is a yes. The service refuses a
// Tideover-Term below the newest that it has seen of a Tideover-Run, and within a term a Tideover-Call below the newest
// (409); it treats an Idempotency-Key that it has seen as done. With a secret every call is signed (Sign).
type httpParticipant struct {
	base
	spec   *plan.HTTPSpec
	url    string // without a slash at its end
	client *http.Client
}

func newHTTP(b base, spec *plan.HTTPSpec) (Participant, error) {
	u, err := url.Parse(spec.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("url is no http(s) base URL")
	}
	return &httpParticipant{
		base: b, spec: spec, url: strings.TrimSuffix(spec.URL, "/"),
		client: &http.Client{
			Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a redirect is no yes
		},
	}, nil
}

func (p *httpParticipant) Prepare(ctx context.Context, t Ticket) error {
	return p.post(ctx, t, "prepare")
}
func (p *httpParticipant) Commit(ctx context.Context, t Ticket) error {
	return p.post(ctx, t, "commit")
}
func (p *httpParticipant) Abort(ctx context.Context, t Ticket) error { return p.post(ctx, t, "abort") }

func (p *httpParticipant) Side(ctx context.Context, t Ticket) (plan.Side, error) {
	raw, err := p.call(ctx, http.MethodGet, "status", t)
	if err != nil {
		return "", err
	}
	var answer struct {
		Side plan.Side `json:"side"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", fmt.Errorf("status: the answer is no JSON object: %w", err)
	}
	return known(answer.Side), nil
}

// known is a side, or "" for anything else.
func known(side plan.Side) plan.Side {
	if side == plan.Blue || side == plan.Green {
		return side
	}
	return ""
}

func (p *httpParticipant) post(ctx context.Context, t Ticket, action string) error {
	_, err := p.call(ctx, http.MethodPost, action, t)
	return err
}

func (p *httpParticipant) call(ctx context.Context, method, action string, t Ticket) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var body io.Reader
	var sent []byte
	if method == http.MethodPost {
		var err error
		if sent, err = json.Marshal(map[string]any{"run": t.Run, "term": t.Term, "call": t.Call, "action": action}); err != nil {
			return nil, err
		}
		body = bytes.NewReader(sent)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.url+"/"+action, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Tideover-Run", t.Run)
	req.Header.Set("Tideover-Term", strconv.FormatInt(t.Term, 10))
	req.Header.Set("Tideover-Call", strconv.FormatInt(t.Call, 10))
	if method == http.MethodPost {
		// Per term: what another process has ordered since may have undone what this key stood for.
		req.Header.Set("Idempotency-Key", fmt.Sprintf("%s/%d", t.Key, t.Term))
	}
	if p.spec.Secret != "" {
		Sign(req, p.spec.Secret, sent, time.Now())
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err // names method and URL
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, fmt.Errorf("%s %s: status %d: %.200q", method, p.url+"/"+action, resp.StatusCode, raw)
	}
	return raw, nil
}
