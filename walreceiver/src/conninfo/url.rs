//! The URL form: `postgres://user:password@host:port,host2/dbname?sslmode=require`. Follows
//! `conninfo_uri_parse_options` and `conninfo_uri_parse_params` of libpq's fe-connect.c.

use super::ConnInfoError;
use super::settings::known_keyword;

/// The URL behind its scheme, if `text` is one.
pub(super) fn strip_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://")
        .or_else(|| text.strip_prefix("postgres://"))
}

/// Splits a URL (without its scheme) into keyword pairs, decoded.
pub(super) fn parse(url: &str) -> Result<Vec<(String, String)>, ConnInfoError> {
    let mut pairs = Vec::new();
    let mut rest = url;
    // User and password may hold a question mark, but no slash.
    if let Some(end) = url
        .find(['@', '/'])
        .filter(|at| url[*at..].starts_with('@'))
    {
        let user_info = &url[..end];
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        push(&mut pairs, "user", user)?;
        push(&mut pairs, "password", password)?;
        rest = &url[end + 1..];
    }
    let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, dbname) = address.split_once('/').unwrap_or((address, ""));
    parse_hosts(hosts, &mut pairs)?;
    push(&mut pairs, "dbname", dbname)?;
    for parameter in parameters.split('&') {
        if !parameter.is_empty() {
            parse_parameter(parameter, &mut pairs)?;
        }
    }
    Ok(pairs)
}

/// `host[:port][,host[:port]...]`, an IPv6 address in brackets.
fn parse_hosts(mut rest: &str, pairs: &mut Vec<(String, String)>) -> Result<(), ConnInfoError> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    loop {
        let host;
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (address, after) = bracketed
                .split_once(']')
                .ok_or(ConnInfoError::BadUrl("an IPv6 address lacks its \"]\""))?;
            if address.is_empty() {
                return Err(ConnInfoError::BadUrl("an IPv6 address is empty"));
            }
            if !(after.is_empty() || after.starts_with([':', ','])) {
                return Err(ConnInfoError::BadUrl(
                    "only \":\", \",\" or \"/\" may follow the \"]\" of an IPv6 address",
                ));
            }
            host = address;
            rest = after;
        } else {
            let end = rest.find([':', ',']).unwrap_or(rest.len());
            (host, rest) = rest.split_at(end);
        }
        let mut port = "";
        if let Some(after) = rest.strip_prefix(':') {
            (port, rest) = after.split_at(after.find(',').unwrap_or(after.len()));
        }
        hosts.push(decode(host, "host")?);
        ports.push(decode(port, "port")?);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
    }
    // A lone empty entry says nothing; with several, each empty one stands for the default.
    for (keyword, values) in [("host", hosts), ("port", ports)] {
        if values.iter().any(|value| !value.is_empty()) {
            pairs.push((keyword.to_owned(), values.join(",")));
        }
    }
    Ok(())
}

fn parse_parameter(
    parameter: &str,
    pairs: &mut Vec<(String, String)>,
) -> Result<(), ConnInfoError> {
    let (keyword, value) =
        parameter
            .split_once('=')
            .ok_or_else(|| ConnInfoError::MissingEquals {
                after: known_keyword(parameter),
            })?;
    if value.contains('=') {
        return Err(ConnInfoError::BadUrl(
            "a query parameter has more than one \"=\"",
        ));
    }
    let keyword = decode(keyword, "a query parameter")?;
    let value = decode(value, "a query parameter")?;
    // JDBC's spelling, which libpq accepts too.
    if keyword == "ssl" && value == "true" {
        pairs.push(("sslmode".to_owned(), "require".to_owned()));
    } else {
        pairs.push((keyword, value));
    }
    Ok(())
}

fn push(
    pairs: &mut Vec<(String, String)>,
    keyword: &'static str,
    value: &str,
) -> Result<(), ConnInfoError> {
    if !value.is_empty() {
        pairs.push((keyword.to_owned(), decode(value, keyword)?));
    }
    Ok(())
}

/// Percent decoding (`conninfo_uri_decode`). The value is not shown in errors: it may be a password.
fn decode(text: &str, part: &'static str) -> Result<String, ConnInfoError> {
    let error = ConnInfoError::BadPercentEncoding { part };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = after.get(..2).ok_or_else(|| error.clone())?;
            let high = hex(digits[0]).ok_or_else(|| error.clone())?;
            let low = hex(digits[1]).ok_or_else(|| error.clone())?;
            if high == 0 && low == 0 {
                return Err(error);
            }
            bytes.push(high << 4 | low);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| error)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
