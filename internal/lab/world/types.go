package world

import "strings"

// columnType is a type with values that have broken something somewhere: they print in more than one way, or are equal
// without being the same.
type columnType struct {
	sql    string // %s: the schema of extensions, or that of the world's own types
	values []string
	twins  [2]string // equal by the type's own =, and not the same; empty: there are none
	needs  string    // a piece of the prelude
	key    func(n int) string
}

func text(n int, before, after string) string { return "'" + before + itoa(n) + after + "'" }

var columnTypes = []columnType{
	{sql: "text", values: []string{`''`, `'plain'`, `E'tab\tline\nback\\slash'`, `'it''s "quoted", {braced} (and) NULL'`, `'ünï ✓ 日本'`, `'\N'`},
		key: func(n int) string { return text(n, "k''", `\x`) }},
	{sql: "varchar(40)", values: []string{`''`, `'short'`, `'trailing  '`}, key: func(n int) string { return text(n, "v-", "") }},
	{sql: "char(8)", values: []string{`'a'`, `'abc  '`, `''`}, key: func(n int) string { return text(n, "c", " ") }},
	{sql: "integer", values: []string{"0", "-1", "2147483647"}, key: func(n int) string { return itoa(n * 3) }},
	{sql: "bigint", values: []string{"0", "-9223372036854775808", "42"}, key: func(n int) string { return itoa(n * 7) }},
	{sql: "smallint", values: []string{"0", "-32768", "7"}},
	{sql: "numeric", values: []string{"1.0", "1.00", "'NaN'", "'Infinity'", "0.000", "123456789012345678901234567890.123456789"}, twins: [2]string{"1.0", "1.000"},
		key: func(n int) string { return itoa(n) + ".50" }},
	{sql: "numeric(12,4)", values: []string{"1.5", "-0.0001", "99999999.9999"}},
	{sql: "double precision", values: []string{"0.1::float8 + 0.2::float8", "'-0'", "'NaN'", "1e-300", "'Infinity'", "0.7::float8 + 0.1::float8"}, twins: [2]string{"'0'", "'-0'"}},
	{sql: "real", values: []string{"0.1::float4 + 0.2::float4", "'-0'", "16777217"}, twins: [2]string{"'0'", "'-0'"}},
	{sql: "boolean", values: []string{"true", "false"}},
	{sql: "date", values: []string{"date '2024-02-03'", "date '2024-12-11'", "'infinity'", "date '0044-03-15 BC'"},
		key: func(n int) string { return "date '2024-01-02' + " + itoa(n) }},
	{sql: "timestamp", values: []string{"timestamp '2024-02-03 04:05:06.789'", "'-infinity'", "timestamp '1999-11-12 00:00:00'"}},
	{sql: "timestamptz", values: []string{"timestamptz '2024-02-03 04:05:06.7+00'", "timestamptz '2024-10-27 01:30:00+00'", "timestamptz '2024-10-27 00:30:00+00'", "clock_timestamp()"},
		key: func(n int) string { return "timestamptz '2024-03-04 05:06:07+00' + interval '1 hour' * " + itoa(n) }},
	{sql: "time", values: []string{"'23:59:59.999999'", "'24:00:00'", "'00:00'"}},
	{sql: "timetz", values: []string{"'04:05:06+02'", "'04:05:06-08'"}},
	{sql: "interval", values: []string{"interval '1 year -2 days +03:04:05.6'", "interval '-1 mon'", "interval '1 day'", "interval '24 hours'", "interval '-1 day +00:00:01'"},
		twins: [2]string{"interval '1 day'", "interval '24 hours'"}},
	{sql: "bytea", values: []string{`'\x005c0a27ff'`, `'\x'`, `'\x5c5c'`}, key: func(n int) string { return "decode(lpad(to_hex(" + itoa(n) + "), 4, '0'), 'hex')" }},
	{sql: "uuid", values: []string{"'00000000-0000-0000-0000-000000000000'", "md5('x')::uuid"}, key: func(n int) string { return "md5('" + itoa(n) + "')::uuid" }},
	{sql: "json", values: []string{`'{"b":1, "a": 1.0,"b":2}'`, `'null'`, `'[1,  2]'`}},
	{sql: "jsonb", values: []string{`'{"a":1.0}'`, `'{"a":1.00,"b":[1,null]}'`, `'"x"'`, `'null'`}, twins: [2]string{`'{"a":1.0}'`, `'{"a":1.00}'`}},
	{sql: "text[]", values: []string{`ARRAY['a','b,c','"q"',NULL,'NULL']`, `'{}'`, `'[0:1]={x,y}'`, `ARRAY[['a','b'],['c','d']]`}},
	{sql: "numeric[]", values: []string{`'{1.0,2}'`, `'{1.00,2}'`, `'{}'`}, twins: [2]string{"'{1.0}'", "'{1.00}'"}},
	{sql: "double precision[]", values: []string{`ARRAY[0.1::float8+0.2::float8]`, `'{0,-0}'`}, twins: [2]string{"'{0}'", "'{-0}'"}},
	{sql: "date[]", values: []string{`ARRAY[date '2024-02-03', date '2024-03-02']`, `'{}'`}},
	{sql: "interval[]", values: []string{`ARRAY[interval '-1 mon']`}, twins: [2]string{"ARRAY[interval '1 day']", "ARRAY[interval '24 hours']"}},
	{sql: "int4range", values: []string{"'[1,5)'", "'empty'", "'(,7]'"}},
	{sql: "numrange", values: []string{"'[1.0,2.5]'", "'(1.00,2.50]'"}, twins: [2]string{"'[1.0,2.0]'", "'[1.00,2.0]'"}},
	{sql: "daterange", values: []string{"daterange(date '2024-02-03', date '2024-03-02')", "'empty'"}},
	{sql: "tstzrange", values: []string{"tstzrange(timestamptz '2024-02-03 00:00+00', NULL)", "tstzrange(timestamptz '2024-10-27 00:30+00', timestamptz '2024-10-27 01:30+00', '[]')"}},
	{sql: "int4multirange", values: []string{"'{[1,3),[5,7)}'", "'{}'"}},
	{sql: "inet", values: []string{"'10.0.0.1/8'", "'::1'"}},
	{sql: "cidr", values: []string{"'10.0.0.0/8'"}},
	{sql: "macaddr", values: []string{"'08:00:2b:01:02:03'"}},
	{sql: "point", values: []string{"'(1.5,-0)'", "point(0.1::float8 + 0.2::float8, 0)"}},
	{sql: "xml", values: []string{"'<a b=\"1\">x</a>'", "'plain'"}},
	{sql: "bit varying(9)", values: []string{"B'101'", "B''"}},
	{sql: "tsvector", values: []string{"'fat:2A cat:3'", "''"}},
	{sql: `"char"`, values: []string{"'x'", "''"}},
	{sql: "money", values: []string{"12.34::numeric::money", "(-0.05)::numeric::money"}},
	{sql: "%s.mood", values: []string{"'sad'", "'so so'", "'glad, it''s'"}, needs: "mood"},
	{sql: "%s.mood[]", values: []string{"'{sad,\"so so\"}'", "'{}'"}, needs: "mood"},
	{sql: "%s.amount", values: []string{"1.0", "1.00", "17.5"}, twins: [2]string{"1.0", "1.00"}, needs: "amount"},
	{sql: "%s.pair", values: []string{`ROW(1.0, 'a "b"', date '2024-02-03')`, "ROW(NULL, NULL, NULL)", `ROW(1.00, '', 'infinity')`},
		twins: [2]string{"ROW(1.0, 'a', NULL)", "ROW(1.00, 'a', NULL)"}, needs: "pair"},
	{sql: `text COLLATE %s.ci`, values: []string{"'abc'", "'ABC'", "'Äb'"}, twins: [2]string{"'abc'", "'ABC'"}, needs: "ci"},
	{sql: "%s.citext", values: []string{"'abc'", "'ABC'", "'x''Y'"}, twins: [2]string{"'abc'", "'ABC'"}, needs: "citext", key: func(n int) string { return text(n, "Key", "") }},
	{sql: "%s.citext[]", values: []string{"'{abc}'", "'{ABC,\"x y\"}'"}, twins: [2]string{"'{abc}'", "'{ABC}'"}, needs: "citext"},
	{sql: "%s.hstore", values: []string{`'a=>1'`, `'b=>NULL, "x y"=>"=>"'`, `''`}, needs: "hstore"},
}

// preludes make the types that a column may need, in their schema.
var preludes = map[string]string{
	"mood":   `CREATE TYPE %s.mood AS ENUM ('sad', 'so so', 'glad, it''s');`,
	"amount": `CREATE DOMAIN %s.amount AS numeric CHECK (VALUE > 0);`,
	"pair":   `CREATE TYPE %s.pair AS (n numeric, t text, d date);`,
	"ci":     `CREATE COLLATION %s.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);`,
	"citext": `CREATE EXTENSION citext SCHEMA %s;`,
	"hstore": `CREATE EXTENSION hstore SCHEMA %s;`,
}

// columnLabels are the names of the types, as features.
var columnLabels = func() []string {
	labels := make([]string, len(columnTypes))
	for i, c := range columnTypes {
		labels[i] = strings.ReplaceAll(c.sql, "%s.", "")
	}
	return labels
}()
