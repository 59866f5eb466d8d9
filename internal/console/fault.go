package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// fault is a page that is not the wanted one. Its texts are fault.<name>.title and fault.<name>.text.
type fault struct {
	status int
	name   string
	again  string // where to begin again, or "" where nobody knows
	cause  error  // for the log
}

func (f *fault) Error() string {
	if f.cause != nil {
		return f.name + ": " + f.cause.Error()
	}
	return f.name
}

func (f *fault) Unwrap() error { return f.cause }

// faultOf turns any error into a page. What the server says of a challenge or an app is a page of its own.
func faultOf(err error) *fault {
	f, answer := new(fault), new(apiError)
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &answer):
		switch answer.Status {
		case http.StatusGone, http.StatusConflict:
			return &fault{http.StatusGone, "used", answer.RedirectTo, err}
		case http.StatusNotFound, http.StatusBadRequest:
			return &fault{http.StatusNotFound, "unknown", "", err}
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest:
			return &fault{http.StatusBadGateway, "server", "", err}
		}
	case errors.Is(err, context.Canceled):
		return &fault{http.StatusServiceUnavailable, "server", "", nil}
	}
	return &fault{http.StatusServiceUnavailable, "server", "", err}
}

// faultPage is what a fault's page shows.
type faultPage struct{ Title, Text, Again string }

func (c *Console) showFault(v *visit, err error) {
	f := faultOf(err)
	if f.status == http.StatusSeeOther {
		_ = v.toOwn(f.again) // it sends a redirect, and has no error
		return
	}
	if f.status >= http.StatusInternalServerError && f.cause != nil {
		slog.Error("a page could not be shown", "path", v.r.URL.Path, "cause", f.cause)
	}
	p := faultPage{Title: text("fault." + f.name + ".title"), Text: text("fault." + f.name + ".text")}
	if f.again != "" && c.atServer(f.again) {
		p.Again = f.again
	}
	switch f.status {
	case http.StatusServiceUnavailable:
		v.w.Header().Set("Retry-After", "5")
	case http.StatusMethodNotAllowed:
		v.w.Header().Set("Allow", "GET, POST")
	}
	if err := c.show(v, f.status, "fault", p); err != nil {
		slog.Error("a page could not be shown", "path", v.r.URL.Path, "cause", err)
	}
}

// errorPage is what the server could not tell an app, and tells the person instead (Hydra's urls.error).
type errorPage struct{ Code, Description string }

// showError repeats what stands in the address, which anybody can write: it says so, and links to nothing.
func (c *Console) showError(v *visit) error {
	q := v.r.URL.Query()
	return c.show(v, http.StatusBadRequest, "error", errorPage{visible(q.Get("error")), visible(q.Get("error_description"))})
}
