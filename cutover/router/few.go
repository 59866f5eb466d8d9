package router

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// few lets the first lines of a kind through, and counts the others until a while has passed: what any client can bring
// about a thousand times a second must not fill a disk.
type few struct {
	mu    sync.Mutex
	kinds map[string]*spell
}

type spell struct {
	since      time.Time
	said, left int
}

const (
	fewLines = 5 // of a kind within
	fewEvery = 10 * time.Second
	fewKinds = 64 // more are one kind
)

// say reports whether a line of this kind is written now, and how many were left out before it.
func (f *few) say(kind string) (yes bool, left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.kinds[kind]
	if s == nil && len(f.kinds) >= fewKinds {
		kind = ""
		s = f.kinds[kind]
	}
	if s == nil {
		if f.kinds == nil {
			f.kinds = map[string]*spell{}
		}
		s = &spell{}
		f.kinds[kind] = s
	}
	if now := time.Now(); now.Sub(s.since) >= fewEvery {
		left = s.left
		*s = spell{since: now}
	}
	if s.said >= fewLines {
		s.left++
		return false, 0
	}
	s.said++
	return true, left
}

// warn logs a line, if there have been few of its kind.
func (f *few) warn(log *slog.Logger, kind, message string, attrs ...any) {
	yes, left := f.say(kind)
	if !yes {
		return
	}
	if left > 0 {
		attrs = append(attrs, "left_out", left)
	}
	log.Warn(message, attrs...)
}

// lines are what net/http has to say, for its log.Logger. A line's kind is how it begins, up to an address or number.
type lines struct {
	few *few
	log *slog.Logger
}

func (l lines) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	kind := text
	if i := strings.IndexAny(kind, "0123456789[\""); i >= 0 {
		kind = kind[:i]
	}
	l.few.warn(l.log, "net/http "+kind[:min(len(kind), 48)], text)
	return len(line), nil
}
