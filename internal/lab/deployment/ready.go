package deployment

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Ready waits until a server of the deployment serves.
func (s *Deployment) Ready(ctx context.Context, e Endpoint) error {
	return waitReady(ctx, e.Public+"/health/ready")
}

// waitReady asks url until it answers 200.
func waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, fmt.Errorf("%s: not ready within %s", url, readyWithin))
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
