package traffic

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The lines of a history file: one header, the records, one closing line.
type fileHeader struct {
	Version int       `json:"version"`
	Started time.Time `json:"started"`
	Expect  Expect    `json:"expect"`
}

type fileLine struct {
	Record
	Closed *int `json:"closed,omitempty"`
}

// WriteTo writes the history as JSON lines.
func (h *History) WriteTo(w io.Writer) (int64, error) {
	count := &counter{w: w}
	buf := bufio.NewWriter(count)
	enc := json.NewEncoder(buf)
	if err := enc.Encode(fileHeader{1, h.Started, h.Expect}); err != nil {
		return count.n, fmt.Errorf("history: header: %w", err)
	}
	for _, r := range h.Records {
		if err := enc.Encode(r); err != nil {
			return count.n, fmt.Errorf("history: request %d: %w", r.Op, err)
		}
	}
	if err := enc.Encode(fileLine{Closed: &h.Closed}); err != nil {
		return count.n, fmt.Errorf("history: closing line: %w", err)
	}
	return count.n, buf.Flush()
}

// ReadHistory reads what WriteTo wrote. A file that was cut in the middle of a line is an error; one that was cut between
// lines is read, and Check says so.
func ReadHistory(r io.Reader) (*History, error) {
	dec := json.NewDecoder(bufio.NewReader(r))
	dec.DisallowUnknownFields()
	var head fileHeader
	if err := dec.Decode(&head); err != nil {
		return nil, fmt.Errorf("history: header: %w", err)
	}
	if head.Version != 1 {
		return nil, fmt.Errorf("history: version %d is not known; this program reads version 1", head.Version)
	}
	h := &History{Started: head.Started, Expect: head.Expect, Closed: -1}
	for n := 2; ; n++ {
		var line fileLine
		switch err := dec.Decode(&line); {
		case errors.Is(err, io.EOF):
			return h, nil
		case err != nil:
			return nil, fmt.Errorf("history: line %d: %w", n, err)
		case h.Closed >= 0:
			return nil, fmt.Errorf("history: line %d follows the closing line", n)
		case line.Closed != nil:
			h.Closed = *line.Closed
		default:
			h.Records = append(h.Records, line.Record)
		}
	}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
