-- Records that go on to change a page after they restored its image: splits of hash buckets right
-- behind a checkpoint. For a cluster with full_page_writes = on.
SELECT setseed(0.25);
CREATE TABLE imaged (k int) WITH (autovacuum_enabled = off);
CREATE INDEX imaged_k ON imaged USING hash (k) WITH (fillfactor = 10);
SELECT format('INSERT INTO imaged SELECT (random() * 1e9)::int FROM generate_series(1, %s)', 1 + r % 60), 'CHECKPOINT'
FROM generate_series(1, 400) r
\gexec
