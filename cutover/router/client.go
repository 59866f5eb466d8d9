package router

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/tideover/tideover/plan"
)

// Client gives commands to one router. Its errors are ErrStale, ErrLate, ErrBusy, ErrNotHolding or ErrNotQuiet (by errors.Is)
// where the router has refused; any other error leaves open whether the command was carried out. Every command can be
// given again.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// NewClient is a client of the control API at base, such as http://127.0.0.1:4446.
func NewClient(base, token string) *Client {
	return &Client{
		base: strings.TrimSuffix(base, "/"), token: token,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
				IdleConnTimeout:     30 * time.Second,
				MaxIdleConnsPerHost: 2,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Name is the router's address, for messages.
func (c *Client) Name() string { return c.base }

// answerTime is how long a router may take to answer a command, beyond what it was told to wait.
const answerTime = 5 * time.Second

// State is what the router does.
func (c *Client) State(ctx context.Context) (State, error) {
	return c.call(ctx, http.MethodGet, "state", command{}, 0)
}

// Ready asks whether the serving side is ready on a listener ("public" or "admin"), as the router sees it. While the router drains or
// holds it says yes without asking.
func (c *Client) Ready(ctx context.Context, listener string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/health/"+listener, nil)
	if err != nil {
		return false, fmt.Errorf("router %s: %w", c.base, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false, fmt.Errorf("router %s: %w", c.base, err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) // so that the connection can be used again
	switch resp.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusServiceUnavailable:
		return false, nil
	}
	return false, fmt.Errorf("router %s: health of its %s listener: %s", c.base, listener, resp.Status)
}

// Drain makes new logins wait, deadline at most, and waits until no login is under way, wait at most. It returns how
// many are left.
func (c *Client) Drain(ctx context.Context, o Order, wait, deadline time.Duration) (left int, err error) {
	st, err := c.call(ctx, http.MethodPost, "drain",
		command{Order: o, WaitMS: wait.Milliseconds(), DeadlineMS: deadline.Milliseconds()}, wait)
	return st.Logins, err
}

// Hold makes writes and logins wait, deadline at most, and returns when every one that was forwarded before has been
// answered. If that takes longer than answered, nothing is held any more, and the error is ErrNotQuiet.
func (c *Client) Hold(ctx context.Context, o Order, deadline, answered time.Duration) error {
	_, err := c.call(ctx, http.MethodPost, "hold",
		command{Order: o, DeadlineMS: deadline.Milliseconds(), WaitMS: answered.Milliseconds()}, deadline)
	return err
}

// Switch points the router at a side. It must hold, or point there already.
func (c *Client) Switch(ctx context.Context, o Order, side plan.Side) error {
	_, err := c.call(ctx, http.MethodPost, "switch", command{Order: o, Side: side}, 0)
	return err
}

// Release lets everything that waits go on to the side that serves.
func (c *Client) Release(ctx context.Context, o Order) error {
	_, err := c.call(ctx, http.MethodPost, "release", command{Order: o}, 0)
	return err
}

// Canary has a share of the introspections, from 0 to 1, also asked of the side that does not serve, for a time.
// State.Canary counts what comes of it.
func (c *Client) Canary(ctx context.Context, o Order, share float64, d time.Duration) error {
	_, err := c.call(ctx, http.MethodPost, "canary", command{Order: o, Share: share, DeadlineMS: d.Milliseconds()}, 0)
	return err
}

func (c *Client) call(ctx context.Context, method, path string, body command, wait time.Duration) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+answerTime)
	defer cancel()
	var reader io.Reader
	if method == http.MethodPost {
		raw, err := json.Marshal(body)
		if err != nil {
			return State{}, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v1/"+path, reader)
	if err != nil {
		return State{}, fmt.Errorf("router %s: %w", c.base, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return State{}, fmt.Errorf("router %s: %s: %w", c.base, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return State{}, fmt.Errorf("router %s: %s: %w", c.base, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return State{}, c.refusal(path, resp.StatusCode, raw)
	}
	var st State
	if err := json.Unmarshal(raw, &st); err != nil || st.Side == "" {
		return State{}, fmt.Errorf("router %s: %s: the answer is not a router's", c.base, path)
	}
	return st, nil
}

func (c *Client) refusal(path string, status int, raw []byte) error {
	var p Problem
	if json.Unmarshal(raw, &p) != nil || p.Code == "" {
		return fmt.Errorf("router %s: %s: status %d", c.base, path, status)
	}
	for _, known := range problems {
		if p.Code == known.code {
			return fmt.Errorf("router %s: %s: %w: %s", c.base, path, known.err, p.Message)
		}
	}
	return fmt.Errorf("router %s: %s: %s", c.base, path, p.Message)
}
