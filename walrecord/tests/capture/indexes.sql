-- Index records that the mixed workload does not write. Small tables with wide keys: pages fill early.

-- B-tree: splits to both sides, deleted pages, the root that is skipped, pages used again.
\set wide 'repeat(''x'', 1000)'
create table wide (k text);
alter table wide alter column k set storage plain;
create index on wide (k);
insert into wide select lpad(i::text, 4, '0') || :wide from generate_series(100, 130) i;
insert into wide select lpad(i::text, 4, '0') || :wide from generate_series(60, 20, -1) i;
delete from wide where k < '0126';
vacuum wide;
select txid_current();
select txid_current();
vacuum wide;
insert into wide select lpad(i::text, 4, '0') || :wide from generate_series(140, 160) i;
delete from wide where k < '0160';
vacuum wide;
select txid_current();
select txid_current();
vacuum wide;
insert into wide select lpad(i::text, 4, '0') || :wide from generate_series(170, 185) i;
-- Entries that an index scan marks as dead, then a full page.
set enable_seqscan = off;
set enable_bitmapscan = off;
delete from wide where k between '0171' and '0184';
select count(*) from wide where k > '0';
select count(*) from wide where k > '0';
insert into wide select lpad(i::text, 4, '0') || :wide from generate_series(171, 184) i;
-- Duplicates: posting lists, some of them split by a row that takes a freed place.
create table dup (a int, b int) with (fillfactor = 60);
create index on dup (a);
create index on dup (b);
insert into dup select i % 3, i from generate_series(1, 900) i;
delete from dup where b % 4 = 1;
vacuum dup;
insert into dup select i % 3, i from generate_series(1, 60) i;
-- New versions of the same key: deletion from the bottom up.
update dup set b = b + 1000 where b <= 400;
update dup set b = b + 1000 where b between 1001 and 1400;
update dup set b = b + 1000 where b between 2001 and 2400;
update dup set b = b + 1000 where b between 3001 and 3400;

-- What the tables filled beforehand are for.
vacuum in_gin;
insert into in_lists select '{1,2}' from generate_series(1, 450) i;
vacuum in_gist;
select txid_current();
select txid_current();
vacuum in_gist;
insert into in_gist select point(i % 40, 1000 + i / 40), i from generate_series(1, 700) i;
vacuum in_hash;
select count(*) from killed where a = 7;
select count(*) from killed where p <@ box '((0,0),(10,10))';
select count(*) from killed where a = 7;
select count(*) from killed where p <@ box '((0,0),(10,10))';
insert into killed select 7, point(i % 10, i % 10) from generate_series(1, 400) i;
reset all;

-- Hash: buckets that split and overflow.
create table hashed (a int);
vacuum hashed;
create index on hashed using hash (a) with (fillfactor = 10);
insert into hashed select i from generate_series(1, 330) i;
insert into hashed select 1 from generate_series(1, 1000) i;
delete from hashed where a <> 1;
vacuum hashed;
delete from hashed;
vacuum hashed;

-- SP-GiST: an emptied root, prefixes that get shorter, new nodes.
create table in_root (p point);
create index on in_root using spgist (p);
insert into in_root select point(i, i) from generate_series(1, 20) i;
delete from in_root where p[0] < 10;
vacuum in_root;
insert into in_root select point(i, i) from generate_series(30, 35) i;
delete from in_root where p[0] > 32;
vacuum in_root;
create table prefixes (t text);
create index on prefixes using spgist (t);
insert into prefixes select 'common prefix ' || chr(65 + i % 20) || md5(i::text) from generate_series(1, 250) i;
insert into prefixes values ('common'), ('commonplace'), ('com'), ('complete'), ('zebra'), ('yak');
insert into prefixes select chr(97 + i) || 'x' from generate_series(0, 25) i;

-- BRIN: summaries that outgrow their page.
create table ranges (t text, pad text) with (fillfactor = 40);
alter table ranges alter column t set storage plain, alter column pad set storage plain;
create index ranges_t on ranges using brin (t) with (pages_per_range = 1);
insert into ranges select 'm', repeat('p', 1000) from generate_series(1, 60) i;
select brin_summarize_new_values('ranges_t');
update ranges
set t = 'z' || (select string_agg(md5(i::text || ctid), '') from generate_series(1, 44) i), pad = ''
    where ctid::text like '(%,1)';
select brin_desummarize_range('ranges_t', 1);
select brin_desummarize_range('ranges_t', 3);
select brin_summarize_new_values('ranges_t');
