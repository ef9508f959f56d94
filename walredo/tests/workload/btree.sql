-- B-tree records of every kind. Autovacuum is off; vacuums are explicit.
-- Random but repeatable: every session of psql starts from this seed.
SELECT setseed(0.25);

-- Random inserts: splits to both sides, a posting list that takes a new heap TID in its middle, dedup.
CREATE TABLE spread (id bigint, small int, wide text) WITH (autovacuum_enabled = off);
CREATE UNIQUE INDEX spread_id ON spread (id);
CREATE INDEX spread_small ON spread (small);
CREATE INDEX spread_wide ON spread (wide);
CREATE INDEX spread_low_fill ON spread (id) WITH (fillfactor = 10);
CREATE INDEX spread_include ON spread (small) INCLUDE (id);
CREATE INDEX spread_no_dedup ON spread (small) WITH (deduplicate_items = off);
CREATE INDEX spread_partial ON spread (wide, id) WHERE small < 5;
INSERT INTO spread
SELECT (random() * 1e15)::bigint, (random() * 40)::int, repeat(md5(i::text), 1 + i % 20) FROM generate_series(1, 12000) i;

-- Freed heap space that is filled again puts low heap TIDs behind high ones: posting list splits.
DELETE FROM spread WHERE id % 3 = 0;
VACUUM spread;
INSERT INTO spread
SELECT (random() * 1e15)::bigint, (random() * 40)::int, repeat(md5(i::text), 1 + i % 20) FROM generate_series(1, 6000) i;

-- Wide keys: internal pages hold few downlinks, so the tree grows high.
CREATE TABLE tall (k text COLLATE "C") WITH (autovacuum_enabled = off);
ALTER TABLE tall ALTER k SET STORAGE PLAIN;
CREATE INDEX tall_k ON tall (k);
INSERT INTO tall SELECT rpad(lpad((i * 7919 % 5003)::text, 6, '0'), 2000, 'x') || i FROM generate_series(1, 4000) i;
-- Whole subtrees become empty, page by page and then as deep as the tree goes.
DELETE FROM tall WHERE k > '001' AND k < '004';
VACUUM tall;
DELETE FROM tall WHERE k < '0049';
VACUUM tall;
INSERT INTO tall SELECT rpad(lpad((i * 31 % 997)::text, 6, '0'), 2000, 'y') || i FROM generate_series(1, 600) i;
DELETE FROM tall;
VACUUM tall;
VACUUM tall;

-- Ascending keys: rightmost splits; then emptied, page deletion, reuse of the pages.
CREATE TABLE queue (id bigserial PRIMARY KEY, state int, at timestamptz) WITH (autovacuum_enabled = off);
CREATE INDEX queue_state ON queue (state);
INSERT INTO queue (state, at) SELECT i % 3, now() FROM generate_series(1, 20000) i;
UPDATE queue SET state = state + 1 WHERE id % 5 = 0;
DELETE FROM queue WHERE id BETWEEN 2000 AND 15000;
VACUUM queue;
SELECT txid_current();
SELECT txid_current();
VACUUM queue;
INSERT INTO queue (state, at) SELECT i % 3, now() FROM generate_series(1, 8000) i;
DELETE FROM queue WHERE id > 100;
VACUUM (INDEX_CLEANUP on) queue;
INSERT INTO queue (state, at) SELECT i % 3, now() FROM generate_series(1, 5000) i;

-- Single heap TIDs leave posting lists: partly dead ones, by vacuum.
CREATE TABLE dups (k int, v int) WITH (autovacuum_enabled = off);
CREATE INDEX dups_k ON dups (k);
INSERT INTO dups SELECT i % 10, i FROM generate_series(1, 15000) i;
DELETE FROM dups WHERE v % 7 = 0;
VACUUM dups;
DELETE FROM dups WHERE v % 2 = 0;
VACUUM dups;

-- Few keys in many rounds of deletion and refill: new heap TIDs fall into posting lists of full pages,
-- so that pages split in the middle of a posting list.
CREATE TABLE refill (k int, pad int) WITH (autovacuum_enabled = off);
CREATE INDEX refill_k ON refill (k);
INSERT INTO refill SELECT i % 7, i FROM generate_series(1, 20000) i;
SELECT format('DELETE FROM refill WHERE (pad * 7919 + %s) %% 11 = 0', r),
  'VACUUM refill',
  format('INSERT INTO refill SELECT (i * 31) %% 7, i * %s FROM generate_series(1, 3500) i', r)
FROM generate_series(1, 12) r
\gexec

-- Version churn without HOT: dead index entries, simple and bottom-up deletion.
CREATE TABLE churn (id int PRIMARY KEY, a int, b text) WITH (autovacuum_enabled = off, fillfactor = 100);
CREATE INDEX churn_a ON churn (a);
CREATE INDEX churn_b ON churn (b);
CREATE INDEX churn_const ON churn ((a % 2));
INSERT INTO churn SELECT i, i, 'same' FROM generate_series(1, 1000) i;
DO $$
BEGIN
  FOR r IN 1..40 LOOP
    UPDATE churn SET a = a + 1 WHERE id % 4 = r % 4;
    COMMIT;
    PERFORM count(*) FROM (SELECT a FROM churn WHERE a BETWEEN 0 AND 2000 ORDER BY a) s;
    COMMIT;
  END LOOP;
END $$;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
DO $$
BEGIN
  FOR r IN 1..60 LOOP
    DELETE FROM churn WHERE id = r;
    INSERT INTO churn VALUES (r, r, 'same');
    COMMIT;
    PERFORM b FROM churn WHERE id = r;
    PERFORM count(b) FROM churn WHERE b = 'same';
    PERFORM count(a) FROM churn WHERE a > 0;
    COMMIT;
  END LOOP;
END $$;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- Unique keys that come and go, aborted inserts, catalogs.
CREATE TABLE keys (k int PRIMARY KEY) WITH (autovacuum_enabled = off);
DO $$
BEGIN
  FOR r IN 1..200 LOOP
    INSERT INTO keys SELECT g FROM generate_series(1, 60) g ON CONFLICT DO NOTHING;
    DELETE FROM keys WHERE k % 2 = r % 2;
    IF r % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
  END LOOP;
END $$;
DO $$
BEGIN
  FOR r IN 1..60 LOOP
    EXECUTE format('CREATE TABLE made_%s (a int PRIMARY KEY, b text UNIQUE)', r);
    EXECUTE format('INSERT INTO made_%s SELECT g, g::text FROM generate_series(1, 50) g', r);
    IF r % 2 = 0 THEN EXECUTE format('DROP TABLE made_%s', r); END IF;
    COMMIT;
  END LOOP;
END $$;
VACUUM;
