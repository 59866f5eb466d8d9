package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrNoLog says that a server's log is out of reach: the server was given by DSN.
var ErrNoLog = errors.New("its log is out of reach")

// logger is an engine whose log can be read.
type logger interface {
	openLog(context.Context) (io.ReadCloser, error)
}

// WriteLog copies what the server has logged since it was made. Of a server that was given by DSN the error is ErrNoLog.
func (s *Server) WriteLog(ctx context.Context, w io.Writer) error {
	l, ok := s.engine.(logger)
	if !ok {
		return fmt.Errorf("postgres %q: %w", s.name, ErrNoLog)
	}
	r, err := l.openLog(ctx)
	if err != nil {
		return fmt.Errorf("read the log of postgres %q: %w", s.name, err)
	}
	defer r.Close()
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("read the log of postgres %q: %w", s.name, err)
	}
	return nil
}

func (c *cluster) openLog(context.Context) (io.ReadCloser, error) { return os.Open(c.logPath()) }

func (b *box) openLog(ctx context.Context) (io.ReadCloser, error) { return b.ctr.Logs(ctx) }
