//! Quoting for the replication grammar (repl_scanner.l), which knows neither backslashes nor `$$`.

/// A string literal: quotes doubled, nothing else special.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A quoted identifier.
pub(crate) fn identifier(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
