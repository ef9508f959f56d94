-- Hash index records of every kind. Autovacuum is off; vacuums are explicit.
-- Random but repeatable: every session of psql starts from this seed.
SELECT setseed(0.25);

-- Buckets double many times over: allocation, moved tuples, cleanup after splits.
CREATE TABLE grow (k int, v text) WITH (autovacuum_enabled = off);
CREATE INDEX grow_k ON grow USING hash (k) WITH (fillfactor = 10);
CREATE INDEX grow_v ON grow USING hash (v);
INSERT INTO grow SELECT (random() * 1e9)::int, md5(i::text) FROM generate_series(1, 12000) i;
DELETE FROM grow WHERE k % 3 = 0;
VACUUM grow;
INSERT INTO grow SELECT (random() * 1e9)::int, md5(i::text) FROM generate_series(1, 6000) i;

-- An index built on many rows starts with as many buckets as it will need.
CREATE INDEX grow_built ON grow USING hash (k);
CREATE INDEX grow_built_wide ON grow USING hash (k) WITH (fillfactor = 100);
CREATE TABLE small (k int);
CREATE INDEX small_k ON small USING hash (k);
CREATE UNLOGGED TABLE unlogged (k int);
CREATE INDEX unlogged_k ON unlogged USING hash (k);
INSERT INTO unlogged SELECT generate_series(1, 500);

-- Few keys: long chains of overflow pages, which vacuum squeezes. Tuples move to a bucket's first
-- page, to the page before the freed one, and to others; several runs of tuples fill a page.
CREATE TABLE chain (k int, n int) WITH (autovacuum_enabled = off);
CREATE INDEX chain_k ON chain USING hash (k);
CREATE INDEX chain_low ON chain USING hash (k) WITH (fillfactor = 10);
INSERT INTO chain SELECT i % 3, i FROM generate_series(1, 15000) i;
DELETE FROM chain WHERE n % 3 = 1;
VACUUM chain;
DELETE FROM chain WHERE n % 7 <> 0;
VACUUM chain;
INSERT INTO chain SELECT i % 2, i FROM generate_series(1, 9000) i;
-- Whole pages in the middle and at the end of chains become empty: nothing to move when they go.
DELETE FROM chain WHERE n BETWEEN 1500 AND 4500;
VACUUM chain;
DELETE FROM chain WHERE n > 5000;
VACUUM chain;
INSERT INTO chain SELECT 1, i FROM generate_series(1, 5000) i;
DELETE FROM chain WHERE n % 2 = 0;
VACUUM chain;
DELETE FROM chain;
VACUUM chain;
INSERT INTO chain SELECT i, i FROM generate_series(1, 2000) i;
DELETE FROM chain WHERE k > 3;
VACUUM chain;

-- Page-sized gaps of many shapes.
SELECT format('INSERT INTO chain SELECT i %% %s, i FROM generate_series(1, 2500) i', 1 + r % 3),
  format('DELETE FROM chain WHERE (n * 7919 + %s) %% 13 < %s', r, 2 + r),
  'VACUUM chain'
FROM generate_series(1, 10) r
\gexec

-- Splits while old tuples are still there, of buckets with chains of their own.
CREATE TABLE mixed (k int, n int) WITH (autovacuum_enabled = off);
CREATE INDEX mixed_k ON mixed USING hash (k) WITH (fillfactor = 20);
DO $$
BEGIN
  FOR r IN 1..40 LOOP
    INSERT INTO mixed SELECT i % (r * 13), i FROM generate_series(1, 300) i;
    DELETE FROM mixed WHERE (n + r) % 5 = 0;
    COMMIT;
  END LOOP;
END $$;
VACUUM mixed;
VACUUM mixed;

-- Dead entries that scans have marked; an insertion into a full page removes them.
CREATE TABLE killed (k int, n int) WITH (autovacuum_enabled = off);
CREATE INDEX killed_k ON killed USING hash (k);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
DO $$
BEGIN
  FOR r IN 1..12 LOOP
    INSERT INTO killed SELECT 7, i FROM generate_series(1, 900) i;
    COMMIT;
    DELETE FROM killed WHERE k = 7 AND n % (1 + r % 3) = 0;
    COMMIT;
    PERFORM count(*) FROM killed WHERE k = 7;
    PERFORM count(*) FROM killed WHERE k = 7;
    COMMIT;
  END LOOP;
END $$;
-- Vacuum meets pages that are marked.
DELETE FROM killed WHERE n % 2 = 0;
SELECT count(*) FROM killed WHERE k = 7;
VACUUM killed;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- Rebuilt, copied, emptied.
REINDEX INDEX grow_k;
VACUUM FULL killed;
TRUNCATE mixed;
INSERT INTO mixed SELECT i, i FROM generate_series(1, 1000) i;
BEGIN;
INSERT INTO mixed SELECT i, i FROM generate_series(1, 500) i;
ROLLBACK;
VACUUM;
CHECKPOINT;
