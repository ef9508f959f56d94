-- A little of everything that writes WAL. Small on purpose: the result lies in the repository. Runs in
-- database w, after before.sql.
select :SERVER_VERSION_NUM >= 150000 as has15 \gset
select pg_create_restore_point('start');
select pg_create_restore_point('a second one');

-- Heap: insert, multi-insert, update, hot update, delete, lock, prune, vacuum, freeze.
create table plain (id int, n int);
create table keyed (id int primary key, v text, n int) with (fillfactor = 70);
insert into keyed select i, repeat(md5((i % 9)::text), 3), i from generate_series(1, 600) i;
copy plain from program 'seq 1 800 | sed "s/.*/&\t&/"';
update keyed set n = n + 1 where id % 3 = 0;
update keyed set v = v || 'longer than before' where id % 7 = 0;
delete from keyed where id % 5 = 0;
select count(*) from keyed;
vacuum keyed;
insert into keyed select i, 'again', i from generate_series(1001, 1030) i on conflict do nothing;
vacuum (freeze) plain;
alter table plain add column extra text default 'x';
alter table plain alter column n type bigint;
update plain set n = n + 1 where id < 200;
update plain set n = n + 1 where id < 200;
select count(*) from plain;
-- Old versions whole and by key, for logical decoding.
alter table plain replica identity full;
update plain set n = 0 where id between 300 and 320;
delete from plain where id between 310 and 330;
update keyed set id = id + 3000 where id between 31 and 38;
alter table plain replica identity default;
truncate keyed_copy, plain_copy;
drop table keyed_copy;

-- Tables cut at their end by vacuum.
delete from plain_cut;
vacuum plain_cut;
insert into plain_cut select i from generate_series(1, 500) i;
delete from plain_cut where i > 100;
vacuum plain_cut;

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
create table aborted (i int primary key);
savepoint a;
insert into aborted values (1);
rollback;
begin;
insert into keyed values (5001, 'aborted', 0);
rollback;
-- So many subtransactions that they are assigned in records of their own.
do $$ begin
    for i in 1 .. 140 loop
        begin
            update keyed set n = i where id = 4;
        exception when division_by_zero then
            null;
        end;
    end loop;
end $$;

-- Two-phase. Prepared transactions also hold the locks that the lock of an updated row meets.
begin;
insert into keyed values (2001, 'prepared', 1);
create table in_prepared (i int);
prepare transaction 'one';
begin;
savepoint a;
insert into keyed values (2002, 'prepared', 1);
release a;
create table in_prepared_too (i int);
drop table plain_copy;
prepare transaction 'two';
begin;
update locked set n = n + 1;
prepare transaction 'updated';
begin;
select * from locked for key share;
commit;
commit prepared 'one';
rollback prepared 'two';
commit prepared 'updated';
begin;
insert into keyed values (2003, 'prepared', 1);
prepare transaction 'three';
rollback prepared 'three';

-- Index access methods, each with inserts, deletes, vacuum.
create table shapes (id int, words tsvector, p point, t text, a int[]);
create index on shapes using gin (words);
create index on shapes using gin (a) with (fastupdate = off);
create index on shapes using gist (p);
create index on shapes using spgist (t);
create index on shapes using spgist (p);
create index on shapes using hash (id);
create index on shapes using brin (id) with (pages_per_range = 1);
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
vacuum shapes;
insert into shapes select 1, ('w' || i)::tsvector, point(1, 1), 'u', '{1}' from generate_series(1, 50) i;
select gin_clean_pending_list('shapes_words_idx');

-- Relations come and go; maps, tablespaces, databases.
create unlogged table unlogged (i int primary key);
insert into unlogged values (1);
truncate plain;
truncate plain, unlogged restart identity cascade;
insert into plain select i, i from generate_series(1, 20) i;
create tablespace ts location '';
create tablespace ts_too location '';
alter table keyed set tablespace ts;
alter table keyed set tablespace pg_default;
drop tablespace ts;
drop tablespace ts_too;
create materialized view m as select id from keyed limit 10;
refresh materialized view m;
cluster keyed using keyed_pkey;
vacuum full pg_database;
vacuum full pg_am;
reindex table keyed;
\if :has15
create database copied template tiny strategy file_copy;
create database copied_too template tiny strategy file_copy;
create database logged template tiny strategy wal_log;
create database logged_too template tiny strategy wal_log;
drop database logged;
drop database logged_too;
\else
create database copied template tiny;
create database copied_too template tiny;
-- The pagewise copies of later versions write relation maps, too.
vacuum full pg_type;
\endif
drop database copied;
drop database copied_too;
drop database tiny;
-- A rewrite that logical decoding has to follow.
select pg_create_logical_replication_slot('s', 'test_decoding');
create table watched (i int primary key, t text) with (user_catalog_table = true);
insert into watched select i, 'x' from generate_series(1, 100) i;
update watched set t = 'y' where i < 50;
vacuum full watched;
update watched set t = 'z' where i < 50;
cluster watched using watched_pkey;
select pg_drop_replication_slot('s');

-- Origins, messages of every size, switches, backups.
select pg_replication_origin_create('o'), pg_replication_origin_create('o2');
select pg_replication_origin_session_setup('o');
begin;
select pg_replication_origin_xact_setup('0/AB', '2026-01-01 00:00+00');
insert into plain values (0, 0);
commit;
begin;
select pg_replication_origin_xact_setup('0/AC', '2026-01-01 00:00+00');
insert into plain values (0, 0);
prepare transaction 'from an origin';
commit prepared 'from an origin';
select pg_replication_origin_session_reset();
select pg_replication_origin_advance('o', '0/CD');
select pg_replication_origin_advance('o2', '0/CE');
select pg_replication_origin_drop('o');
select pg_replication_origin_drop('o2');
set synchronous_commit = remote_apply;
insert into plain values (1, 0);
reset synchronous_commit;
select pg_logical_emit_message(false, 'sized', repeat('m', i * 97)) from generate_series(0, 200) i;
select pg_logical_emit_message(true, 'large', repeat('L', 2500000));
insert into plain values (1, 1);
select pg_switch_wal();
insert into plain values (2, 2);
select pg_switch_wal();
\if :has15
select pg_backup_start('one', true);
select pg_backup_stop();
select pg_backup_start('two', true);
select pg_backup_stop();
\else
select pg_start_backup('one', true, false);
select pg_stop_backup(false);
select pg_start_backup('two', true, false);
select pg_stop_backup(false);
\endif
