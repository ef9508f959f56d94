//! Judges running servers from SQL: the ordered contents of everything a user can see, to compare two
//! servers that must be equal, and `amcheck`.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};
use postgres::Client;

use crate::ServerAddress;

/// Tables, materialised views and large objects of a database: everything with rows that a user made.
const TABLES: &str = "
    SELECT c.oid::regclass::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
      AND (n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
           OR c.oid IN ('pg_largeobject'::regclass, 'pg_largeobject_metadata'::regclass))
    ORDER BY 1";

// Unlogged ones start over after recovery, and then stock depends on what was flushed: redo of a sequence's
// init fork stays in the buffer while the file is copied (sequence.c, seq_redo; reinit.c), so that the
// sequence may come up without its row.
const SEQUENCES: &str = "
    SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S' AND relpersistence = 'p' ORDER BY 1";

const DATABASES: &str = "SELECT datname::text FROM pg_database WHERE datallowconn ORDER BY 1";

const PREPARED: &str =
    "SELECT concat_ws(' ', transaction, gid, owner, database) FROM pg_prepared_xacts ORDER BY 1";

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableContents {
    /// How many there are.
    pub rows: i64,
    /// A hash over all of them, all columns as text, in the order of that text.
    pub digest: String,
}

/// Everything that can be read from a server, in digests. Two servers hold the same if these are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Tables by `database.schema.table`.
    pub tables: BTreeMap<String, TableContents>,
    /// `last_value` and `is_called` of logged sequences, by `database.schema.sequence`.
    pub sequences: BTreeMap<String, (i64, bool)>,
    /// Prepared transactions: transaction id, name, owner and database.
    pub prepared: Vec<String>,
}

impl Contents {
    /// Reads every database that allows connections.
    ///
    /// # Errors
    /// If something cannot be read, which on a damaged server it cannot.
    pub fn read(server: &ServerAddress) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut client = server.client("postgres")?;
        contents.prepared = texts(&mut client, PREPARED)?;
        for database in texts(&mut client, DATABASES)? {
            contents.read_database(&mut server.client(&database)?, &database)?;
        }
        Ok(contents)
    }

    /// Rows of all tables together.
    pub fn rows(&self) -> i64 {
        self.tables.values().map(|table| table.rows).sum()
    }

    /// Fails with what differs if `other` is not the same.
    ///
    /// # Errors
    /// If anything differs.
    pub fn must_equal(&self, other: &Contents) -> Result<()> {
        let mut differing = difference(&self.tables, &other.tables);
        differing.extend(difference(&self.sequences, &other.sequences));
        if self.prepared != other.prepared {
            differing.push(format!(
                "pg_prepared_xacts: {:?} and {:?}",
                self.prepared, other.prepared
            ));
        }
        if !differing.is_empty() {
            bail!(
                "the contents of two servers differ:\n  {}",
                differing.join("\n  ")
            );
        }
        Ok(())
    }

    fn read_database(&mut self, client: &mut Client, database: &str) -> Result<()> {
        for table in texts(client, TABLES)? {
            // Hashing row by row keeps the text that is put together bounded by 32 bytes a row.
            let query = format!(
                "SELECT count(*), md5(coalesce(string_agg(md5(t::text), '' ORDER BY t::text COLLATE \"C\"), ''))
                 FROM {table} t"
            );
            let row = client
                .query_one(&query, &[])
                .with_context(|| format!("reading {table}"))?;
            let contents = TableContents {
                rows: row.get(0),
                digest: row.get(1),
            };
            self.tables.insert(format!("{database}.{table}"), contents);
        }
        for sequence in texts(client, SEQUENCES)? {
            let query = format!("SELECT last_value, is_called FROM {sequence}");
            let row = client
                .query_one(&query, &[])
                .with_context(|| format!("reading {sequence}"))?;
            self.sequences
                .insert(format!("{database}.{sequence}"), (row.get(0), row.get(1)));
        }
        Ok(())
    }
}

/// Checks every B-tree (against its table, too) and every table of every database with the extension
/// `amcheck`, which is created for that: it writes to the server. Returns how many relations were checked, or
/// none if the server has no such extension.
///
/// # Errors
/// With the first damage found.
pub fn amcheck(server: &ServerAddress) -> Result<Option<usize>> {
    let mut checked = 0;
    let mut client = server.client("postgres")?;
    let available = "SELECT name::text FROM pg_available_extensions WHERE name = 'amcheck'";
    if texts(&mut client, available)?.is_empty() {
        return Ok(None);
    }
    for database in texts(&mut client, DATABASES)? {
        let mut client = server.client(&database)?;
        client.batch_execute("SET client_min_messages = error; SET lock_timeout = '60s'")?;
        client.batch_execute("CREATE EXTENSION IF NOT EXISTS amcheck")?;
        let below = format!("amcheck in database {database}");
        checked += check_indexes(&mut client).with_context(|| below.clone())?;
        checked += check_tables(&mut client).with_context(|| below.clone())?;
    }
    Ok(Some(checked))
}

fn check_indexes(client: &mut Client) -> Result<usize> {
    let indexes = texts(
        client,
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
         WHERE c.relam = (SELECT oid FROM pg_am WHERE amname = 'btree') AND c.relkind = 'i'
           AND i.indisvalid AND c.relpersistence = 'p'",
    )?;
    for index in &indexes {
        // Takes no lock that a prepared transaction could keep from us, unlike bt_index_parent_check.
        client
            .query("SELECT bt_index_check($1::text::regclass, true)", &[index])
            .with_context(|| format!("index {index}"))?;
    }
    Ok(indexes.len())
}

fn check_tables(client: &mut Client) -> Result<usize> {
    let tables = texts(
        client,
        "SELECT oid::regclass::text FROM pg_class
         WHERE relkind IN ('r', 'm', 't') AND relpersistence = 'p'
           AND relam = (SELECT oid FROM pg_am WHERE amname = 'heap')",
    )?;
    for table in &tables {
        let query = "SELECT concat_ws(' ', 'block', blkno, 'item', offnum, 'column', attnum, msg)
                     FROM verify_heapam($1::text::regclass)";
        let rows = client
            .query(query, &[table])
            .with_context(|| format!("table {table}"))?;
        if let Some(first) = rows.first() {
            bail!(
                "table {table}: {} damages, the first: {}",
                rows.len(),
                first.get::<_, String>(0)
            );
        }
    }
    Ok(tables.len())
}

fn texts(client: &mut Client, query: &str) -> Result<Vec<String>> {
    Ok(client
        .query(query, &[])?
        .iter()
        .map(|row| row.get(0))
        .collect())
}

fn difference<V: PartialEq + fmt::Debug>(
    left: &BTreeMap<String, V>,
    right: &BTreeMap<String, V>,
) -> Vec<String> {
    let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| left.get(*name) != right.get(*name));
    names
        .iter()
        .map(|name| format!("{name}: {:?} and {:?}", left.get(*name), right.get(*name)))
        .collect()
}
