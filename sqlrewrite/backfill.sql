DECLARE
    v_job constant text := @job;
    v_table constant pg_catalog.regclass := @table::pg_catalog.regclass;
    v_alias constant text := @alias;
    v_head constant text := @head;
    v_tail constant text := @tail;
    v_kind constant text := @kind;
    v_keys text; -- the key's columns, as the statement calls them
    v_texts text; -- and their values as text that gives them back
    v_names pg_catalog.name[];
    v_types text[];
    v_last text[];
    v_upto text[];
    v_done boolean;
    v_rows bigint;
    v_size integer := 1000;
    v_took double precision;
    v_began timestamptz;
    v_moment timestamptz; -- what now() is in all batches
    v_failed integer := 0;
    v_where text;
    v_why text;
    v_replica boolean := true;
    v_off pg_catalog.name[];
    v_states text[];
    v_trigger record;
BEGIN
    CREATE TABLE IF NOT EXISTS tideover_backfill (job text PRIMARY KEY, last text[], rows bigint NOT NULL DEFAULT 0, done boolean NOT NULL DEFAULT false, began timestamptz NOT NULL DEFAULT pg_catalog.transaction_timestamp());
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'tideover_backfill'::pg_catalog.regclass AND a.attname = 'began') THEN
        ALTER TABLE tideover_backfill ADD COLUMN began timestamptz NOT NULL DEFAULT pg_catalog.transaction_timestamp(); -- an older release's
    END IF;
    SELECT (
        @why
    ) INTO v_why;
    IF v_why IS NOT NULL THEN
        RAISE EXCEPTION 'the statement on % is not cut into batches: %', v_table, v_why
            USING ERRCODE = 'feature_not_supported', HINT = CASE WHEN EXISTS (SELECT FROM tideover_backfill b WHERE b.job = v_job AND b.last IS NOT NULL)
                THEN 'a part of the rows has been written: take away what has come in its way, and go on'
                ELSE 'none of the rows has been written: take away what is in its way, or migrate a copy of the database (target: offline)' END;
    END IF;
    INSERT INTO tideover_backfill (job) VALUES (v_job) ON CONFLICT DO NOTHING;
    COMMIT;
    SELECT b.began INTO v_moment FROM tideover_backfill b WHERE b.job = v_job;
    SELECT k.names, k.types INTO v_names, v_types FROM (
        @key
    ) k;
    IF v_names IS NULL THEN
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT 10001) few', v_table) INTO v_rows;
        IF v_rows > 10000 THEN
            RAISE EXCEPTION 'table % has no key by which it could be written in batches', v_table
                USING ERRCODE = 'feature_not_supported', HINT = 'add a primary key first, or migrate a copy of the database (target: offline)';
        END IF;
    END IF;
    SELECT string_agg(format('%s.%I', v_alias, k), ', ' ORDER BY n),
        string_agg(CASE WHEN t LIKE 'timestamp%' OR t = 'date' THEN format('pg_catalog.to_json(%s.%I) #>> ''{}''', v_alias, k) ELSE format('%s.%I::text', v_alias, k) END, ', ' ORDER BY n)
    INTO v_keys, v_texts FROM unnest(v_names, v_types) WITH ORDINALITY u(k, t, n);
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
                    v_texts, v_table, v_alias, v_where, v_keys, v_size - 1) INTO v_upto;
            END IF;
            IF v_upto IS NOT NULL THEN
                SELECT v_where || format(' AND (%s) <= (%s)', v_keys, string_agg(format('%L::%s', l, t), ', ' ORDER BY n)) INTO v_where
                FROM unnest(v_upto, v_types) WITH ORDINALITY u(l, t, n);
            END IF;
            IF v_kind = 'fill' THEN -- no trigger may take it for a write of the server's
                SELECT array_agg(t.tgname), array_agg(t.tgenabled::text) INTO v_off, v_states FROM pg_catalog.pg_trigger t
                WHERE t.tgrelid = v_table AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 16 <> 0;
                v_replica := v_replica AND v_states <@ ARRAY['O'];
                IF v_replica THEN
                    BEGIN
                        PERFORM pg_catalog.set_config('session_replication_role', 'replica', true);
                        v_off := NULL;
                        v_states := NULL;
                    EXCEPTION WHEN insufficient_privilege THEN
                        v_replica := false;
                    END;
                END IF;
                FOR v_trigger IN SELECT n FROM unnest(v_off) n LOOP -- writes wait for this batch, and nobody sees the triggers off
                    EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', v_table, v_trigger.n);
                END LOOP;
            END IF;
            EXECUTE replace(v_head || '(' || v_where || ')' || v_tail, @moment, format('%L::timestamptz', pg_catalog.to_json(v_moment) #>> '{}'));
            GET DIAGNOSTICS v_rows = ROW_COUNT;
            FOR v_trigger IN SELECT n, state FROM unnest(v_off, v_states) u(n, state) LOOP
                EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', v_table, CASE v_trigger.state WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, v_trigger.n);
            END LOOP;
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
