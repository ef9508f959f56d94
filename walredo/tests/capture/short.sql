-- A little of every kind of record that changes a page, each with the version that is expected after it. Small on
-- purpose: the result lies in the repository. Runs on 14 to 18. Vacuums are explicit. Needs dblink and bloom.
\set ON_ERROR_STOP on
\o /dev/null
select setseed(0.5);

-- Heap: tuples of all alignments, one by one and many at a time; every kind of change to all-visible pages.
create table h (id int, v int, pad text) with (autovacuum_enabled = off, fillfactor = 90);
insert into h select i, nullif(i % 3, 0), repeat('x', i % 91) from generate_series(1, 300) i;
copy h from program 'seq 301 900 | sed "s/.*/&\t1\tcopied &/"';
vacuum h;
update h set v = 1 where id % 97 = 0;
vacuum (freeze) h;
delete from h where id % 89 = 0;
update h set pad = pad || repeat('y', 300) where id % 83 = 0;
vacuum (freeze) h;
select * from h where id % 111 = 0 for update;
select * from h where id % 117 = 0 for key share;
insert into h values (901, 0, 'one');
copy h from program 'seq 902 990 | sed "s/.*/&\t1\tcopied &/"';
vacuum (freeze) h;
delete from h where id > 500;
vacuum h;
delete from h where id > 20;
vacuum h;
insert into h select i, 4, 'end' from generate_series(1, 60) i;
begin;
truncate h;
copy h from program 'seq 1 300 | sed "s/.*/&\t1\tfrozen &/"' with (freeze);
commit;

-- HOT chains, pruned when read; vacuum in one pass and in two.
create table hot (id int primary key, v int, pad text) with (autovacuum_enabled = off, fillfactor = 50);
insert into hot select i, 0, repeat('h', i % 60) from generate_series(1, 200) i;
do $$
begin
  for r in 1..6 loop
    update hot set v = r where id % 3 = r % 3;
    commit;
    perform sum(v) from hot;
    commit;
  end loop;
end $$;
vacuum hot;
delete from hot where id % 2 = 0;
vacuum (index_cleanup off) hot;
vacuum (index_cleanup on) hot;
create table one_pass (v int, pad text) with (autovacuum_enabled = off);
insert into one_pass select i, repeat('o', i % 50) from generate_series(1, 400) i;
delete from one_pass where v % 3 = 0;
vacuum (freeze) one_pass;

-- Every kind of xmax, and what freezing makes of it; conflicts; moved rows; toast; shared prefixes and suffixes.
do $$
begin
  for i in 1..120 loop
    perform 1 from hot where id = i for key share;
    begin
      if i % 4 = 1 then update hot set v = -i where id = i;
      elsif i % 4 = 3 then perform 1 from hot where id = i for no key update;
      else delete from hot where id = i; raise division_by_zero;
      end if;
    exception when division_by_zero then null;
    end;
    if i % 7 = 0 then commit; end if;
  end loop;
end $$;
set vacuum_multixact_freeze_min_age = 0;
vacuum (freeze) hot;
insert into hot select i, 0, 'new' from generate_series(1, 60) i on conflict (id) do update set v = hot.v + 1;
create table parts (k int, v text) partition by range (k);
create table low partition of parts for values from (0) to (50);
create table high partition of parts for values from (50) to (100);
insert into parts select i, md5(i::text) from generate_series(0, 90) i;
update parts set k = 99 - k where k % 9 = 0;
create table affixes (id int, a text, b text) with (autovacuum_enabled = off, fillfactor = 30);
insert into affixes select i, md5(i::text), md5((i * 2)::text) from generate_series(1, 60) i;
update affixes set b = left(b, id % 33) || 'Z' || right(b, id % 7);
update affixes set a = null where id % 3 = 0;
create table t (id serial, plain text);
alter table t alter plain set storage external;
insert into t (plain) select repeat(md5(i::text), 150) from generate_series(1, 4) i;
select nextval('t_id_seq') from generate_series(1, 40);

-- Another session holds a row: its newer version is locked.
create table shared (id int primary key, v int);
insert into shared values (1, 0);
select dblink_connect('c', :'conn');
select dblink_exec('c', 'begin');
select dblink_exec('c', 'update shared set v = v + 1 where id = 1');
begin;
select * from shared where id = 1 for key share;
commit;
select dblink_exec('c', 'commit');
select dblink_disconnect('c');

-- B-tree: splits, posting lists, deduplication, deletion of tuples and pages.
create table b (k int, wide text, v int) with (autovacuum_enabled = off);
create index b_k on b (k);
create index b_wide on b (wide collate "C");
create index b_low on b (v) with (fillfactor = 10);
alter table b alter wide set storage plain;
insert into b select i % 7, lpad((i * 7919 % 5003)::text, 900, '0'), i from generate_series(1, 420) i;
select format('delete from b where (v * 7919 + %s) %% 5 = 0', r), 'vacuum b',
  format('insert into b select (i * 31) %% 7, lpad((i * %s)::text, 20, ''0''), i * %s from generate_series(1, 150) i', r, r)
from generate_series(1, 3) r
\gexec
delete from b where v < 380;
vacuum b;
select txid_current();
vacuum b;
delete from b;
vacuum b;
insert into b select i, 'again', i from generate_series(1, 100) i;
create table churn (id int primary key, a int) with (autovacuum_enabled = off);
create index churn_a on churn (a);
insert into churn select i, i from generate_series(1, 150) i;
do $$
begin
  for r in 1..12 loop
    update churn set a = a + 1 where id % 4 = r % 4;
    commit;
  end loop;
end $$;
set enable_seqscan = off;
set enable_bitmapscan = off;
do $$
begin
  for r in 1..20 loop
    delete from churn where id between r * 6 and r * 6 + 5;
    commit;
    perform count(a) from churn where a > 0;
    insert into churn select i, i from generate_series(r * 6, r * 6 + 5) i;
    commit;
  end loop;
end $$;

-- Hash: buckets split and squeezed, dead entries.
create table hh (a int, b int) with (autovacuum_enabled = off);
create index hh_a on hh using hash (a) with (fillfactor = 10);
insert into hh select i % 3, i from generate_series(1, 600) i;
delete from hh where b % 3 = 1;
vacuum hh;
delete from hh where b % 7 <> 0;
vacuum hh;
create table ki (a int, p point) with (autovacuum_enabled = off);
create index ki_a on ki using hash (a);
create index ki_p on ki using gist (p);
insert into ki select 7, point(i % 10, i % 10) from generate_series(1, 420) i;
delete from ki where p[0] < 9;
select count(*) from ki where a = 7;
select count(*) from ki where p <@ box '((0,0),(10,10))';
select count(*) from ki where a = 7;
select count(*) from ki where p <@ box '((0,0),(10,10))';
insert into ki select 7, point(i % 10, i % 10) from generate_series(1, 30) i;
reset all;

-- GIN: posting trees, pending list, page deletion.
create table g (a int[], b int) with (autovacuum_enabled = off);
create index g_a on g using gin (a) with (fastupdate = off);
insert into g select array[1, i % 10], i from generate_series(1, 150) i;
delete from g where b % 2 = 0;
vacuum g;
create table gp (w tsvector) with (autovacuum_enabled = off);
create index gp_w on gp using gin (w) with (gin_pending_list_limit = 64);
insert into gp select to_tsvector('simple', 'w' || i || ' x' || i % 10 || repeat(' y' || i, 1 + i % 4)) from generate_series(1, 150) i;
vacuum gp;

-- GiST, SP-GiST, BRIN.
create table gi (p point, id int) with (autovacuum_enabled = off);
create index gi_p on gi using gist (p);
insert into gi select point(i % 40, i / 40), i from generate_series(1, 500) i;
delete from gi where id between 50 and 450;
vacuum gi;
select txid_current();
vacuum gi;
insert into gi select point(i % 40, i / 40), i from generate_series(1, 100) i;
create table sp (t text, p point) with (autovacuum_enabled = off);
create index sp_t on sp using spgist (t);
create index sp_p on sp using spgist (p);
insert into sp select 'k' || md5((i % 100)::text), point(i % 31, i % 37) from generate_series(1, 250) i;
insert into sp select repeat('long', 60) || i, point(i, -i) from generate_series(1, 30) i;
insert into sp values (repeat('lonx', 60), point(0, 0)), (repeat('lonlon', 40), point(0, 0));
delete from sp where p[0] < 20;
vacuum sp;
delete from sp;
vacuum sp;
create table br (i int, pad text) with (autovacuum_enabled = off);
create index br_i on br using brin (i) with (pages_per_range = 1);
insert into br select i, repeat('p', 200) from generate_series(1, 250) i;
select brin_summarize_new_values('br_i');
update br set i = -i where i % 50 = 0;
select brin_desummarize_range('br_i', 1);
select brin_summarize_new_values('br_i');

-- Generic records; sequences; the status logs; catalogs changed in place.
create table bl (a int, b int) with (autovacuum_enabled = off);
create index bl_i on bl using bloom (a, b);
insert into bl select i, -i from generate_series(1, 100) i;
delete from bl where a % 2 = 0;
vacuum bl;
alter sequence t_id_seq increment 3 restart 7;
select nextval('t_id_seq') from generate_series(1, 70);
begin;
insert into hot values (1000, 1, 'prepared');
savepoint a;
insert into hot values (1001, 1, 'prepared');
prepare transaction 'one';
commit prepared 'one';
begin;
insert into hot values (1002, 1, 'aborted');
savepoint a;
delete from hot where id = 1000;
rollback;
analyze hot;
vacuum (freeze) hot;
alter table affixes set tablespace pg_default;
vacuum full affixes;
