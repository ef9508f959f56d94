-- Full page images in every form, with and without apply. Runs with full_page_writes = on.
select :SERVER_VERSION_NUM >= 150000 as has15 \gset
checkpoint;
set wal_compression = off;
update keyed set n = 7 where id % 50 = 0;
-- Hints that are logged, on a page each.
select count(*) from keyed;
select count(*) from hashed;
checkpoint;
\if :has15
set wal_compression = pglz;
\else
set wal_compression = on;
\endif
update keyed set n = 8 where id % 40 = 0;
update shapes set t = t || 'w' where id % 25 = 1;
-- lz4 and zstd are not in every build.
\set ON_ERROR_STOP off
checkpoint;
set wal_compression = lz4;
update keyed set n = 9 where id % 50 = 1;
update shapes set t = t || 'x' where id % 100 = 1;
checkpoint;
set wal_compression = zstd;
update keyed set n = 10 where id % 50 = 2;
update shapes set t = t || 'y' where id % 100 = 2;
\set ON_ERROR_STOP on
set wal_consistency_checking = 'all';
insert into shapes select i, 'c', point(i, i), 'c' || i, '{2}' from generate_series(901, 903) i;
update keyed set n = 11 where id = 4;
reset wal_consistency_checking;
checkpoint;
select count(*) from keyed;
drop table shapes;
