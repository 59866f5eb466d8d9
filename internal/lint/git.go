package lint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path"
	"strings"

	"github.com/tideover/tideover/internal/child"
)

// changedSince tells of files, by their paths in a folder, whether they were added or changed since a revision: since this branch left it, where
// it has gone on meanwhile. What isn't committed counts, and files that git doesn't know yet.
func changedSince(ctx context.Context, dir, revision string) (func(file string) bool, error) {
	if _, err := git(ctx, dir, "rev-parse", "--show-toplevel"); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, errors.New("--changed-since needs git, which is not among the programs of this machine")
		}
		return nil, fmt.Errorf("--changed-since %s: %s is in no git repository: %w", revision, dir, err)
	}
	// A name that begins like an option would be one.
	if _, err := git(ctx, dir, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}"); err != nil {
		return nil, fmt.Errorf("--changed-since %s: git knows no such revision; a shallow clone lacks all but the newest: fetch it first", revision)
	}
	since := revision
	if base, err := git(ctx, dir, "merge-base", "--end-of-options", revision, "HEAD"); err == nil {
		since = strings.TrimSpace(base)
	}
	changed, err := git(ctx, dir, "diff", "--name-only", "--relative", "--no-renames", "--diff-filter=d", "-z", "--end-of-options", since, "--", ".")
	if err != nil {
		return nil, err
	}
	unknown, err := git(ctx, dir, "ls-files", "--others", "--exclude-standard", "-z", "--", ".")
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for n := range strings.SplitSeq(changed+unknown, "\x00") {
		names[n] = true
	}
	return func(file string) bool {
		// What stands beside a file says how its tool runs it.
		return names[file] || names[file+".conf"] || path.Base(file) == "up.sql" && names[path.Join(path.Dir(file), "metadata.toml")]
	}, nil
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	// A hook's GIT_DIR and GIT_INDEX_FILE may be relative to another folder than dir: git finds both by itself.
	c.Env = child.Environment("GIT_CONFIG*", "XDG_CONFIG_HOME")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		if text := strings.TrimSpace(errs.String()); text != "" {
			return "", fmt.Errorf("git %s: %w: %s", args[0], err, text)
		}
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return out.String(), nil
}
