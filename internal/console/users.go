package console

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
)

// Users are the people of a file with lines "name:hash", where hash is an encoded argon2id; empty lines and those that
// begin with # are left out. A file that changes is read again.
type Users struct {
	path   string
	places chan struct{} // of hashes at work, which take memory
	mu     sync.Mutex
	stamp  stamp
	byName map[string]hash
	nobody hash // does the same work for names that are not there
	fault  error
}

type stamp struct {
	size    int64
	changed time.Time
}

type hash struct {
	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
}

// The second of the settings that OWASP's password storage cheat sheet has for argon2id.
var usual = hash{memory: 19 << 10, passes: 2, lanes: 1}

const shortestPassword = 8

var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)

// notNames would own what nobody owns: the bundled server writes "unknown" where an app has no owner.
var notNames = map[string]bool{"unknown": true}

// UserLine is a line of a users file.
func UserLine(name, password string) (string, error) {
	name = strings.ToLower(name)
	if !userName.MatchString(name) || notNames[name] {
		return "", fmt.Errorf("user name %q: wanted are up to 64 letters of a-z, digits, dot, underscore, at and hyphen, and not \"unknown\"", name)
	}
	if len([]rune(password)) < shortestPassword {
		return "", fmt.Errorf("the password has fewer than %d characters", shortestPassword)
	}
	return name + ":" + encode(usual, password), nil
}

func encode(h hash, password string) string {
	h.salt = make([]byte, 16)
	rand.Read(h.salt)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes,
		b64.EncodeToString(h.salt), b64.EncodeToString(argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, 32)))
}

func decode(text string) (hash, error) {
	wrong := errors.New("is no argon2id hash; \"tideover console hash\" prints one")
	part := strings.Split(text, "$")
	if len(part) != 6 || part[1] != "argon2id" || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return hash{}, wrong
	}
	var h hash
	if n, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.lanes); err != nil || n != 3 {
		return hash{}, wrong
	}
	if h.passes < 1 || h.passes > 20 || h.lanes < 1 || h.lanes > 16 || h.memory < 8*uint32(h.lanes) || h.memory > 1<<20 {
		return hash{}, errors.New("has argon2id settings out of range")
	}
	var err, err2 error
	h.salt, err = base64.RawStdEncoding.DecodeString(part[4])
	h.sum, err2 = base64.RawStdEncoding.DecodeString(part[5])
	if err != nil || err2 != nil || len(h.salt) < 8 || len(h.sum) < 16 || len(h.sum) > 128 {
		return hash{}, wrong
	}
	return h, nil
}

func (h hash) is(password string) bool {
	sum := argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

// OpenUsers reads a users file.
func OpenUsers(path string) (*Users, error) {
	u := &Users{path: path, places: make(chan struct{}, 2)}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refresh()
	return u, u.fault
}

// refresh reads the file where it has changed. One that is wrong leaves in force what was, and says so in fault.
func (u *Users) refresh() {
	info, err := os.Stat(u.path)
	if err != nil {
		u.fault = fmt.Errorf("users file: %w", err)
		return
	}
	now := stamp{info.Size(), info.ModTime()}
	if now == u.stamp {
		return
	}
	u.stamp = now
	byName, err := readUsers(u.path)
	if u.fault = err; err != nil {
		slog.Error("the users file was not read again: what was in force stays", "cause", err)
		return
	}
	u.byName, u.nobody = byName, usual
	for _, h := range byName { // the hardest work, so that a name that is not there takes no less than any
		if uint64(h.memory)*uint64(h.passes) > uint64(u.nobody.memory)*uint64(u.nobody.passes) || u.nobody.sum == nil {
			u.nobody = h
		}
	}
	u.nobody.salt, u.nobody.sum = make([]byte, 16), make([]byte, 32)
}

func readUsers(path string) (map[string]hash, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("users file: %w", err)
	}
	defer f.Close()
	out := map[string]hash{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, text, _ := strings.Cut(line, ":")
		if !userName.MatchString(name) || notNames[name] {
			return nil, fmt.Errorf("%s:%d: the name before the colon is none that a user can have", path, n)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("%s:%d: user %s is there twice", path, n, name)
		}
		if out[name], err = decode(text); err != nil {
			return nil, fmt.Errorf("%s:%d: what is behind the name %w", path, n, err)
		}
	}
	return out, lines.Err()
}

// mark tells a user's password from the one before; false where there is no such user.
func (u *Users) mark(name string) (string, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refresh()
	h, ok := u.byName[name]
	return string(h.salt) + string(h.sum), ok
}

// check tells whether it is the user's password, and takes as long where there is no such user.
func (u *Users) check(ctx context.Context, name, password string) (bool, error) {
	u.mu.Lock()
	u.refresh()
	h, ok := u.byName[name]
	if !ok {
		h = u.nobody
	}
	u.mu.Unlock()
	select {
	case u.places <- struct{}{}:
		defer func() { <-u.places }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return h.is(password) && ok, nil
}
