-- GIN records of every kind. Autovacuum is off; vacuums are explicit.
-- Random but repeatable: every session of psql starts from this seed.
SELECT setseed(0.25);

-- Straight into the tree: entries with short lists, which become posting trees, which split.
CREATE TABLE direct (a int[], n int) WITH (autovacuum_enabled = off);
CREATE INDEX direct_a ON direct USING gin (a) WITH (fastupdate = off);
INSERT INTO direct SELECT array[1, 2 + i % 5, 100 + i % 400, (random() * 100000)::int], i FROM generate_series(1, 15000) i;
-- Freed heap space that is filled again puts low heap TIDs into old segments of posting trees.
DELETE FROM direct WHERE n % 3 = 0;
VACUUM direct;
INSERT INTO direct SELECT array[1, 2 + i % 5, 100 + i % 400], i FROM generate_series(1, 7000) i;
DELETE FROM direct WHERE n % 7 < 3;
VACUUM direct;
INSERT INTO direct SELECT array[1, (random() * 300)::int], i FROM generate_series(1, 5000) i;
SELECT format('DELETE FROM direct WHERE (n * 7919 + %s) %% 17 < %s', r, r),
  'VACUUM direct',
  format('INSERT INTO direct SELECT array[1, 2 + i %% 3, i %% %s], i FROM generate_series(1, 1500) i', 40 * r)
FROM generate_series(1, 6) r
\gexec
-- Leaves of posting trees become empty: they are deleted, and used again.
DELETE FROM direct WHERE n BETWEEN 2000 AND 14000;
VACUUM direct;
SELECT txid_current();
VACUUM direct;
INSERT INTO direct SELECT array[1, 2, 3], i FROM generate_series(1, 4000) i;
DELETE FROM direct;
VACUUM direct;
VACUUM direct;
INSERT INTO direct SELECT array[1, i], i FROM generate_series(1, 1000) i;

-- One heap tuple a page: wide deltas in posting lists.
CREATE TABLE wide (a int[], pad text) WITH (autovacuum_enabled = off, fillfactor = 10);
ALTER TABLE wide ALTER pad SET STORAGE PLAIN;
CREATE INDEX wide_a ON wide USING gin (a) WITH (fastupdate = off);
INSERT INTO wide SELECT array[1, i % 3], repeat('x', 1200) FROM generate_series(1, 6000) i;
DELETE FROM wide WHERE (ctid::text::point)[0]::int % 5 < 2;
VACUUM wide;
INSERT INTO wide SELECT array[1, i % 7], repeat('y', 1000) FROM generate_series(1, 1500) i;

-- Large posting trees, built at once. Emptied leaves leave the tree; what comes into the freed heap
-- space goes to leaves in the middle, which split.
CREATE TABLE large (a int[], n int) WITH (autovacuum_enabled = off);
INSERT INTO large SELECT array[1, 2 + i % 2], i FROM generate_series(1, 200000) i;
CREATE INDEX large_a ON large USING gin (a) WITH (fastupdate = off);
DELETE FROM large WHERE n BETWEEN 20000 AND 60000;
VACUUM large;
DELETE FROM large WHERE n BETWEEN 90000 AND 190000 AND n % 10 <> 0;
VACUUM large;
INSERT INTO large SELECT array[1, 2], i FROM generate_series(1, 8000) i;
DELETE FROM large WHERE n BETWEEN 70000 AND 180000;
VACUUM large;
SELECT txid_current();
VACUUM large;
SET gin_pending_list_limit = 64;
ALTER INDEX large_a SET (fastupdate = on);
INSERT INTO large SELECT array[1, 2, 3], i FROM generate_series(1, 60000) i;
VACUUM large;
DELETE FROM large WHERE n % 2 = 0;
VACUUM large;
INSERT INTO large SELECT array[1, 2], i FROM generate_series(1, 60000) i;
VACUUM large;
RESET gin_pending_list_limit;

-- Long keys that do not compress: the entry tree grows high, inner pages split.
CREATE TABLE keys (t text[]) WITH (autovacuum_enabled = off);
CREATE FUNCTION long_key(n int, seed int) RETURNS text LANGUAGE sql AS
  $$ SELECT lpad(n::text, 6, '0') || string_agg(md5(j::text || n || seed), '') FROM generate_series(1, 55) j $$;
CREATE INDEX keys_t ON keys USING gin (t) WITH (fastupdate = off);
INSERT INTO keys SELECT array[long_key(i * 7919 % 5003, i)] FROM generate_series(1, 2500) i;
DELETE FROM keys WHERE t[1] < '002';
VACUUM keys;
INSERT INTO keys SELECT array[long_key(i * 31 % 997, i)] FROM generate_series(1, 1000) i;

-- The pending list: filled, moved into the tree by vacuum, by function, and when it is full.
CREATE TABLE pending (a int[], t text[], n int) WITH (autovacuum_enabled = off);
CREATE INDEX pending_a ON pending USING gin (a) WITH (fastupdate = on, gin_pending_list_limit = 64);
CREATE INDEX pending_both ON pending USING gin (a, t);
DO $$
BEGIN
  FOR r IN 1..400 LOOP
    INSERT INTO pending VALUES (array[r % 10, r], array[md5(r::text)], r);
    IF r % 3 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;
SELECT gin_clean_pending_list('pending_a');
INSERT INTO pending SELECT array(SELECT (random() * 50000)::int FROM generate_series(1, 20 + i % 1500)), array['x' || i, NULL], i
FROM generate_series(1, 60) i;
INSERT INTO pending SELECT array[i % 20, i], array['y' || i % 100], i FROM generate_series(1, 8000) i;
VACUUM pending;
INSERT INTO pending SELECT array[i % 20, i], NULL, i FROM generate_series(1, 3000) i;
DELETE FROM pending WHERE n % 4 = 0;
SELECT gin_clean_pending_list('pending_a'), gin_clean_pending_list('pending_both');
VACUUM pending;
SELECT txid_current();
VACUUM pending;
INSERT INTO pending SELECT array[]::int[], array[]::text[], i FROM generate_series(1, 2000) i;
INSERT INTO pending VALUES (array(SELECT generate_series(1, 20000)), NULL, 0);
UPDATE pending SET n = n + 1, a = a || 7 WHERE n % 9 = 0;
VACUUM pending;

-- Built on rows; an unlogged one; words.
CREATE INDEX direct_built ON direct USING gin (a);
CREATE UNLOGGED TABLE unlogged_gin (a int[]);
CREATE INDEX unlogged_gin_a ON unlogged_gin USING gin (a);
INSERT INTO unlogged_gin SELECT array[i, i + 1] FROM generate_series(1, 500) i;
CREATE TABLE words (d tsvector) WITH (autovacuum_enabled = off);
CREATE INDEX words_d ON words USING gin (d);
INSERT INTO words SELECT to_tsvector('simple', string_agg('w' || (random() ^ 3 * 3000)::int, ' '))
FROM generate_series(1, 3000) i, generate_series(1, 12) j GROUP BY i;
DELETE FROM words WHERE random() < 0.4;
VACUUM words;
INSERT INTO words SELECT to_tsvector('simple', string_agg('w' || (random() ^ 3 * 3000)::int, ' '))
FROM generate_series(1, 1500) i, generate_series(1, 12) j GROUP BY i;
BEGIN;
INSERT INTO words SELECT to_tsvector('simple', 'a b c') FROM generate_series(1, 200);
ROLLBACK;
VACUUM;
CHECKPOINT;
