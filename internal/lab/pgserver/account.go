package pgserver

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that the server's processes run as. Postgres refuses to run as root, so that root borrows
// an unprivileged account; everybody else stays who they are.
type account struct {
	uid, gid uint32
	other    bool // not our own
}

func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return account{uint32(uid), uint32(gid), true}, nil
		}
	}
	return account{}, hinted{
		errors.New("a Postgres server does not run as root, and there is no user postgres or nobody to run it as"),
		"run as another user than root",
	}
}

// credential is nil for our own account: setting one, even the same, needs a privilege.
func (a account) credential() *syscall.Credential {
	if !a.other {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// own hands a file over to the account.
func (a account) own(path string) error {
	if !a.other {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// tempDir is os.TempDir, or a usual one where the account cannot pass through a parent of it (root's own TMPDIR).
func (a account) tempDir() (string, error) {
	dirs := []string{os.TempDir()}
	if a.other {
		dirs = append(dirs, "/tmp", "/var/tmp")
	}
	for _, d := range dirs {
		abs, err := filepath.Abs(d)
		if err == nil && a.reaches(abs) {
			return abs, nil
		}
	}
	return "", hinted{
		fmt.Errorf("user %d can pass through none of %q", a.uid, dirs),
		"set TMPDIR to a directory whose parents everybody may pass (mode 0711 or more)",
	}
}

// reaches tells whether the account can get to a path: each folder on the way lets it pass.
func (a account) reaches(path string) bool {
	if !a.other {
		return true
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	for d := resolved; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil {
			return false
		}
		stat := info.Sys().(*syscall.Stat_t)
		pass := uint32(0o001)
		switch {
		case stat.Uid == a.uid:
			pass = 0o100
		case stat.Gid == a.gid:
			pass = 0o010
		}
		if uint32(info.Mode().Perm())&pass == 0 {
			return false
		}
		if d == filepath.Dir(d) {
			return true
		}
	}
}
