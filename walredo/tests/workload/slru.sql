-- The transaction-status logs: subtransactions over several pages, aborts, prepared transactions, commit
-- times with and without a replication origin, multixacts whose members span pages.
CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t SELECT i, 0 FROM generate_series(1, 10) i;

-- 40,000 subtransactions that write, every seventh of them failing: more than one page of the commit
-- log (32,768), dozens of pages of commit times (819).
CREATE FUNCTION subtransactions(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..n LOOP
    BEGIN
      INSERT INTO t VALUES (nextval('s'), i);
      IF i % 7 = 0 THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
  END LOOP;
END $$;
CREATE SEQUENCE s START 100;
SELECT subtransactions(40000);
BEGIN;
SELECT subtransactions(3000);
ROLLBACK;
BEGIN;
SELECT subtransactions(2500);
PREPARE TRANSACTION 'commits';
BEGIN;
SELECT subtransactions(2500);
PREPARE TRANSACTION 'aborts';
SELECT subtransactions(2500);
ROLLBACK PREPARED 'aborts';
COMMIT PREPARED 'commits';
SELECT subtransactions(30000);

-- Replicated commits.
SELECT pg_replication_origin_create('elsewhere');
SELECT pg_replication_origin_session_setup('elsewhere');
BEGIN;
SELECT pg_replication_origin_xact_setup('0/ABCDEF0', '2001-02-03 04:05:06+00');
INSERT INTO t VALUES (nextval('s'), 1);
COMMIT;
BEGIN;
SELECT pg_replication_origin_xact_setup('0/ABCDEF8', '2030-02-03 04:05:06+00');
SELECT subtransactions(900);
COMMIT;
BEGIN;
INSERT INTO t VALUES (nextval('s'), 1);
PREPARE TRANSACTION 'from elsewhere';
SELECT pg_replication_origin_xact_setup('0/ABCDEFF', '2031-02-03 04:05:06+00');
COMMIT PREPARED 'from elsewhere';
SELECT pg_replication_origin_session_reset();

-- Multixacts in one session: a weaker lock, then a stronger one in a subtransaction.
CREATE PROCEDURE upgrades(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..n LOOP
    PERFORM 1 FROM t WHERE id = 1 + i % 10 FOR KEY SHARE;
    BEGIN
      UPDATE t SET v = v + 1 WHERE id = 1 + i % 10;
      IF i % 5 = 0 THEN RAISE division_by_zero; END IF;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
    COMMIT;
  END LOOP;
END $$;
CALL upgrades(2500);

-- Each of 2,100 prepared transactions locks two rows that all before it have locked: 4,200 multixacts
-- (2,048 offsets a page) of 1 to 2,100 members (1,636 a page).
\o /dev/null
SELECT 'BEGIN', 'SELECT 1 FROM t WHERE id IN (1, 2) FOR KEY SHARE', format('PREPARE TRANSACTION %L', i)
FROM generate_series(1, 2100) i
\gexec
SELECT format('%s PREPARED %L', CASE WHEN i % 3 = 0 THEN 'ROLLBACK' ELSE 'COMMIT' END, i)
FROM generate_series(1, 2100) i
\gexec
\o
UPDATE t SET v = 0 WHERE id < 5;
CALL upgrades(300);
