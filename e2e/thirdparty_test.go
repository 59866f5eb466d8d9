package e2e

import (
	"testing"

	"github.com/tideover/tideover/internal/lab/slice"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

// TestThirdPartyClients takes OAuth libraries that we did not write through the router: on generation 1.1 before the
// upgrade, and on 2.0 after it.
func TestThirdPartyClients(t *testing.T) {
	slice.In(t, 9)
	th := newTheatre(t)
	target := thirdparty.Target{Issuer: th.Router.Public, Public: th.Router.Public, Admin: th.Router.Admin}
	thirdparty.Exercise(t.Context(), t, target)
	if code, _, stderr := th.play(t, nil, "run", th.runbook, "--json"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	// The router puts the new server's /admin prefix before the paths that clients have always used.
	thirdparty.Exercise(t.Context(), t, target)
	target.AdminPrefix = "/admin"
	thirdparty.Exercise(t.Context(), t, target)
	th.judge(t)
}
