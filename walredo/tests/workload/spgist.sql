-- SP-GiST: all kinds of trees, with and without nulls and included columns; lists that grow, move and are
-- split; inner tuples that get nodes, move and are split; vacuum of lists, roots and redirections.

-- Quadrants, k-d trees.
CREATE TABLE places (p point, id int) WITH (autovacuum_enabled = off);
CREATE INDEX places_quad ON places USING spgist (p) INCLUDE (id);
CREATE INDEX places_kd ON places USING spgist (p kd_point_ops);
INSERT INTO places SELECT point(i * 7919 % 10007, i * 104729 % 10009), i FROM generate_series(1, 6000) i;
INSERT INTO places SELECT NULL, i FROM generate_series(1, 3000) i;
DELETE FROM places WHERE id % 3 = 0;
VACUUM places;
INSERT INTO places SELECT point(i % 101, i % 103), i FROM generate_series(1, 3000) i;
DELETE FROM places WHERE id % 7 < 5;
VACUUM places;
INSERT INTO places SELECT point(5, 5), i FROM generate_series(1, 3000) i;
DELETE FROM places WHERE p IS NULL AND id % 2 = 0;
VACUUM places;

-- Roots that are leaves: emptied in part and whole, of values and of nulls.
CREATE TABLE small (p point) WITH (autovacuum_enabled = off);
CREATE INDEX small_p ON small USING spgist (p);
INSERT INTO small SELECT point(i, i) FROM generate_series(1, 20) i;
INSERT INTO small SELECT NULL FROM generate_series(1, 10);
DELETE FROM small WHERE p[0] IN (3, 7, 11, 13);
VACUUM small;
DELETE FROM small WHERE p[0] = 5;
VACUUM small;
DELETE FROM small;
VACUUM small;
INSERT INTO small SELECT point(i, i) FROM generate_series(1, 300) i;

-- Radix trees over text: prefixes of inner tuples are cut, nodes are added one by one until tuples
-- no longer fit their page.
CREATE TABLE words (w text, id int) WITH (autovacuum_enabled = off);
CREATE INDEX words_w ON words USING spgist (w);
INSERT INTO words SELECT repeat('long prefix ', 20) || i, i FROM generate_series(1, 3000) i;
INSERT INTO words SELECT repeat('long prefix ', 20 - i % 20) || chr(97 + i % 26) || i, i
  FROM generate_series(1, 3000) i;
INSERT INTO words SELECT chr(33 + i % 90) || chr(33 + i * 7 % 90) || chr(33 + i * 31 % 90) || i % 50, i
  FROM generate_series(1, 8000) i;
INSERT INTO words SELECT chr(1000 + i % 900) || chr(2000 + i * 7 % 900) || repeat('x', i % 300), i
  FROM generate_series(1, 4000) i;
DELETE FROM words WHERE id % 4 = 1;
VACUUM words;
INSERT INTO words SELECT md5(i::text), i FROM generate_series(1, 4000) i;
DELETE FROM words WHERE id % 4 = 2;
VACUUM words;
INSERT INTO words SELECT repeat(md5((i % 100)::text), 3) || chr(300 + i % 2000), i FROM generate_series(1, 4000) i;
DELETE FROM words WHERE length(w) > 90;
VACUUM words;
INSERT INTO words SELECT NULL, i FROM generate_series(1, 500) i;
INSERT INTO words SELECT repeat('q', i % 50), i FROM generate_series(1, 3000) i;

-- Addresses, ranges, boxes.
CREATE TABLE hosts (a inet, r int4range, b box) WITH (autovacuum_enabled = off);
CREATE INDEX hosts_a ON hosts USING spgist (a);
CREATE INDEX hosts_r ON hosts USING spgist (r);
CREATE INDEX hosts_b ON hosts USING spgist (b);
INSERT INTO hosts SELECT ('10.' || i % 200 || '.' || i * 7 % 256 || '.' || i * 31 % 256 || '/' || 20 + i % 13)::inet,
    CASE WHEN i % 50 = 0 THEN 'empty' ELSE int4range(i % 1000, i % 1000 + i % 77) END,
    box(point(i % 313, i % 777), point(i % 313 + i % 9, i % 777 + 3))
  FROM generate_series(1, 3000) i;
UPDATE hosts SET a = a + 65536, r = int4range(lower(r), upper(r) + 5) WHERE lower(r) % 3 = 0;
DELETE FROM hosts WHERE floor((b[0])[0])::int % 2 = 1;
VACUUM hosts;
INSERT INTO hosts SELECT ('fe80::' || to_hex(i % 5000))::inet, int4range(-i, i), box(point(0, 0), point(i, i))
  FROM generate_series(1, 2000) i;

-- Vacuum between insertions: dead heads of lists, tuples that take their place, redirections that go once
-- no transaction may need them.
CREATE TABLE dwindling (p point, t text, id int) WITH (autovacuum_enabled = off);
CREATE INDEX dwindling_p ON dwindling USING spgist (p);
CREATE INDEX dwindling_t ON dwindling USING spgist (t);
INSERT INTO dwindling SELECT point(i % 50, i % 60), 'k' || i % 300, i FROM generate_series(1, 2000) i;
SELECT format('DELETE FROM dwindling WHERE (id * 7919 + %s) %% 3 = 0', r), 'VACUUM dwindling',
  format('INSERT INTO dwindling SELECT point((i * %s) %% 71, i %% 13), ''k'' || (i * %s) %% 500, i
    FROM generate_series(1, 700) i', r, r),
  'SELECT txid_current()'
FROM generate_series(1, 15) r
\gexec
DELETE FROM dwindling WHERE id % 10 <> 0;
VACUUM dwindling;
SELECT txid_current();
VACUUM dwindling;
INSERT INTO dwindling SELECT point(i, i), i::text, i FROM generate_series(1, 3000) i;
BEGIN;
INSERT INTO dwindling SELECT point(i, -i), 'r' || i, i FROM generate_series(1, 3000) i;
ROLLBACK;
VACUUM;

-- Builds, and changes to what they made.
CREATE INDEX words_built ON words USING spgist (w);
CREATE INDEX places_built ON places USING spgist (p);
INSERT INTO words SELECT 'after' || i, i FROM generate_series(1, 2000) i;
INSERT INTO places SELECT point(i, i), i FROM generate_series(1, 2000) i;
DELETE FROM words WHERE id < 500;
VACUUM words;
