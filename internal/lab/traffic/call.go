package traffic

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
	"strings"
)

// caller sends requests and records them.
type caller struct {
	config Config
	rec    *Recorder
	salt   []byte
	http   *http.Client
	keys   keyring
}

// reply is an answer with what must not be recorded: bodies and redirects hold tokens.
type reply struct {
	Answer
	location string
	body     []byte
	refused  bool
}

// ok reports whether the request was granted.
func (r reply) ok() bool {
	return r.Transport == "" && r.Status > 0 && r.Status < 400 && r.Error == "" && !r.Restarted
}

// refusedWrite reports whether the old side's fence refused the request.
func (r reply) refusedWrite() bool { return r.refused }

const mostBody = 4 << 20

// call sends one request and records it before and after. It goes on when ctx has ended: a run that ends waits for its
// requests, so that the history has an end for each. The request's own timeout bounds that. read takes what the record
// needs from a granted answer.
func (c *caller) call(ctx context.Context, q Request, req *http.Request, jar http.CookieJar, read func(*reply)) reply {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.config.Timeout)
	defer cancel()
	client := *c.http
	client.Jar = jar
	id := c.rec.Begin(q)
	r := c.send(&client, req.WithContext(ctx))
	if r.Transport == "" && r.Error == "" && r.Status < 400 && read != nil {
		read(&r)
	}
	r.refused = c.config.Refusal.is(r.Answer)
	c.rec.End(id, r.Answer)
	return r
}

func (c *caller) send(client *http.Client, req *http.Request) reply {
	res, err := client.Do(req)
	if err != nil {
		return reply{Answer: Answer{Transport: cause(err)}}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, mostBody))
	if err != nil {
		return reply{Answer: Answer{Status: res.StatusCode, Transport: "the answer broke off: " + cause(err)}}
	}
	r := reply{Answer: Answer{Status: res.StatusCode, Headers: headers(res)}, location: res.Header.Get("Location"), body: body}
	if res.StatusCode >= 400 {
		var fault struct {
			Error json.RawMessage `json:"error"`
		}
		if json.Unmarshal(body, &fault) == nil && len(fault.Error) > 0 && json.Unmarshal(fault.Error, &r.Error) != nil {
			r.Error = "unreadable_error"
		}
	} else if u, err := url.Parse(r.location); err == nil && u.Query().Get("error") != "" {
		r.Error = u.Query().Get("error")
	}
	return r
}

// cause says why there was no answer, without the URL, which may hold a code or a verifier.
func cause(err error) string {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "timeout"
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}

// decode reads JSON; what cannot be read, and null, is an answer that failed.
func (r *reply) decode(v any) bool {
	if err := json.Unmarshal(r.body, v); err != nil || bytes.Equal(bytes.TrimSpace(r.body), []byte("null")) {
		r.Transport = fmt.Sprintf("the answer is no JSON of the wanted shape (%d bytes, status %d)", len(r.body), r.Status)
		return false
	}
	return true
}

func (c *caller) print(secret string) string { return Fingerprint(c.salt, secret) }

func (c *caller) public(t Target) string {
	if t == Bypass {
		return c.config.BypassPublic
	}
	return c.config.Public
}

// admin is the URL of an admin path. Past the router there is the old server, which has no prefix.
func (c *caller) admin(t Target, path string, q url.Values) string {
	base := c.config.Admin + c.config.AdminPrefix
	if t == Bypass {
		base = c.config.BypassAdmin
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return base + path
}

func get(u string) *http.Request { return request(http.MethodGet, u, "", "") }

func form(u string, v url.Values) *http.Request {
	return request(http.MethodPost, u, v.Encode(), "application/x-www-form-urlencoded")
}

func put(method, u string, body any) *http.Request {
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // our own maps of strings
	}
	return request(method, u, string(data), "application/json")
}

// request builds a request from URLs that New has checked; call gives it its context.
func request(method, u, body, kind string) *http.Request {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, u, r)
	if err != nil {
		// A server's redirect was no URL: send the request nowhere, so that it is recorded as failed.
		req, _ = http.NewRequestWithContext(context.Background(), method, "http://127.0.0.1:0/", nil)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	return req
}
