-- GiST: splits of leaves, inner pages and roots, into two and into many pages, deletions by vacuum and by
-- insertions that find dead tuples, deleted pages and their reuse.

-- Points: many small entries. Vacuum empties leaves and deletes them; later ones take their place.
CREATE TABLE points (p point, id int) WITH (autovacuum_enabled = off);
CREATE INDEX points_p ON points USING gist (p);
INSERT INTO points SELECT point(i % 100, i / 100), i FROM generate_series(1, 12000) i;
DELETE FROM points WHERE id BETWEEN 1500 AND 11500;
VACUUM points;
SELECT txid_current();
VACUUM points;
SELECT txid_current();
VACUUM points;
INSERT INTO points SELECT point(i % 100, 1000 + i / 100), i FROM generate_series(1, 12000) i;
DELETE FROM points WHERE id % 3 = 0;
VACUUM points;
INSERT INTO points SELECT point(i % 100, i / 100), i FROM generate_series(1, 5000) i;

-- A single root page that loses some and all of its tuples.
CREATE TABLE few (p point) WITH (autovacuum_enabled = off);
CREATE INDEX few_p ON few USING gist (p);
INSERT INTO few SELECT point(i, i) FROM generate_series(1, 20) i;
DELETE FROM few WHERE p[0] IN (3, 5);
VACUUM few;
DELETE FROM few WHERE p[0] > 9;
VACUUM few;
DELETE FROM few;
VACUUM few;
INSERT INTO few SELECT point(i, -i) FROM generate_series(1, 500) i;

-- Entries of very different and of large size: pages split into more than two, unions grow.
CREATE TABLE documents (d tsvector, id int) WITH (autovacuum_enabled = off);
CREATE INDEX documents_d ON documents USING gist (d tsvector_ops (siglen = 1000));
INSERT INTO documents
  SELECT array_to_tsvector(ARRAY(SELECT md5((i * j % 997)::text) FROM generate_series(1, 1 + i % 60) j)), i
  FROM generate_series(1, 1500) i;
UPDATE documents SET d = array_to_tsvector(ARRAY[md5(id::text)]) WHERE id % 5 = 0;
DELETE FROM documents WHERE id % 2 = 0;
VACUUM documents;
INSERT INTO documents
  SELECT array_to_tsvector(ARRAY(SELECT md5((i * j % 1009)::text) FROM generate_series(1, i % 90) j)), i
  FROM generate_series(1, 800) i;

-- Several columns with nulls and included ones; ranges; exclusion constraints, which read before they write.
CREATE TABLE bookings (room int4range, during int8range, note text) WITH (autovacuum_enabled = off);
CREATE INDEX bookings_all ON bookings USING gist (room, during) INCLUDE (note);
INSERT INTO bookings
  SELECT CASE WHEN i % 7 > 0 THEN int4range(i % 50, i % 50 + i % 5) END,
    CASE WHEN i % 11 > 0 THEN int8range(i, i + i % 100) END, repeat(chr(97 + i % 26), i % 40)
  FROM generate_series(1, 5000) i;
UPDATE bookings SET room = int4range(upper(room), upper(room) + 3) WHERE lower(room) % 10 = 1;
DELETE FROM bookings WHERE lower(during) % 4 = 0 OR room IS NULL;
VACUUM bookings;
CREATE TABLE shifts (s int4range, EXCLUDE USING gist (s WITH &&)) WITH (autovacuum_enabled = off);
DO $$
BEGIN
  FOR i IN 1..1500 LOOP
    BEGIN
      INSERT INTO shifts VALUES (int4range(i * 7919 % 20000, i * 7919 % 20000 + 4));
    EXCEPTION WHEN exclusion_violation THEN NULL;
    END;
    IF i % 50 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;

-- Equal keys, scans that mark dead entries, insertions that remove them.
CREATE TABLE same (p point, id int) WITH (autovacuum_enabled = off);
CREATE INDEX same_p ON same USING gist (p);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
DO $$
BEGIN
  FOR r IN 1..8 LOOP
    INSERT INTO same SELECT point(i % 10, i % 10), i FROM generate_series(1, 1500) i;
    DELETE FROM same WHERE p[0] < 9 AND id % 12 <> r;
    COMMIT;
    PERFORM count(*) FROM same WHERE p <@ box '((0,0),(10,10))';
    PERFORM count(*) FROM same WHERE p <@ box '((0,0),(10,10))';
    COMMIT;
  END LOOP;
END $$;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- Builds: sorted, inserting, buffered; then changes to what they made.
CREATE INDEX points_sorted ON points USING gist (p) WITH (fillfactor = 100);
CREATE INDEX points_buffered ON points USING gist (p) WITH (buffering = on);
CREATE TABLE boxes (b box) WITH (autovacuum_enabled = off);
INSERT INTO boxes SELECT box(point(i % 313, i % 777), point(i % 313 + i % 9, i % 777 + 3))
  FROM generate_series(1, 6000) i;
CREATE INDEX boxes_b ON boxes USING gist (b);
INSERT INTO boxes SELECT box(point(i % 99, i % 50), point(i % 99 + 1, i % 50 + 2)) FROM generate_series(1, 2000) i;
INSERT INTO points SELECT point(i % 77, i % 333), -i FROM generate_series(1, 2000) i;
DELETE FROM boxes WHERE (b[0])[0] < 150;
VACUUM boxes;
VACUUM points;
BEGIN;
INSERT INTO boxes SELECT box(point(i, i), point(i + 1, i + 1)) FROM generate_series(1, 2000) i;
ROLLBACK;
VACUUM;
