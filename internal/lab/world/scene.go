package world

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// scene is a world on its two databases, with its files.
type scene struct {
	*Pair
	world           *World
	blue, green     string // DSNs
	blueAs, greenAs string // those that the program is given
	dir             string
}

func (s *scene) expectedName() string { return s.world.Name + "_expected" }

// set makes the databases and the files of a world.
func (p *Pair) set(ctx context.Context, w *World) (*scene, error) {
	s := &scene{Pair: p, world: w, dir: filepath.Join(p.Dir, w.Name)}
	err := s.hire(ctx)
	if err != nil {
		return s, err
	}
	if s.blue, err = create(ctx, p.Blue, w.Name); err != nil {
		return s, err
	}
	if s.green, err = create(ctx, p.Green, w.Name); err != nil {
		return s, err
	}
	if err := s.psql(ctx, s.blue, w.named(w.Blue), "--set=db="+w.Name); err != nil {
		return s, fmt.Errorf("make blue: %w", err)
	}
	if w.Green != "" {
		if err := s.psql(ctx, s.green, w.named(w.Green), "--set=db="+w.Name); err != nil {
			return s, fmt.Errorf("make green: %w", err)
		}
	}
	if err := s.files(); err != nil {
		return s, err
	}
	return s, s.equip(ctx)
}

// runbook is an upgrade from the first look to the switch and the removal of all that is ours. A file stands for what
// would switch in earnest. Replay and switch wait for approval, so that writers have their moments.
const runbook = `version: 1
name: world
profile: profile.yaml
blue: {dsn: "${TIDEOVER_BLUE_DSN}", public: "http://127.0.0.1:9", admin: "http://127.0.0.1:9"%s}
green: {dsn: "${TIDEOVER_GREEN_DSN}", public: "http://127.0.0.1:9", admin: "http://127.0.0.1:9"%s}
steps:
  - step: preflight
  - step: capture
  - {step: snapshot, jobs: 2}
  - {step: migrate, target: offline, source: migrations, format: plain}
  - {step: replay, approve: true, until_lag: 0, until_age: 1ms, %s}
  - step: validate
  - step: cutover
    approve: true
    min_disk: 0
    drain_logins: 0s
    participants:
      - {name: side, kind: file, path: %s, blue: blue, green: green}
  - {step: retire, approve: true}
`

func (s *scene) files() error {
	audit := "audit: 100, audit_pass: true"
	if s.Unaudited {
		audit = "audit: 0"
	}
	blue, green := s.roles()
	if err := os.MkdirAll(filepath.Join(s.dir, "migrations"), 0o700); err != nil {
		return err
	}
	files := map[string]string{
		"side":         "blue",
		"upgrade.yaml": fmt.Sprintf(runbook, blue, green, audit, filepath.Join(s.dir, "side")),
		"profile.yaml": s.world.Profile,
	}
	for name, sql := range s.world.Migrations {
		files["migrations/"+name] = sql
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// strike drops the databases and removes the files.
func (s *scene) strike(ctx context.Context) error {
	for _, err := range []error{
		drop(ctx, s.Blue, s.world.Name), drop(ctx, s.Green, s.world.Name), drop(ctx, s.Green, s.expectedName()), s.dismiss(ctx), os.RemoveAll(s.dir),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
