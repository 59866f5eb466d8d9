package pgserver

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

// Labels of our containers: which directory's lock says whether the owner lives, and where that directory is to
// be looked for. An engine can serve several machines, and one machine several views of /tmp.
const (
	labelDir  = "dev.tideover.pgserver.owner"
	labelView = "dev.tideover.pgserver.view"
)

func ownerLabels(dir string) map[string]string {
	return map[string]string{labelDir: dir, labelView: view()}
}

// view names the file system that this process sees: the host and, on Linux, the mount namespace.
func view() string {
	host, _ := os.Hostname()
	ns, _ := os.Readlink("/proc/self/ns/mnt")
	return host + " " + ns
}

// sweepContainers removes the containers whose owner is gone.
func sweepContainers(ctx context.Context, docker *testcontainers.DockerClient) error {
	list, err := docker.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", labelView+"="+view()),
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range list.Items {
		alive, unlock, err := ownerLives(c.Labels[labelDir])
		switch {
		case errors.Is(err, fs.ErrNotExist): // no directory, no owner
			errs = append(errs, removeContainer(ctx, docker, c.ID))
		case err != nil:
			errs = append(errs, err)
		case !alive:
			errs = append(errs, removeContainer(ctx, docker, c.ID), os.RemoveAll(c.Labels[labelDir]))
			unlock()
		}
	}
	return errors.Join(errs...)
}
