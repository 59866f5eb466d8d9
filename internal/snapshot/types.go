package snapshot

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// pgType is what portable needs of pg_type.
type pgType struct {
	kind       string // typtype
	base, elem uint32
	io         bool // has functions for the binary format
	namesOID   bool // reg* types: their binary form is an oid
}

type typeSet map[uint32]pgType

const typesQuery = `
SELECT oid, typtype::text, typbasetype, CASE WHEN typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc THEN typelem ELSE 0 END,
	typsend <> 0 AND typreceive <> 0, typtype = 'b' AND typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND typname LIKE 'reg%'
FROM pg_catalog.pg_type`

// typesQuery13 is for servers before 14, which have no typsubscript: there an array has a typlen of -1 and an element.
const typesQuery13 = `
SELECT oid, typtype::text, typbasetype, CASE WHEN typlen = -1 THEN typelem ELSE 0 END,
	typsend <> 0 AND typreceive <> 0, typtype = 'b' AND typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND typname LIKE 'reg%'
FROM pg_catalog.pg_type`

func loadTypes(ctx context.Context, conn *pgx.Conn) (typeSet, error) {
	query := typesQuery
	if v := conn.PgConn().ParameterStatus("server_version"); len(v) > 2 && v[:2] < "14" {
		query = typesQuery13
	}
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list the types: %w", err)
	}
	types := typeSet{}
	var (
		oid uint32
		t   pgType
	)
	_, err = pgx.ForEachRow(rows, []any{&oid, &t.kind, &t.base, &t.elem, &t.io, &t.namesOID}, func() error { types[oid] = t; return nil })
	if err != nil {
		return nil, fmt.Errorf("list the types: %w", err)
	}
	return types, nil
}

// firstNormal is the first oid of an object that is not built in (FirstNormalObjectId); built-in ones are equal in
// every database.
const firstNormal = 16384

// portable says whether a type's binary form means the same in another database. The binary forms of arrays and
// composites carry the oids of their elements' types, which differ for all that is not built in, and the reg* types are
// oids of objects: such tables go as text.
func (s typeSet) portable(oid uint32) bool {
	t, ok := s[oid]
	switch {
	case !ok || !t.io || t.namesOID:
		return false
	case t.kind == "d":
		return s.portable(t.base)
	case t.kind == "e":
		return true // its label
	case t.elem != 0:
		return t.elem < firstNormal && s.portable(t.elem)
	case t.kind == "b":
		return oid < firstNormal
	}
	return (t.kind == "r" || t.kind == "m") && oid < firstNormal
}
