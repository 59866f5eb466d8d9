package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/jackc/pgx/v5"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	tcpostgres "github.com/testcontainers/testcontainers-go/modules/postgres"
)

const (
	pgPort        = "5432/tcp"
	removeTimeout = 30 * time.Second
	sharedMemory  = 256 << 20 // Docker's 64 MB are too little for parallel queries

	engineHint = `start a Docker engine: eval "$(scripts/docker/start-engine.sh)", then scripts/docker/build-postgres-image.sh`
)

// box is a Postgres in a container.
type box struct {
	owner  *owner
	name   string
	docker *testcontainers.DockerClient
	ctr    *tcpostgres.PostgresContainer
	dsn    string
}

// quiet keeps testcontainers' own log off the terminal, where a progress display may be. Its logger is a variable
// of its package: it is set once.
var quiet = sync.OnceFunc(func() { tclog.SetDefault(tclog.NewNoopLogger()) })

// startContainer starts a container that only this machine can reach. testcontainers decides by its usual settings
// (TESTCONTAINERS_RYUK_DISABLED) whether its reaper watches over it as well.
func startContainer(ctx context.Context, o Options) (_ *box, err error) {
	quiet()
	docker, err := reachEngine(ctx)
	if err != nil {
		return nil, err
	}
	if err := sweepContainers(ctx, docker); err != nil {
		fmt.Fprintf(o.Log, "postgres %q: sweep of older containers: %v\n", o.Name, err)
	}
	self := account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	parent, err := self.tempDir()
	if err != nil {
		return nil, err
	}
	// The container's name is the directory's, known before either exists: the watchdog needs no telling.
	name := o.uniqueName()
	env := []string{"DOCKER_HOST=" + docker.DaemonHost()}
	own, err := newOwner(filepath.Join(parent, name), self, containerWatchdog, env, name)
	if err != nil {
		return nil, err
	}
	b := &box{owner: own, name: name, docker: docker}
	for range 5 { // on the host's network the port can be taken between our asking and its binding
		if err = b.start(ctx, o); err == nil {
			return b, nil
		}
		if ctx.Err() != nil {
			// The engine may still be creating it: the watchdog waits for that.
			return nil, errors.Join(err, b.owner.release(), os.RemoveAll(own.dir))
		}
		if o.Network != "host" || !errors.Is(err, errEnded) {
			break
		}
		if gone := b.remove(); gone != nil {
			err = errors.Join(err, gone)
			break
		}
	}
	return nil, errors.Join(err, b.close())
}

// reachEngine returns a client of the engine that testcontainers' rules name.
func reachEngine(ctx context.Context) (*testcontainers.DockerClient, error) {
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err == nil {
		_, err = docker.Ping(ctx, client.PingOptions{})
	}
	if err != nil {
		return nil, hinted{fmt.Errorf("no Docker engine answers: %w", err), engineHint}
	}
	return docker, nil
}

// errEnded says that the container's server ended instead of answering.
var errEnded = errors.New("the container ended before it answered")

func (b *box) start(ctx context.Context, o Options) error {
	password := rand.Text()
	args := []string{"postgres"}
	settings := o.settings()
	containerPort := pgPort
	if o.Network == "host" {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		settings["listen_addresses"], settings["port"] = "127.0.0.1", strconv.Itoa(port)
		containerPort = settings["port"] + "/tcp"
	}
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", k+"="+settings[k])
	}
	var err error
	b.ctr, err = tcpostgres.Run(ctx, o.Image,
		testcontainers.WithName(b.name),
		testcontainers.WithLabels(ownerLabels(b.owner.dir)),
		testcontainers.WithCmd(args...),
		tcpostgres.WithPassword(password),
		testcontainers.WithEnv(map[string]string{"POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C.UTF-8 --no-sync"}),
		testcontainers.WithHostConfigModifier(func(h *dockercontainer.HostConfig) {
			h.ShmSize = sharedMemory
			if o.Network == "host" {
				h.NetworkMode = "host"
				return
			}
			h.PortBindings = network.PortMap{network.MustParsePort(pgPort): {{HostIP: netip.MustParseAddr("127.0.0.1")}}}
		}))
	if err != nil {
		return hinted{fmt.Errorf("image %s: %w", o.Image, err),
			fmt.Sprintf("build the image without a registry: scripts/docker/build-postgres-image.sh, or name another in %s; "+
				"without access to the reaper's image set TESTCONTAINERS_RYUK_DISABLED=true", imageVariable)}
	}
	mapped, err := b.ctr.MappedPort(ctx, containerPort)
	if err != nil {
		return err
	}
	b.dsn = (&url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", password), Path: "/postgres", RawQuery: "sslmode=disable",
		Host: net.JoinHostPort("127.0.0.1", mapped.Port()),
	}).String()
	return b.await(ctx)
}

// await waits until the server answers over TCP. While the image's entrypoint sets the cluster up it listens on a
// socket within the container only, so that the first answer is the final server's.
func (b *box) await(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		conn, err := pgx.Connect(try, b.dsn)
		if err == nil {
			err = conn.Close(try)
		}
		cancel()
		if err == nil {
			return nil
		}
		state, stateErr := b.ctr.State(ctx)
		if stateErr == nil && !state.Running {
			return fmt.Errorf("%w%s", errEnded, b.lastWords(ctx))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for container %s: %w", b.name, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func (b *box) lastWords(ctx context.Context) string {
	r, err := b.ctr.Logs(ctx)
	if err != nil {
		return ""
	}
	defer r.Close()
	text, _ := io.ReadAll(io.LimitReader(r, 1<<20)) // what can be read of it
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "; its last words: " + strings.Join(lines[max(0, len(lines)-10):], " | ")
}

// remove kills and removes the container with its volumes; one that is not there is no error.
func (b *box) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	return removeContainer(ctx, b.docker, b.name)
}

func removeContainer(ctx context.Context, docker *testcontainers.DockerClient, name string) error {
	_, err := docker.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove container %s: %w", name, err)
	}
	return nil
}

func (b *box) close() error {
	err := b.remove()
	if err == nil {
		_, _ = io.WriteString(b.owner.pipe, "removed\n") // there may be no watchdog any more
	}
	return errors.Join(err, b.owner.release(), os.RemoveAll(b.owner.dir))
}
