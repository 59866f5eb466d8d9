package router

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// small is the size up to which every client may send a body at any time. OAuth's requests are far below it.
const small = 64 << 10

// readBody reads the body of a request. Larger ones need one of a few places, so that thousands of clients
// who send the most that they may can't use up the memory, and keep nobody else from being served. done gives the place
// back; status says why the request is not taken, or 0.
func (r *Router) readBody(w http.ResponseWriter, in *http.Request) (body []byte, done func(), status int) {
	done = func() {}
	if in.ContentLength > r.config.Limits.Body {
		return nil, done, http.StatusRequestEntityTooLarge
	}
	if in.Body == http.NoBody {
		return nil, done, 0
	}
	control := http.NewResponseController(w)
	// Every server connection has a read deadline; on one that has broken, the read below says so. It is taken back only
	// when all was read: else the server would go on to wait for the rest before it closes the connection.
	_ = control.SetReadDeadline(time.Now().Add(r.config.Limits.BodyTime))
	limited := http.MaxBytesReader(w, in.Body, r.config.Limits.Body)
	body, err := io.ReadAll(io.LimitReader(limited, small))
	if err == nil && len(body) == small {
		select {
		case r.large <- struct{}{}:
			done = func() { <-r.large }
		default:
			return nil, done, http.StatusServiceUnavailable
		}
		var rest []byte
		rest, err = io.ReadAll(limited)
		body = append(body, rest...)
	}
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, done, http.StatusRequestEntityTooLarge
	case err != nil:
		return nil, done, http.StatusBadRequest
	}
	_ = control.SetReadDeadline(time.Time{})
	return body, done, 0
}

// buffers are what answers are copied with (httputil.BufferPool).
type buffers struct{ pool *sync.Pool }

func newBuffers() buffers {
	return buffers{&sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}}
}

func (b buffers) Get() []byte    { return *b.pool.Get().(*[]byte) }
func (b buffers) Put(buf []byte) { b.pool.Put(&buf) }
