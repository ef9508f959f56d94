-- Runs with wal_level = minimal, where relations of the same transaction are not logged: a GiST index then
-- takes its page numbers from records that are made for that alone.
begin;
create table unseen (p point);
create index on unseen using gist (p);
insert into unseen select point(i % 30, i / 30) from generate_series(1, 300) i;
commit;
