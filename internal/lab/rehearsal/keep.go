package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/tideover/tideover/internal/journal"
	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/traffic"
	"github.com/tideover/tideover/internal/report"
	"github.com/tideover/tideover/internal/snapshot"
)

// keeper leaves what a rehearsal was made of in a folder, for a later look:
//
//	runbook.yaml               the runbook, as it was written
//	events.jsonl               every event of the run, as --json prints it
//	history.jsonl              every request and answer of the traffic; tokens as hashes
//	report.json, report.txt    the report, for programs and for people
//	blue-server.log, green-server.log, router.log, blue-postgres.log, green-postgres.log
//	blue.dump, green.dump      both databases at the end, for pg_restore
//
// The dumps hold what the databases hold: rows of the seeded store and of the traffic, made for this rehearsal alone.
// A rehearsal that failed keeps what there is.
type keeper struct {
	dir    string
	events *os.File
	sink   journal.Sink
}

// newKeeper makes the folder. dir "" keeps nothing.
func newKeeper(dir string, runbook []byte) (*keeper, error) {
	k := &keeper{dir: dir, sink: func(journal.Event) {}}
	if dir == "" {
		return k, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "runbook.yaml"), runbook, 0o600); err != nil {
		return nil, err
	}
	var err error
	if k.events, err = os.Create(filepath.Join(dir, "events.jsonl")); err != nil {
		return nil, err
	}
	k.sink = report.JSONLines(k.events)
	return k, nil
}

func (k *keeper) history(h *traffic.History) error {
	if k.dir == "" {
		return nil
	}
	f, err := os.Create(filepath.Join(k.dir, "history.jsonl"))
	if err != nil {
		return err
	}
	_, err = h.WriteTo(f)
	return errors.Join(err, f.Close())
}

// end keeps the report, the logs and the databases, while they are still there.
func (k *keeper) end(ctx context.Context, s *deployment.Deployment, r report.Report) error {
	if k.dir == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var text bytes.Buffer
	report.Text(&text, r, false)
	return errors.Join(k.events.Close(),
		os.WriteFile(filepath.Join(k.dir, "report.json"), append(data, '\n'), 0o600),
		os.WriteFile(filepath.Join(k.dir, "report.txt"), text.Bytes(), 0o600),
		s.KeepLogs(ctx, k.dir),
		snapshot.Dump(ctx, "blue", s.BlueDSN, s.Blue.BinDir(), filepath.Join(k.dir, "blue.dump")),
		snapshot.Dump(ctx, "green", s.GreenDSN, s.Green.BinDir(), filepath.Join(k.dir, "green.dump")))
}
