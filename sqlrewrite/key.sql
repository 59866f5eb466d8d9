SELECT k.names, k.types
FROM pg_catalog.pg_index i CROSS JOIN LATERAL (
    SELECT array_agg(a.attname ORDER BY n) AS names, array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY n) AS types,
        bool_and(a.attnotnull AND (t.typtype = 'e' OR t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND t.typname IN ('int2', 'int4', 'int8',
            'numeric', 'oid', 'bool', 'text', 'varchar', 'bpchar', 'name', 'uuid', 'bytea', 'date', 'timestamp', 'timestamptz', 'inet', 'cidr', 'macaddr'))) AS filled
    FROM generate_series(0, i.indnkeyatts - 1) n
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n]
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
) k
WHERE i.indrelid = @table AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
    AND k.filled AND (@kind = 'insert' OR NOT k.names && @assigned)
ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1
