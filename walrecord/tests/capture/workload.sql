-- A little of everything that writes WAL. Small on purpose: the result lies in the repository.
select :SERVER_VERSION_NUM >= 150000 as has15 \gset
-- Logged page by page, a database would be the better part of the fixture; once is enough, below.
\if :has15
create database w template template0 strategy file_copy;
\else
create database w template template0;
\endif
\c w
select pg_create_restore_point('start');

-- Heap: insert, multi-insert, update, hot update, delete, lock, prune, vacuum, freeze.
create table plain (id int, n int);
create table keyed (id int primary key, v text, n int) with (fillfactor = 70);
insert into keyed select i, repeat(md5(i::text), 3), i from generate_series(1, 600) i;
copy plain from program 'seq 1 400 | sed "s/.*/&\t&/"';
update keyed set n = n + 1 where id % 3 = 0;
update keyed set v = v || 'longer than before' where id % 7 = 0;
delete from keyed where id % 5 = 0;
select count(*) from keyed;
vacuum keyed;
insert into keyed select i, 'again', i from generate_series(1001, 1100) i on conflict do nothing;
vacuum (freeze) plain;
alter table plain add column extra text default 'x';
alter table plain alter column n type bigint;

-- Subtransactions and multixacts: a lock, then an update by a subtransaction of the same.
begin;
select * from keyed where id = 1 for key share;
savepoint a;
update keyed set n = 0 where id = 1;
savepoint b;
update keyed set n = 0 where id = 2;
rollback to b;
delete from keyed where id = 3;
commit;
begin;
insert into keyed values (5000, 'aborted', 0);
rollback;

-- Two-phase.
begin;
insert into keyed values (2001, 'prepared', 1);
create table in_prepared (i int);
prepare transaction 'one';
begin;
insert into keyed values (2002, 'prepared', 1);
create table in_prepared_too (i int);
prepare transaction 'two';
commit prepared 'one';
rollback prepared 'two';

-- Index access methods, each with inserts, deletes, vacuum.
create table shapes (id int, words tsvector, p point, t text, a int[]);
create index on shapes using gin (words);
create index on shapes using gin (a) with (fastupdate = off);
create index on shapes using gist (p);
create index on shapes using spgist (t);
create index on shapes using spgist (p);
create index on shapes using hash (id);
create index on shapes using brin (id) with (pages_per_range = 1);
create extension bloom;
create index on shapes using bloom (id);
create sequence seq;
insert into shapes
select i, to_tsvector('simple', 'w' || i || ' w' || i % 10), point(i % 37, i), 't' || md5(i::text),
       array[i, i % 5]
from generate_series(1, 400) i;
select brin_summarize_new_values('shapes_id_idx1');
update shapes set p = point(id, id) where id % 4 = 0;
delete from shapes where id % 3 = 0;
vacuum shapes;
insert into shapes select nextval('seq'), 'v', point(1, 1), 'u', '{1}' from generate_series(1, 50);

-- Full page images in every form, with and without apply.
checkpoint;
set wal_compression = off;
update keyed set n = 7 where id % 50 = 0;
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

-- Relations come and go; maps, tablespaces, databases.
create unlogged table unlogged (i int primary key);
insert into unlogged values (1);
truncate plain;
insert into plain select i, i from generate_series(1, 20) i;
create tablespace ts location '';
alter table keyed set tablespace ts;
alter table keyed set tablespace pg_default;
drop tablespace ts;
create materialized view m as select id from keyed limit 10;
refresh materialized view m;
cluster keyed using keyed_pkey;
vacuum full pg_database;
vacuum full pg_am;
drop table shapes;
reindex table keyed;
\if :has15
create database copied strategy file_copy;
\else
create database copied;
\endif
-- Its pages as images are most of the fixture, so it is in one version's only.
select :SERVER_VERSION_NUM / 10000 = 15 as is15 \gset
\if :is15
set wal_compression = zstd;
create database logged strategy wal_log;
reset wal_compression;
drop database logged;
\endif
drop database copied;

-- Origins, messages of every size, a switch.
select pg_replication_origin_create('o');
select pg_replication_origin_session_setup('o');
begin;
select pg_replication_origin_xact_setup('0/AB', '2026-01-01 00:00+00');
insert into plain values (0, 0);
commit;
select pg_replication_origin_session_reset();
select pg_replication_origin_advance('o', '0/CD');
select pg_replication_origin_drop('o');
select pg_logical_emit_message(false, 'sized', repeat('m', i * 97)) from generate_series(0, 200) i;
select pg_logical_emit_message(true, 'large', repeat('L', 2500000));
insert into plain values (1, 1);
select pg_switch_wal();
insert into plain values (2, 2);
alter system set full_page_writes = off;
alter system set max_connections = 90;
select pg_reload_conf();
checkpoint;
