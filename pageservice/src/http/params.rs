//! Query parameters: each known, given once, and of the form that its place wants.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use walrecord::{BlockTag, ForkNumber, Lsn};

use super::answer::ApiError;
use super::history::{HistoryRequest, MAX_VERSIONS};

/// Versions listed if the request does not say how many.
const DEFAULT_VERSIONS: u32 = 1000;

/// The block and LSN of `GET .../page`; without an LSN, the newest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PageParams {
    pub(super) tag: BlockTag,
    pub(super) lsn: Option<Lsn>,
}

impl PageParams {
    pub(super) fn parse(query: &str) -> Result<PageParams, ApiError> {
        PageParams::of(take(query, ["rel", "fork", "block", "lsn"])?)
    }

    fn of([rel, fork, block, lsn]: [Option<Cow<'_, str>>; 4]) -> Result<PageParams, ApiError> {
        let fork = match fork {
            Some(text) => value("fork", &text)?,
            None => ForkNumber::Main,
        };
        let lsn = position(lsn)?;
        let tag = BlockTag {
            rel: value("rel", &rel.ok_or(ApiError::Missing("rel"))?)?,
            fork,
            block: value("block", &block.ok_or(ApiError::Missing("block"))?)?,
        };
        Ok(PageParams { tag, lsn })
    }
}

/// The page and its range of `GET .../history`.
pub(super) fn history(query: &str) -> Result<HistoryRequest, ApiError> {
    let names = ["rel", "fork", "block", "lsn", "limit"];
    let [rel, fork, block, lsn, limit] = take(query, names)?;
    let PageParams { tag, lsn } = PageParams::of([rel, fork, block, lsn])?;
    let limit = match limit {
        Some(text) => value::<u32>("limit", &text)?.clamp(1, MAX_VERSIONS),
        None => DEFAULT_VERSIONS,
    };
    Ok(HistoryRequest { tag, lsn, limit })
}

/// The only parameter of a path, a position.
pub(super) fn only_lsn(query: &str) -> Result<Option<Lsn>, ApiError> {
    let [lsn] = take(query, ["lsn"])?;
    position(lsn)
}

/// The only parameter of a path, `true` or `false`; false if it is not there.
pub(super) fn flag(query: &str, name: &'static str) -> Result<bool, ApiError> {
    let [text] = take(query, [name])?;
    text.map_or(Ok(false), |text| value(name, &text))
}

fn position(text: Option<Cow<'_, str>>) -> Result<Option<Lsn>, ApiError> {
    let lsn = text.map(|text| value::<Lsn>("lsn", &text)).transpose()?;
    if lsn == Some(Lsn::INVALID) {
        let problem = "0/0 is no position; leave it out for the newest".to_owned();
        return Err(ApiError::Value {
            name: "lsn",
            problem,
        });
    }
    Ok(lsn)
}

/// The values of these parameters; any other parameter is an error.
pub(super) fn take<'q, const N: usize>(
    query: &'q str,
    names: [&'static str; N],
) -> Result<[Option<Cow<'q, str>>; N], ApiError> {
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = names.iter().position(|known| *known == name);
        match place {
            Some(place) if values[place].is_none() => values[place] = Some(value),
            _ => return Err(ApiError::Parameter(name.into_owned())),
        }
    }
    Ok(values)
}

fn value<T: FromStr<Err: Display>>(name: &'static str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error: T::Err| ApiError::Value {
        name,
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_by_relation_fork_block_and_lsn() {
        let params = PageParams::parse("rel=1663/5/16384&fork=vm&block=7&lsn=0%2F3000060").unwrap();
        assert_eq!(params.tag.to_string(), "1663/5/16384.vm:7");
        assert_eq!(params.lsn, Some(Lsn::new(0x300_0060)));
        let params = PageParams::parse("block=0&rel=base%2F5%2F16384").unwrap();
        assert_eq!(params.tag.to_string(), "1663/5/16384.main:0");
        assert_eq!(params.lsn, None);
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        for (query, named) in [
            ("", "rel"),
            ("rel=1663/5/16384", "block"),
            ("rel=x&block=0", "rel"),
            ("rel=1663/5/16384&block=-1", "block"),
            ("rel=1663/5/16384&block=0&fork=toast", "fork"),
            ("rel=1663/5/16384&block=0&lsn=latest", "lsn"),
            ("rel=1663/5/16384&block=0&lsn=0/0", "lsn"),
            ("rel=1663/5/16384&block=0&block=1", "block"),
            ("rel=1663/5/16384&block=0&lns=0/8", "lns"),
        ] {
            let error = PageParams::parse(query).unwrap_err().to_string();
            assert!(error.contains(named), "{query}: {error}");
        }
    }
}
