package deployment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tideover/tideover/internal/lab/pgserver"
)

// logFile is where a process of the deployment logs to, under a folder.
func logFile(dir, name string) string {
	return filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".log")
}

// KeepLogs copies into a folder what the servers and the router have logged (blue-server.log, green-server.log,
// router.log), also before a restart, and the databases' logs (blue-postgres.log, green-postgres.log) where they are
// within reach.
func (s *Deployment) KeepLogs(ctx context.Context, dir string) error {
	var errs []error
	for _, name := range []string{BlueServer, GreenServer, RouterName} {
		errs = append(errs, keepLog(logFile(dir, name), func(w io.Writer) error {
			f, err := os.Open(logFile(s.directory, name))
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(w, f)
			return err
		}))
	}
	for name, server := range map[string]*pgserver.Server{"blue postgres": s.Blue, "green postgres": s.Green} {
		if server == nil { // in place there is no green
			continue
		}
		errs = append(errs, keepLog(logFile(dir, name), func(w io.Writer) error {
			err := server.WriteLog(ctx, w)
			if errors.Is(err, pgserver.ErrNoLog) {
				_, err = fmt.Fprintln(w, err)
			}
			return err
		}))
	}
	return errors.Join(errs...)
}

func keepLog(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
