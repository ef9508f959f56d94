//! The keyword form: `host=db1 password='it''s'`. Follows `conninfo_parse` of libpq's fe-connect.c.

use super::ConnInfoError;

/// Splits a keyword string into pairs, in order. Values lose quotes and backslashes.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, ConnInfoError> {
    let mut scanner = Scanner {
        rest: text.trim_start_matches(is_space),
    };
    let mut pairs = Vec::new();
    while !scanner.rest.is_empty() {
        let name = scanner.name()?;
        let value = scanner.value(&name)?;
        pairs.push((name, value));
        scanner.skip_space();
    }
    Ok(pairs)
}

/// The keyword string of these pairs: [`parse`] gives them back.
pub(super) fn write(pairs: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(name);
        text.push('=');
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:,@%+".contains(c);
        if !value.is_empty() && value.chars().all(is_plain) {
            text.push_str(value);
            continue;
        }
        text.push('\'');
        for c in value.chars() {
            if matches!(c, '\'' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('\'');
    }
    text
}

struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(is_space);
    }

    /// A keyword and the equals sign behind it, with space around both.
    fn name(&mut self) -> Result<String, ConnInfoError> {
        let end = self
            .rest
            .find(|c| c == '=' || is_space(c))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        let Some(rest) = rest.trim_start_matches(is_space).strip_prefix('=') else {
            // An unquoted password with a space in it ends here, so only a keyword is shown.
            return Err(ConnInfoError::MissingEquals {
                after: super::settings::known_keyword(name),
            });
        };
        self.rest = rest;
        self.skip_space();
        Ok(name.to_owned())
    }

    fn value(&mut self, name: &str) -> Result<String, ConnInfoError> {
        let quoted = self.rest.starts_with('\'');
        let mut value = String::new();
        let mut characters = self.rest.char_indices().skip(usize::from(quoted));
        loop {
            match characters.next() {
                Some((_, '\\')) => value.extend(characters.next().map(|(_, c)| c)),
                Some((at, '\'')) if quoted => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(value);
                }
                Some((at, c)) if !quoted && is_space(c) => {
                    self.rest = &self.rest[at..];
                    return Ok(value);
                }
                Some((_, c)) => value.push(c),
                None if quoted => {
                    return Err(ConnInfoError::UnterminatedQuote {
                        keyword: super::shown_keyword(name),
                    });
                }
                None => {
                    self.rest = "";
                    return Ok(value);
                }
            }
        }
    }
}

/// C's `isspace` in the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}
