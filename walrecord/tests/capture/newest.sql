-- What only the newest minor releases and full builds write, see ../fixtures/README.md. Runs in database w,
-- with full_page_writes = on and src/test/modules/test_custom_rmgrs loaded.
create extension test_custom_rmgrs;
select test_custom_rmgrs_insert_wal_record('first');
select test_custom_rmgrs_insert_wal_record('second, longer');
select test_custom_rmgrs_insert_wal_record('');

-- Changes of pages that are all-visible and all-frozen: the records name pages of the visibility map.
create table seen (id int, pad text) with (fillfactor = 70);
alter table seen alter column pad set storage plain;
insert into seen select i, repeat('p', 400) from generate_series(1, 120) i;
create table seen_too (id int primary key, pad text);
insert into seen_too select i, repeat('p', 400) from generate_series(1, 30) i;
vacuum (freeze) seen, seen_too;
checkpoint;
-- Lock, delete, update inside the page, insert, multi-insert; then again, now with no images.
select id from seen where id in (1, 15, 30) for update;
delete from seen where id in (45, 60);
update seen set id = -id where id in (75, 76);
insert into seen_too values (100, repeat('i', 300));
copy seen_too from program 'seq 101 110 | sed "s/$/\tcopied/"';
vacuum (freeze) seen, seen_too;
select id from seen where id in (1, 15, 30) for update;
delete from seen where id in (46, 61);
update seen set id = -id where id in (77, 90);
insert into seen_too values (200, repeat('i', 200));
vacuum (freeze) seen, seen_too;
copy seen_too from program 'seq 201 210 | sed "s/$/\tcopied/"';
vacuum (freeze) seen, seen_too;
-- Updates that move a row: to a page of no bits, from one, and between two that both have some.
update seen set pad = repeat('q', 3000) where id in (50, 62);
vacuum (freeze) seen;
update seen set pad = repeat('r', 3000) where id = 2;
update seen set pad = repeat('s', 3000) where id in (3, 16, 31, 47);
vacuum (freeze) seen;
delete from seen where id between 95 and 114;
vacuum (freeze) seen;
update seen set pad = repeat('u', 2500) where id in (5, 20);
vacuum (freeze) seen;
update seen set pad = repeat('v', 1900) where id in (6, 21);
vacuum (freeze) seen;
-- From a page that lost its bits before.
delete from seen where id in (7, 22);
update seen set pad = repeat('w', 1700) where id in (8, 23);

-- Images in the other two compressions, also such as are not to be applied.
set wal_compression = lz4;
checkpoint;
update seen set id = id + 1000 where id % 10 = 4;
update seen_too set id = id + 1000 where id < 5;
set wal_consistency_checking = 'all';
insert into seen_too values (300, 'checked');
reset wal_consistency_checking;
set wal_compression = zstd;
checkpoint;
update seen set id = id + 1000 where id % 10 = 6;
update seen_too set id = id + 1000 where id between 5 and 10;
set wal_consistency_checking = 'all';
insert into seen_too values (301, 'checked');
reset wal_consistency_checking;
create index on seen (id);
drop table seen_too;
