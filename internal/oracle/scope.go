package oracle

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/plan"
)

// scope is a schema that is compared, and what the profile says of it.
type scope struct {
	schema  string
	prefix  string // of what is named in a difference: none in the profile's schema, "billing." in another
	profile *plan.Profile
	others  []string // tables of somebody else, by the profile
}

// left are the tables that are not compared.
func (s scope) left() []string {
	return slices.Concat(s.profile.Bookkeeping, s.profile.Green.Ignore, s.others)
}

// schemasQuery lists the schemas of users. Those of extensions come with them.
const schemasQuery = `
SELECT n.nspname FROM pg_catalog.pg_namespace n
WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT LIKE 'tideover%'
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.objid = n.oid AND d.deptype = 'e')
ORDER BY 1`

// scopesOf are all schemas that any of the databases has, the profile's first.
func scopesOf(ctx context.Context, p *plan.Profile, conns ...*pgx.Conn) ([]scope, error) {
	own := p.Schema
	if own == "" {
		own = "public"
	}
	names := []string{own}
	for _, conn := range conns {
		some, err := strings1(ctx, conn, schemasQuery)
		if err != nil {
			return nil, fmt.Errorf("compare: list the schemas: %w", err)
		}
		names = append(names, some...)
	}
	var scopes []scope
	for i, name := range names {
		if slices.Contains(names[:i], name) || slices.Contains(p.Others, name+".*") {
			continue
		}
		s := scope{schema: name, profile: p}
		if name != own {
			s.prefix, s.profile = name+".", p.In(name)
		}
		for _, other := range p.Others {
			if table, is := strings.CutPrefix(other, name+"."); is {
				s.others = append(s.others, table)
			}
		}
		scopes = append(scopes, s)
	}
	return scopes, nil
}
