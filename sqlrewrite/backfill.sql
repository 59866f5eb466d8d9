DECLARE
    v_job constant text := @job;
    v_table constant pg_catalog.regclass := @table::pg_catalog.regclass;
    v_alias constant text := @alias;
    v_head constant text := @head;
    v_tail constant text := @tail;
    v_assigned constant pg_catalog.name[] := @assigned;
    v_keys text; -- the key's columns, as the statement calls them
    v_names pg_catalog.name[];
    v_types text[];
    v_last text[];
    v_upto text[];
    v_done boolean;
    v_rows bigint;
    v_size integer := 1000;
    v_took double precision;
    v_began timestamptz;
    v_failed integer := 0;
    v_where text;
BEGIN
    CREATE TABLE IF NOT EXISTS tideover_backfill (job text PRIMARY KEY, last text[], rows bigint NOT NULL DEFAULT 0, done boolean NOT NULL DEFAULT false);
    INSERT INTO tideover_backfill (job) VALUES (v_job) ON CONFLICT DO NOTHING;
    COMMIT;
    -- A key whose columns are never NULL and are not written by the statement: the primary key, or the narrowest other.
    SELECT k.names, k.types INTO v_names, v_types
    FROM pg_catalog.pg_index i CROSS JOIN LATERAL (
        SELECT array_agg(a.attname ORDER BY n) AS names, array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY n) AS types,
            bool_and(a.attnotnull) AS filled
        FROM generate_series(0, i.indnkeyatts - 1) n
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n]
    ) k
    WHERE i.indrelid = v_table AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
        AND k.filled AND NOT k.names && v_assigned
    ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1;
    IF v_names IS NULL THEN
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT 10001) few', v_table) INTO v_rows;
        IF v_rows > 10000 THEN
            RAISE EXCEPTION 'table % has no key by which it could be written in batches', v_table
                USING ERRCODE = 'feature_not_supported', HINT = 'add a primary key first, or migrate a copy of the database (target: offline)';
        END IF;
    END IF;
    SELECT string_agg(format('%s.%I', v_alias, k), ', ') INTO v_keys FROM unnest(v_names) k;
    LOOP
        BEGIN
            PERFORM pg_catalog.set_config('lock_timeout', '250ms', true);
            v_began := pg_catalog.clock_timestamp();
            SELECT b.last, b.done INTO v_last, v_done FROM tideover_backfill b WHERE b.job = v_job FOR UPDATE;
            EXIT WHEN v_done;
            v_where := 'true';
            v_upto := NULL;
            IF v_last IS NOT NULL THEN
                SELECT format('(%s) > (%s)', v_keys, string_agg(format('%L::%s', l, t), ', ' ORDER BY n)) INTO v_where
                FROM unnest(v_last, v_types) WITH ORDINALITY u(l, t, n);
            END IF;
            IF v_names IS NOT NULL THEN
                EXECUTE format('SELECT ARRAY[%s] FROM %s AS %s WHERE %s ORDER BY %s OFFSET %s LIMIT 1',
                    (SELECT string_agg(format('%s.%I::text', v_alias, k), ', ') FROM unnest(v_names) k), v_table, v_alias, v_where, v_keys, v_size - 1) INTO v_upto;
            END IF;
            IF v_upto IS NOT NULL THEN
                SELECT v_where || format(' AND (%s) <= (%s)', v_keys, string_agg(format('%L::%s', l, t), ', ' ORDER BY n)) INTO v_where
                FROM unnest(v_upto, v_types) WITH ORDINALITY u(l, t, n);
            END IF;
            EXECUTE v_head || '(' || v_where || ')' || v_tail;
            GET DIAGNOSTICS v_rows = ROW_COUNT;
            v_done := v_upto IS NULL;
            UPDATE tideover_backfill b SET last = coalesce(v_upto, b.last), rows = b.rows + v_rows, done = v_done WHERE b.job = v_job;
            v_took := greatest(extract(epoch FROM pg_catalog.clock_timestamp() - v_began), 0.001);
            v_size := greatest(100, least(20000, 4 * v_size, (v_size * 0.1 / v_took)::integer)); -- a tenth of a second each
            v_failed := 0;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            v_failed := v_failed + 1;
            IF v_failed > 120 THEN
                RAISE;
            END IF;
            v_done := false;
            v_took := least(5, 0.1 * v_failed) * (0.5 + random());
            v_size := greatest(100, v_size / 2);
        END;
        COMMIT;
        EXIT WHEN v_done;
        PERFORM pg_catalog.pg_sleep(least(v_took, 5)); -- as long as it worked
    END LOOP;
END
