WITH changed AS (
    SELECT c.oid, c.relkind, c.relreplident FROM pg_catalog.pg_class c WHERE c.oid = @changed
), child AS ( -- whose rows go, or lose their reference, with those that are deleted
    SELECT DISTINCT f.conrelid AS oid FROM pg_catalog.pg_constraint f
    WHERE @kind = 'delete' AND f.contype = 'f' AND f.confrelid = @changed AND f.conrelid <> f.confrelid AND f.confdeltype NOT IN ('a', 'r')
), written AS (
    SELECT oid FROM changed UNION SELECT oid FROM child
), assigned AS ( -- what is generated of them changes with them
    SELECT a.attnum FROM pg_catalog.pg_attribute a WHERE a.attrelid = @changed AND (a.attname = ANY (@assigned) OR a.attgenerated <> '')
), foreign_code AS ( -- functions that are neither Postgres' own nor an extension's that looks at its arguments alone
    SELECT p.oid, p.proname, p.pronargs, p.proargtypes FROM pg_catalog.pg_proc p
    WHERE p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace AND p.pronamespace <> 'information_schema'::pg_catalog.regnamespace
        AND NOT ((p.provolatile = 'i' OR p.proname LIKE 'uuid\_generate\_v%') AND EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'))
), foreign_operator AS (
    SELECT o.oid, o.oprname FROM pg_catalog.pg_operator o WHERE o.oprnamespace <> 'pg_catalog'::pg_catalog.regnamespace
        AND (o.oprcode::oid IN (SELECT oid FROM foreign_code) OR o.oprcode::oid = 0)
), foreign_thing AS (
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass AS classid, oid FROM foreign_code
    UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, oid FROM foreign_operator
), reason AS (
    SELECT 1 AS n, pg_catalog.format('%s is no ordinary table', c.oid::pg_catalog.regclass) AS why
    FROM pg_catalog.pg_class c WHERE c.relkind <> 'r' AND (c.oid = @table OR c.oid IN (SELECT oid FROM written))
    UNION ALL
    SELECT 2, pg_catalog.format('%s has partitions, a parent or children', i.oid::pg_catalog.regclass)
    FROM (SELECT oid FROM written UNION SELECT @table::oid) i
    WHERE EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE i.oid IN (h.inhrelid, h.inhparent))
    UNION ALL
    SELECT 3, pg_catalog.format('it reads %s, which is no table, one of Postgres'' own, or changed by it', c.oid::pg_catalog.regclass)
    FROM pg_catalog.pg_class c WHERE c.oid = ANY (@reads::oid[])
        AND (c.relkind NOT IN ('r', 'p', 'm') OR c.oid IN (SELECT oid FROM written) OR c.relnamespace IN ('pg_catalog'::pg_catalog.regnamespace, 'information_schema'::pg_catalog.regnamespace))
    UNION ALL
    SELECT 4, pg_catalog.format('the trigger %I of %s fires, and may look at other rows', t.tgname, t.tgrelid::pg_catalog.regclass)
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE @kind <> 'fill' AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND p.pronamespace <> coalesce(pg_catalog.to_regnamespace('tideover')::oid, 0)
        AND (t.tgrelid = @changed AND t.tgtype & CASE @kind WHEN 'insert' THEN 4 WHEN 'delete' THEN 8 ELSE 16 END <> 0
                AND (@kind <> 'update' OR pg_catalog.cardinality(t.tgattr::int2[]) = 0 OR EXISTS (SELECT FROM assigned a WHERE a.attnum = ANY (t.tgattr::int2[])))
            OR t.tgrelid IN (SELECT oid FROM child) AND t.tgtype & 24 <> 0)
    UNION ALL
    SELECT 5, pg_catalog.format('the rule %I of %s', r.rulename, r.ev_class::pg_catalog.regclass)
    FROM pg_catalog.pg_rewrite r WHERE r.ev_class IN (SELECT oid FROM written) AND r.ev_type <> '1' AND r.ev_enabled <> 'D'
    UNION ALL
    SELECT 6, pg_catalog.format('the foreign key %I of %s to itself', f.conname, f.conrelid::pg_catalog.regclass)
    FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.conrelid = @changed AND f.confrelid = @changed
        AND (@kind IN ('delete', 'insert') OR @kind = 'update' AND EXISTS (SELECT FROM assigned a WHERE a.attnum = ANY (f.conkey || f.confkey)))
    UNION ALL
    SELECT 7, pg_catalog.format('the foreign key %I of %s references what is changed', f.conname, f.conrelid::pg_catalog.regclass)
    FROM pg_catalog.pg_constraint f WHERE @kind = 'update' AND f.contype = 'f' AND f.confrelid = @changed
        AND EXISTS (SELECT FROM assigned a WHERE a.attnum = ANY (f.confkey))
    UNION ALL
    SELECT 8, pg_catalog.format('rows of %s go with those of %s, and more hangs on them', c.oid::pg_catalog.regclass, @changed)
    FROM child c WHERE EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid)
        OR 1 < (SELECT count(*) FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.confrelid = @changed AND f.conrelid = c.oid)
        OR (SELECT k.relkind FROM pg_catalog.pg_class k WHERE k.oid = c.oid) <> 'r'
    UNION ALL
    SELECT 9, pg_catalog.format('rows of two batches may meet in the unique or exclusion key %s', i.indexrelid::pg_catalog.regclass)
    FROM pg_catalog.pg_index i WHERE @kind = 'update' AND i.indrelid = @changed AND (i.indisunique OR i.indisexclusion)
        AND EXISTS (SELECT FROM assigned a WHERE a.attnum = ANY (i.indkey::int2[]) OR EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid AND d.refclassid = d.classid AND d.refobjid = i.indrelid
                AND d.refobjsubid = a.attnum))
    UNION ALL
    SELECT 10, pg_catalog.format('%s calls code of the database''s own', pg_catalog.pg_describe_object(d.classid, d.objid, 0))
    FROM pg_catalog.pg_depend d JOIN foreign_thing x ON x.classid = d.refclassid AND x.oid = d.refobjid
    WHERE EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND c.oid = d.objid
                AND (c.conrelid IN (SELECT oid FROM written) OR c.contypid <> 0))
        OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.indexrelid = d.objid AND i.indrelid IN (SELECT oid FROM written))
        OR EXISTS (SELECT FROM pg_catalog.pg_attrdef f JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
            WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid AND f.adrelid IN (SELECT oid FROM written)
                AND (a.attgenerated <> '' OR @kind = 'insert' AND NOT a.attname = ANY (@assigned) OR @kind = 'fill' AND a.attname = ANY (@assigned) OR f.adrelid IN (SELECT oid FROM child)))
        OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND a.atttypid = d.objid AND a.attrelid IN (SELECT oid FROM written))
    UNION ALL
    SELECT 11, pg_catalog.format('the constraint %I of %s asks for the time', c.conname, c.conrelid::pg_catalog.regclass)
    FROM pg_catalog.pg_constraint c WHERE c.contype = 'c' AND c.conrelid IN (SELECT oid FROM written)
        AND pg_catalog.pg_get_constraintdef(c.oid) ~* '\m(now|today|tomorrow|yesterday|current_date|current_time|current_timestamp|localtime|localtimestamp|transaction_timestamp|statement_timestamp|clock_timestamp|timeofday|random|age)\M'
    UNION ALL
    SELECT 12, pg_catalog.format('row security hides rows of %s', c.oid::pg_catalog.regclass)
    FROM pg_catalog.pg_class c WHERE c.relrowsecurity AND (c.oid = @table OR c.oid = ANY (@reads::oid[]) OR c.oid IN (SELECT oid FROM written))
        AND pg_catalog.row_security_active(c.oid)
    UNION ALL
    SELECT 13, pg_catalog.format('there is a function %s of the database''s own', p.oid::pg_catalog.regprocedure)
    FROM foreign_code p WHERE p.proname = ANY (@functions)
        OR p.proname = ANY (@columns) AND p.pronargs = 1 AND EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = p.proargtypes[0] AND t.typtype IN ('c', 'p'))
    UNION ALL
    SELECT 14, pg_catalog.format('there is an operator %s of the database''s own', o.oid::pg_catalog.regoperator)
    FROM foreign_operator o WHERE o.oprname = ANY (@operators)
    UNION ALL
    SELECT 15, pg_catalog.format('a cast calls %s', p.oid::pg_catalog.regprocedure)
    FROM pg_catalog.pg_cast c JOIN foreign_code p ON p.oid = c.castfunc
    UNION ALL
    SELECT 16, pg_catalog.format('the default of %I in %s may differ between batches', f.attname, @changed)
    FROM (SELECT a.attname, coalesce(pg_catalog.pg_get_expr(f.adbin, f.adrelid), t.typdefault) AS value
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
        WHERE @kind = 'insert' AND a.attrelid = @changed AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND NOT a.attname = ANY (@assigned)) f
    WHERE f.value ~* '''(now|today|tomorrow|yesterday)\M'
        OR pg_catalog.regexp_replace(f.value, '''([^'']|'''')*''', '', 'g') ~* '\m(current_date|current_time|current_timestamp|localtime|localtimestamp)\M'
        OR EXISTS (SELECT FROM pg_catalog.regexp_matches(pg_catalog.regexp_replace(f.value, '''([^'']|'''')*''', '', 'g'), '(\w+)\(', 'g') m
            WHERE NOT m[1] = ANY ('{nextval,gen_random_uuid,uuid_generate_v4,random,clock_timestamp,md5,lower,upper,substr,substring,varying,varchar,character,char,bpchar,numeric,bit,interval,timestamp,time}'))
    UNION ALL
    SELECT 17, pg_catalog.format('the constraint %I of %s has not been validated: rows that it refuses can''t be written again', c.conname, c.conrelid::pg_catalog.regclass)
    FROM pg_catalog.pg_constraint c WHERE @kind = 'fill' AND c.contype = 'c' AND NOT c.convalidated AND c.conrelid = @changed AND c.conname NOT LIKE 'tideover\_%'
    UNION ALL
    SELECT 18, pg_catalog.format('%s is published without a key that a subscriber could find its rows by', c.oid::pg_catalog.regclass)
    FROM changed c WHERE @kind = 'fill' AND EXISTS (SELECT FROM pg_catalog.pg_publication p CROSS JOIN LATERAL pg_catalog.pg_get_publication_tables(p.pubname) t
            WHERE p.pubupdate AND t.relid = c.oid)
        AND (c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))
)
SELECT pg_catalog.string_agg(r.why, '; ' ORDER BY r.n, r.why) FROM (SELECT DISTINCT n, why FROM reason ORDER BY n, why LIMIT 5) r
