-- What happens before the capture begins: few databases, a small one to copy, and ways to use up transaction
-- numbers and multixacts. Runs in database w.
alter database template0 allow_connections true;
alter database template1 is_template false;
drop database template1;
drop database postgres;
create extension bloom;

-- Uses up transaction numbers until `target` is the next one, by subtransactions that write no WAL.
create procedure burn_to(target bigint) language plpgsql as $$
begin
    create temp table if not exists burned (i int);
    while txid_current() + 1 < target loop
        for i in 1 .. least(target - txid_current() - 1, 33000) loop
            begin
                insert into burned values (i);
            exception when division_by_zero then
                null;
            end;
        end loop;
        commit;
        truncate burned;
        commit;
    end loop;
end $$;

-- Uses up `n` multixacts: a lock of the transaction and another one of a subtransaction.
create table locked (id int primary key, n int);
insert into locked values (1, 0), (2, 0);
create procedure burn_multis(n int) language plpgsql as $$
begin
    perform 1 from locked where id = 1 for key share;
    for i in 1 .. n loop
        begin
            perform 1 from locked where id = 1 for share;
            raise division_by_zero;
        exception when division_by_zero then
            null;
        end;
    end loop;
end $$;

-- A database that is small when it is copied page by page.
create database tiny template template0;
\c tiny
set allow_system_table_mods = on;
set client_min_messages = error;
drop schema information_schema cascade;
delete from pg_description;
delete from pg_collation where collname not in ('default', 'C', 'POSIX');
delete from pg_conversion;
delete from pg_depend;
delete from pg_ts_config_map;
delete from pg_ts_config;
delete from pg_ts_dict;
delete from pg_rewrite where ev_class not in (select oid from pg_class where relname in ('pg_tables'));
delete from pg_attribute where attrelid in
    (select oid from pg_class where relkind = 'v' and relnamespace = 11 and relname <> 'pg_tables');
delete from pg_class where relkind = 'v' and relnamespace = 11 and relname <> 'pg_tables';
delete from pg_amop where amopmethod not in (403, 405);
delete from pg_operator where oid not in (select amopopr from pg_amop);
delete from pg_proc where oid > 3000 and oid not in (select amproc from pg_amproc);
vacuum full;
\c w

