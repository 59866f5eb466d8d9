//go:build container

package snapshot_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tideover/tideover/internal/lab/pgserver/pgtest"
	"github.com/tideover/tideover/internal/lab/quick"
	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/internal/preflight"
	"github.com/tideover/tideover/internal/snapshot"
)

// TestCopyGoesOnAfterGreensDiskWasFull needs root, as the container tests' set-up does: green's database is on a file system of
// its own that is too small, and then is given more.
func TestCopyGoesOnAfterGreensDiskWasFull(t *testing.T) {
	quick.Skip(t)
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	command := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v (it needs root): %v: %s", name, args, err, out)
		}
	}
	command("mount", "-t", "tmpfs", "-o", "size=30m,mode=777", "tideover-test", dir)
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	for at := dir; at != "/"; at = filepath.Dir(at) { // the server is another user
		if info, err := os.Stat(at); err != nil || info.Mode().Perm()&0o011 == 0 {
			command("chmod", "a+x", at)
		}
	}
	space := filepath.Join(dir, "space")
	command("install", "-d", "-m", "700", "-o", "postgres", space)
	blueDSN, admin := pgtest.NewDatabase(t), pgtest.Shared(t).DSN()
	name := "full_" + strings.ToLower(t.Name()[:8])
	run(t, admin, `CREATE TABLESPACE `+name+` LOCATION '`+space+`'`)
	defer run(t, admin, `DROP TABLESPACE `+name)
	run(t, admin, `CREATE DATABASE `+name+` TEMPLATE template0 TABLESPACE `+name)
	defer run(t, admin, `DROP DATABASE `+name+` WITH (FORCE)`)
	greenDSN, err := postgres.WithDatabase(admin, name)
	if err != nil {
		t.Fatal(err)
	}
	run(t, blueDSN, cutTables)
	o := snapshot.Options{Blue: open(t, "blue", blueDSN), Green: open(t, "green", greenDSN), Profile: cutProfile, Triggers: true, Chunk: pieces}
	capture(t, o)

	findings, err := preflight.Check(t.Context(), preflight.Options{Blue: o.Blue, Green: o.Green, Profile: cutProfile})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range findings {
		found = found || f.Check == "disk" && f.Level == preflight.Fail && strings.Contains(f.Text, "MB are free")
	}
	if !found {
		t.Errorf("preflight does not see that green's disk is too small: %+v", findings)
	}

	began := time.Now()
	_, err = snapshot.Copy(t.Context(), o)
	if postgres.Code(err) != "53100" {
		t.Fatalf("error %v after %s; want that of a full disk", err, time.Since(began))
	}
	hinted(t, err)
	t.Log(err)
	command("mount", "-o", "remount,size=400m", dir)
	run(t, blueDSN, `UPDATE a SET v = 'meanwhile' WHERE id % 7 = 0`)
	if _, err := snapshot.Copy(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	same(t, blueDSN, greenDSN)
}
