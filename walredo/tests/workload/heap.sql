-- Heap, visibility map, sequence and generic records of every kind, in databases and tablespaces that come
-- and go. Runs on 14 to 18; from 15 on it needs allow_in_place_tablespaces. Autovacuum is off for the tables.
\set ON_ERROR_STOP on
SELECT :SERVER_VERSION_NUM >= 150000 AS has15 \gset
\o /dev/null
SELECT setseed(0.5);

-- Lengths of every alignment, null bitmaps, many columns; inserts one by one, by INSERT SELECT and by COPY.
CREATE TABLE shapes (id int, a text, b int, c text, d bigint, e bool) WITH (autovacuum_enabled = off, fillfactor = 80);
INSERT INTO shapes SELECT i, repeat('x', i % 301), nullif(i % 3, 0), repeat('y', i % 7), nullif(i % 5, 0), i % 2 = 0
FROM generate_series(1, 5000) i;
COPY shapes FROM PROGRAM $$seq 1 5000 | awk -v OFS='\t' '{print $1, "copied " substr("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 1, $1 % 30), $1 % 3, "y", $1 * 5, "t"}'$$;
CREATE TABLE frozen (LIKE shapes) WITH (autovacuum_enabled = off);
BEGIN;
TRUNCATE frozen;
COPY frozen FROM PROGRAM $$seq 1 5000 | awk -v OFS='\t' '{print $1, "copied " substr("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 1, $1 % 30), $1 % 3, "y", $1 * 5, "t"}'$$ WITH (FREEZE);
COMMIT;
BEGIN;
CREATE TABLE frozen_new (LIKE shapes) WITH (autovacuum_enabled = off);
COPY frozen_new FROM PROGRAM $$seq 1 5000 | awk -v OFS='\t' '{print $1, "copied " substr("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 1, $1 % 30), $1 % 3, "y", $1 * 5, "t"}'$$ WITH (FREEZE);
COMMIT;

-- Every VACUUM sets bits of the visibility map; each kind of change then clears some of them: both by inserts,
-- updates within and across pages, deletes; only all-frozen by row locks.
CREATE TABLE vm (id int, v int, pad text) WITH (autovacuum_enabled = off, fillfactor = 90);
CREATE INDEX vm_id ON vm (id);
INSERT INTO vm SELECT i, 0, repeat('p', 40 + i % 90) FROM generate_series(1, 30000) i;
VACUUM vm;
UPDATE vm SET v = v + 1 WHERE id % 97 = 0;
VACUUM (FREEZE) vm;
DELETE FROM vm WHERE id % 89 = 0;
UPDATE vm SET pad = pad || repeat('q', 200) WHERE id % 83 = 0;
VACUUM (FREEZE) vm;
SELECT * FROM vm WHERE id % 211 = 0 FOR UPDATE;
SELECT * FROM vm WHERE id % 217 = 0 FOR KEY SHARE;
INSERT INTO vm SELECT i, 1, 'one' FROM generate_series(30001, 30100) i;
COPY vm FROM PROGRAM $$seq 30101 31000 | awk -v OFS='\t' '{print $1, 2, "copied"}'$$;
BEGIN;
UPDATE vm SET v = -1 WHERE id % 101 = 0;
ROLLBACK;
VACUUM vm;
VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) vm;
DELETE FROM vm WHERE id > 12000;
VACUUM vm;
INSERT INTO vm SELECT i, 3, repeat('again', i % 20) FROM generate_series(40001, 50000) i;
VACUUM (FREEZE) vm;
DELETE FROM vm WHERE id > 20;
VACUUM (FREEZE) vm;
INSERT INTO vm SELECT i, 4, 'end' FROM generate_series(1, 3000) i;

-- HOT chains, pruned when read; redirects and dead line pointers; vacuum in one and in two passes.
CREATE TABLE hot (id int PRIMARY KEY, v int, pad text) WITH (autovacuum_enabled = off, fillfactor = 50);
INSERT INTO hot SELECT i, 0, repeat('h', i % 60) FROM generate_series(1, 3000) i;
DO $$
BEGIN
  FOR r IN 1..12 LOOP
    UPDATE hot SET v = r WHERE id % 3 = r % 3;
    COMMIT;
    PERFORM sum(v) FROM hot;
    COMMIT;
    IF r % 4 = 0 THEN DELETE FROM hot WHERE id % 50 = r; COMMIT; PERFORM sum(v) FROM hot; COMMIT; END IF;
  END LOOP;
END $$;
VACUUM hot;
DELETE FROM hot WHERE id % 2 = 0;
VACUUM (INDEX_CLEANUP off) hot;
VACUUM (INDEX_CLEANUP on) hot;
CREATE TABLE one_pass (v int, pad text) WITH (autovacuum_enabled = off);
INSERT INTO one_pass SELECT i, repeat('o', i % 50) FROM generate_series(1, 8000) i;
DELETE FROM one_pass WHERE v % 3 = 0;
VACUUM one_pass;
DELETE FROM one_pass WHERE v % 2 = 0;
VACUUM (FREEZE) one_pass;
DELETE FROM one_pass WHERE v > 500;
VACUUM one_pass;

-- Frozen tuples with every kind of xmax: locked, updated and aborted, multixacts.
CREATE TABLE xmax (id int PRIMARY KEY, v int) WITH (autovacuum_enabled = off);
INSERT INTO xmax SELECT i, 0 FROM generate_series(1, 4000) i;
DO $$
BEGIN
  FOR i IN 1..4000 LOOP
    PERFORM 1 FROM xmax WHERE id = i FOR KEY SHARE;
    BEGIN
      IF i % 4 = 0 THEN UPDATE xmax SET v = i WHERE id = i;
      ELSIF i % 4 = 1 THEN PERFORM 1 FROM xmax WHERE id = i FOR NO KEY UPDATE;
      ELSIF i % 4 = 2 THEN DELETE FROM xmax WHERE id = i; RAISE division_by_zero;
      END IF;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
    IF i % 7 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;
SET vacuum_multixact_freeze_min_age = 0;
VACUUM (FREEZE) xmax;
RESET vacuum_multixact_freeze_min_age;
SELECT * FROM xmax WHERE id % 9 = 0 FOR UPDATE;
VACUUM (FREEZE) xmax;

-- Speculative insertion that succeeds (dblink-free conflicts fail in one session only as updates).
CREATE TABLE upsert (k int PRIMARY KEY, n int) WITH (autovacuum_enabled = off);
DO $$
BEGIN
  FOR r IN 1..5 LOOP
    INSERT INTO upsert SELECT g, r FROM generate_series(r, r + 300) g ON CONFLICT (k) DO UPDATE SET n = upsert.n + 1;
    COMMIT;
  END LOOP;
END $$;

-- Rows that move to another partition; TOAST in all ways; updates that share prefix and suffix.
CREATE TABLE parts (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (100) TO (1000);
INSERT INTO parts SELECT i % 200, md5(i::text) FROM generate_series(1, 2000) i;
UPDATE parts SET k = 199 - k WHERE k % 3 = 0;
CREATE TABLE toasted (id serial PRIMARY KEY, plain text, packed text, small text);
ALTER TABLE toasted ALTER plain SET STORAGE EXTERNAL;
INSERT INTO toasted (plain, packed, small)
SELECT repeat(md5(i::text), 200), repeat(md5(i::text), 2000), 's' || i FROM generate_series(1, 100) i;
UPDATE toasted SET plain = plain || 'longer' WHERE id % 3 = 0;
UPDATE toasted SET small = small || ' again';
DELETE FROM toasted WHERE id % 5 = 0;
VACUUM toasted;
CREATE TABLE affixes (id int, a text, b text, c text) WITH (autovacuum_enabled = off, fillfactor = 30);
INSERT INTO affixes SELECT i, md5(i::text), md5((i * 2)::text), nullif(md5((i * 3)::text), '') FROM generate_series(1, 1000) i;
UPDATE affixes SET b = left(b, id % 33) || 'Z' || right(b, id % 7);
UPDATE affixes SET a = NULL WHERE id % 3 = 0;
UPDATE affixes SET c = 'c' WHERE id % 2 = 0;
UPDATE affixes SET a = b, b = a;
ALTER TABLE affixes ADD COLUMN more int DEFAULT 7;
UPDATE affixes SET more = id WHERE id % 5 = 0;

-- Sequences, logged and not; catalogs changed in place.
CREATE SEQUENCE counted CACHE 7;
SELECT nextval('counted') FROM generate_series(1, 500);
SELECT setval('counted', 9);
ALTER SEQUENCE counted INCREMENT -2 MINVALUE -100000 RESTART 5;
SELECT nextval('counted') FROM generate_series(1, 100);
CREATE UNLOGGED TABLE quick (id serial PRIMARY KEY, v text);
INSERT INTO quick (v) SELECT 'u' FROM generate_series(1, 100);
ALTER TABLE quick SET LOGGED;
INSERT INTO quick (v) SELECT 'l' FROM generate_series(1, 100);
ALTER TABLE quick SET UNLOGGED;
DROP TABLE quick;
ANALYZE;
VACUUM;

-- Truncation in every way: by vacuum, by TRUNCATE, and back.
CREATE TABLE cut (v int, pad text) WITH (autovacuum_enabled = off);
INSERT INTO cut SELECT i, repeat('c', 900) FROM generate_series(1, 4000) i;
VACUUM cut;
DELETE FROM cut WHERE v > 333;
VACUUM cut;
INSERT INTO cut SELECT i, repeat('d', 900) FROM generate_series(1, 900) i;
VACUUM (FREEZE) cut;
DELETE FROM cut WHERE v > 10;
VACUUM cut;
BEGIN;
TRUNCATE cut;
INSERT INTO cut SELECT i, 'in vain' FROM generate_series(1, 100) i;
ROLLBACK;
TRUNCATE cut;
INSERT INTO cut SELECT i, 'kept' FROM generate_series(1, 100) i;

-- Rewrites, moves and copies, of relations and whole databases.
CREATE TABLE moved AS SELECT * FROM vm;
CREATE INDEX moved_id ON moved (id);
VACUUM moved;
VACUUM FULL moved;
CLUSTER moved USING moved_id;
\if :has15
CREATE TABLESPACE walredo_ts LOCATION '';
ALTER TABLE moved SET TABLESPACE walredo_ts;
UPDATE moved SET v = v + 1 WHERE id % 10 = 0;
ALTER TABLE moved SET TABLESPACE pg_default;
UPDATE moved SET v = v + 1 WHERE id % 11 = 0;
DROP TABLESPACE walredo_ts;
\endif
VACUUM FULL pg_class;
CREATE MATERIALIZED VIEW seen AS SELECT id, v FROM vm;
CREATE UNIQUE INDEX seen_id ON seen (id, v);
REFRESH MATERIALIZED VIEW seen;
CREATE DATABASE walredo_copied TEMPLATE template0;
\set here :DBNAME
\c walredo_copied
CREATE TABLE t (i int PRIMARY KEY);
INSERT INTO t SELECT generate_series(1, 3000);
VACUUM (FREEZE);
UPDATE t SET i = -i WHERE i % 50 = 0;
ANALYZE;
VACUUM;
\c :here
DROP DATABASE walredo_copied;
\if :has15
CREATE DATABASE walredo_copied STRATEGY file_copy;
\else
CREATE DATABASE walredo_copied;
\endif
\c walredo_copied
CREATE TABLE t (i int PRIMARY KEY);
INSERT INTO t SELECT generate_series(1, 3000);
VACUUM;
DELETE FROM t WHERE i % 7 = 0;
VACUUM;
\c :here
DROP DATABASE walredo_copied;

-- Generic records: bloom.
CREATE EXTENSION IF NOT EXISTS bloom;
CREATE TABLE generic (a int, b int) WITH (autovacuum_enabled = off);
CREATE INDEX generic_bloom ON generic USING bloom (a, b);
INSERT INTO generic SELECT i, -i FROM generate_series(1, 3000) i;
DELETE FROM generic WHERE a % 2 = 0;
VACUUM generic;
INSERT INTO generic SELECT i, -i FROM generate_series(1, 800) i;
-- In-place updates of catalogs, messages, objects.
DO $$
BEGIN
  FOR r IN 1..30 LOOP
    EXECUTE format('CREATE TABLE ddl_%s (a int, b text)', r);
    EXECUTE format('ALTER TABLE ddl_%s ADD COLUMN c int DEFAULT 5', r);
    EXECUTE format('COMMENT ON TABLE ddl_%s IS %L', r, repeat('w', r * 10));
    EXECUTE format('CREATE INDEX ON ddl_%s (a)', r);
    EXECUTE format('ANALYZE ddl_%s', r);
    IF r % 3 = 0 THEN EXECUTE format('DROP TABLE ddl_%s', r); END IF;
    IF r % 5 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
  END LOOP;
END $$;
SELECT lo_from_bytea(0, convert_to(repeat(md5(i::text), 600), 'UTF8')) FROM generate_series(1, 20) i;
SELECT lo_put(oid, 5000, 'in the middle') FROM pg_largeobject_metadata;
VACUUM (FREEZE);
VACUUM FULL;
