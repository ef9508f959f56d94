-- Tables whose filling would be too much WAL for a fixture: the capture begins after it. Runs in database w.

-- GIN: posting trees with empty leaves in the middle.
create table in_gin (a int[], b int);
insert into in_gin select '{1,2}', i from generate_series(1, 30000) i;
create index on in_gin using gin (a) with (fastupdate = off);
delete from in_gin where b between 2000 and 28000;
-- Posting lists that are just not long enough for a tree.
create table in_lists (a int[]);
insert into in_lists select '{1,2}' from generate_series(1, 2300) i;
create index on in_lists using gin (a) with (fastupdate = off);

-- GiST: pages to be deleted and used again.
create table in_gist (p point, id int);
insert into in_gist select point(i % 50, i / 50), i from generate_series(1, 6000) i;
create index on in_gist using gist (p);
delete from in_gist where id between 500 and 5500;

-- Hash: overflow pages to be squeezed; buckets about to overflow.
create table in_hash (a int, b int);
create index on in_hash using hash (a) with (fillfactor = 10);
insert into in_hash select i % 3, i from generate_series(1, 20000) i;
delete from in_hash where b % 3 = 1;
vacuum in_hash;
delete from in_hash where b % 7 <> 0;

-- Index entries that are known to be dead, which the next insertion into their page removes.
create table killed (a int, p point, pad text);
create index on killed using hash (a);
create index on killed using gist (p);
insert into killed select 7, point(i % 10, i % 10) from generate_series(1, 1500) i;
delete from killed where p[0] < 9;

-- Tables that the workload only empties.
create table plain_cut (i int);
insert into plain_cut select i from generate_series(1, 2000) i;
create table plain_copy (i int);
create table keyed_copy (i serial primary key);
