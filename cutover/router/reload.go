package router

import (
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"

	"github.com/tideover/tideover/plan"
)

// fronts are the two listeners' meanings, by name. They can be replaced while the router serves: a request goes to its
// end with those that it has begun with.
type fronts struct {
	now atomic.Pointer[map[string]*listener]
}

func (f *fronts) get(name string) *listener { return (*f.now.Load())[name] }

// aim reads a profile. On error the former meanings stay.
func (f *fronts) aim(config Config, profile plan.HTTP) error {
	all := map[string]*listener{
		"public": {name: "public", spec: profile.Public, foreign: &profile.Admin},
		"admin":  {name: "admin", spec: profile.Admin},
	}
	for name, l := range all {
		l.profile = profile
		if err := checkRoutes(name, l.spec); err != nil {
			return err
		}
		var err error
		if l.reached, err = config.reached(name); err != nil {
			return err
		}
		l.targets = map[plan.Side]*url.URL{}
		for side, t := range map[plan.Side]Target{plan.Blue: config.Blue, plan.Green: config.Green} {
			raw := t.Public
			if name == "admin" {
				raw = t.Admin
			}
			u, err := base(fmt.Sprintf("%s %s", side, name), raw)
			if err != nil {
				return err
			}
			l.targets[side] = u
		}
	}
	f.now.Store(&all)
	return nil
}

// Reload takes a profile that has changed, and reads the certificate's files again. Requests under way, held ones
// included, go on as they began; on error everything stays as it was, except that one of the two may have been taken.
func (r *Router) Reload(profile plan.HTTP) error {
	return errors.Join(r.certificate.reload(), r.fronts.aim(r.config, profile))
}
