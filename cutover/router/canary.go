package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tideover/tideover/plan"
)

// canary also asks the side that does not serve yet a share of the introspections, and compares the answers by meaning.
// Its answers go to nobody. What differs is asked again on both sides a few times: a token that was issued a moment ago
// may not have been replayed yet.
type canary struct {
	mu     sync.Mutex
	share  float64
	until  time.Time
	busy   int
	counts CanaryState
	asking sync.WaitGroup
}

// CanaryState counts the introspections that were asked of the other side, too, since the canary was ordered.
type CanaryState struct {
	Asked     int64            `json:"asked"`
	Same      int64            `json:"same"`
	Different int64            `json:"different"`
	Failed    int64            `json:"failed"`           // the other side did not answer with an introspection
	Fields    map[string]int64 `json:"fields,omitempty"` // which fields differ, how often
}

const (
	canaryAtOnce = 16 // more are passed over: the other side is to be tried, not loaded
	canaryTries  = 20
)

// order begins to ask, with counts of its own. A share or time of 0 ends it.
func (c *canary) order(share float64, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.share, c.until, c.counts = share, time.Now().Add(d), CanaryState{Fields: map[string]int64{}}
}

func (c *canary) view() CanaryState {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	counts.Fields = maps.Clone(counts.Fields)
	return counts
}

// take reports whether the present introspection is one of the share.
func (c *canary) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.share <= 0 || c.busy >= canaryAtOnce || !time.Now().Before(c.until) || rand.Float64() >= c.share {
		return false
	}
	c.busy++
	c.counts.Asked++
	c.asking.Add(1)
	return true
}

func (c *canary) done(fields []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	switch {
	case err != nil:
		c.counts.Failed++
	case len(fields) > 0:
		c.counts.Different++
		for _, f := range fields {
			c.counts.Fields[f]++
		}
	default:
		c.counts.Same++
	}
	c.asking.Done()
}

// sing asks the other side what this introspection has asked the serving one, beside the answer's way to the client.
func (x *exchange) sing(resp *http.Response) {
	p := x.listener.profile
	if x.listener.name != "admin" || x.class != Introspection || x.in.Method != http.MethodPost || resp.StatusCode != http.StatusOK ||
		x.listener.withoutPrefix(x.in.URL.Path) != p.IntrospectPath || !x.router.canary.take() {
		return
	}
	raw, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	if err != nil {
		x.router.canary.done(nil, err)
		return
	}
	header := http.Header{}
	for _, name := range []string{"Authorization", "Content-Type", "Accept"} {
		header[name] = x.in.Header[name]
	}
	serving, other := x.outcome.side, plan.Green
	if serving == plan.Green {
		other = plan.Blue
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(x.in.Context()), x.router.config.Limits.Upstream)
		defer cancel()
		x.router.canary.done(x.router.compare(ctx, serving, other, header, x.body, raw))
	}()
}

// compare names the fields in which the sides differ, and goes on to do so.
func (r *Router) compare(ctx context.Context, serving, other plan.Side, header http.Header, body, answer []byte) (fields []string, err error) {
	for try := range canaryTries {
		if try > 0 {
			if r.stopping.Load() {
				return fields, nil
			}
			select {
			case <-time.After(r.config.Limits.Canary / canaryTries):
			case <-ctx.Done():
				return fields, nil
			}
			if answer, err = r.introspect(ctx, serving, header, body); err != nil {
				return nil, err
			}
		}
		there, err := r.introspect(ctx, other, header, body)
		if err != nil {
			return nil, err
		}
		if fields, err = differ(answer, there); err != nil || len(fields) == 0 {
			return nil, err
		}
	}
	return fields, nil
}

func (r *Router) introspect(ctx context.Context, side plan.Side, header http.Header, body []byte) ([]byte, error) {
	admin := r.fronts.get("admin")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, admin.profile.IntrospectPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header.Clone()
	admin.aim(req.URL, side)
	resp, err := r.transports[side].RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers an introspection with status %d", side, resp.StatusCode)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

// differ compares two introspections (RFC 7662) by what they mean to a resource server.
func differ(one, two []byte) (fields []string, err error) {
	var a, b map[string]any
	if json.Unmarshal(one, &a) != nil || json.Unmarshal(two, &b) != nil {
		return nil, errors.New("not an introspection")
	}
	if a["active"] != b["active"] {
		return []string{"active"}, nil
	}
	if a["active"] != true {
		return nil, nil // of a token that is not active nothing else is said
	}
	for _, name := range []string{"sub", "client_id", "exp"} {
		if a[name] != b[name] {
			fields = append(fields, name)
		}
	}
	for _, name := range []string{"scope", "aud"} {
		if !slices.Equal(words(a[name]), words(b[name])) {
			fields = append(fields, name)
		}
	}
	return fields, nil
}

// words are the members of a field that is a set: a list, or a string with spaces.
func words(v any) []string {
	var all []string
	switch v := v.(type) {
	case string:
		all = strings.Fields(v)
	case []any:
		for _, w := range v {
			all = append(all, fmt.Sprint(w))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
