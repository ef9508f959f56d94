-- BRIN: summaries that are added, widened in place, moved to other pages and removed; range maps of several
-- pages, which drive summaries out of the way; all kinds of summaries.

-- One heap page to a range: the range map needs a second and a third page, where summaries stand by then.
CREATE TABLE wide (id int, pad text) WITH (autovacuum_enabled = off, fillfactor = 10);
CREATE INDEX wide_id ON wide USING brin (id) WITH (pages_per_range = 1);
INSERT INTO wide SELECT i, repeat('x', 1500) FROM generate_series(1, 1500) i;
SELECT brin_summarize_new_values('wide_id');
INSERT INTO wide SELECT i, repeat('x', 1500) FROM generate_series(1, 1700) i;
VACUUM wide;
UPDATE wide SET id = -id WHERE id % 5 = 0;
SELECT brin_desummarize_range('wide_id', i) FROM generate_series(0, 4000, 3) i;
SELECT brin_summarize_range('wide_id', i) FROM generate_series(0, 4000, 6) i;
SELECT brin_summarize_new_values('wide_id');
SELECT brin_desummarize_range('wide_id', i) FROM generate_series(0, 300) i;
SELECT brin_summarize_new_values('wide_id');

-- Summaries of text that grow until they leave their page.
CREATE TABLE grow (t text, id int) WITH (autovacuum_enabled = off);
CREATE INDEX grow_t ON grow USING brin (t) WITH (pages_per_range = 1, autosummarize = on);
INSERT INTO grow SELECT 'm', i FROM generate_series(1, 12000) i;
SELECT brin_summarize_new_values('grow_t');
SELECT format('UPDATE grow SET t = repeat(%L, %s) WHERE id %% 997 = %s', CASE WHEN r % 2 = 0 THEN 'a' ELSE 'z' END, r * 60, r)
FROM generate_series(1, 20) r
\gexec
INSERT INTO grow SELECT repeat(chr(97 + i % 26), i % 2000), i FROM generate_series(1, 2000) i;
SELECT brin_summarize_new_values('grow_t');
DELETE FROM grow WHERE id % 3 = 0;
VACUUM grow;
INSERT INTO grow SELECT repeat('b', 1000), i FROM generate_series(1, 3000) i;

-- Other kinds of summaries, several columns, nulls.
CREATE TABLE kinds (i int, f float8, n inet, r int4range, u uuid, ts timestamptz) WITH (autovacuum_enabled = off);
CREATE INDEX kinds_all ON kinds USING brin (i, f, n inet_inclusion_ops, r, u uuid_bloom_ops,
  ts timestamptz_minmax_multi_ops) WITH (pages_per_range = 2);
CREATE INDEX kinds_multi ON kinds USING brin (i int4_minmax_multi_ops (values_per_range = 64), f float8_bloom_ops)
  WITH (pages_per_range = 4);
INSERT INTO kinds SELECT CASE WHEN k % 9 > 0 THEN k * 7919 % 10007 END, k * 0.5,
    CASE WHEN k % 5 > 0 THEN ('10.0.' || k % 256 || '.' || k % 255)::inet END, int4range(k, k + 9),
    md5(k::text)::uuid, timestamptz '2020-01-01 00:00Z' + k * interval '1 minute'
  FROM generate_series(1, 4000) k;
SELECT brin_summarize_new_values('kinds_all');
SELECT brin_summarize_new_values('kinds_multi');
UPDATE kinds SET i = i + 100000, n = n + 1000, u = md5(i::text)::uuid WHERE i % 13 = 0;
UPDATE kinds SET n = '::1', r = 'empty' WHERE i % 101 = 0;
SELECT brin_desummarize_range('kinds_all', k) FROM generate_series(0, 100, 5) k;
VACUUM kinds;
INSERT INTO kinds SELECT k, NULL, NULL, NULL, NULL, NULL FROM generate_series(1, 3000) k;
VACUUM kinds;
TRUNCATE kinds;
INSERT INTO kinds SELECT k FROM generate_series(1, 3000) k;
VACUUM kinds;
REINDEX TABLE wide;
INSERT INTO wide SELECT i, repeat('x', 1500) FROM generate_series(1, 100) i;
VACUUM;
