//! The routes: from a method, a path and a body to an answer. Blocks as long as the sources do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use walrecord::{BlockTag, Lsn};

use super::answer::{Answer, ApiError};
use super::history::HistorySource;
use super::maintenance::{BranchRequest, FollowRequest, LeaseRequest, MaintenanceSource};
use super::params::{PageParams, flag, history, only_lsn, take};
use super::source::{CheckoutRequest, StatusSource};
use crate::plausible::check_page;
use crate::server::is_name;
use crate::source::{ErrorKind, PageSource, SourceError, TimelineSource};
use crate::stats::StatsReader;

const OPENAPI: &str = include_str!("openapi.json");

/// What HTTP shows.
#[derive(Clone)]
pub struct HttpSources {
    /// Gives pages.
    pub pages: Arc<dyn PageSource>,
    /// Shows and steers the server.
    pub status: Arc<dyn StatusSource>,
    /// Changes timelines.
    pub maintenance: Arc<dyn MaintenanceSource>,
    /// Answers questions about the past.
    pub history: Arc<dyn HistorySource>,
    /// The counters of the page service.
    pub stats: StatsReader,
}

pub(super) struct Api {
    sources: HttpSources,
    /// Answers by the first digit of their status, from 1xx on.
    answers: [AtomicU64; 5],
}

/// A request as the routes see it.
pub(super) struct ApiRequest<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
}

impl Api {
    pub(super) fn new(sources: HttpSources) -> Api {
        Api {
            sources,
            answers: Default::default(),
        }
    }

    /// Answers a request.
    pub(super) fn handle(&self, request: &ApiRequest<'_>) -> Answer {
        self.route(request).unwrap_or_else(|refusal| refusal)
    }

    /// Counts an answer, whoever made it.
    pub(super) fn count(&self, answer: &Answer) {
        let class = usize::from(answer.status / 100).clamp(1, self.answers.len());
        self.answers[class - 1].fetch_add(1, Ordering::Relaxed);
    }

    fn route(&self, request: &ApiRequest<'_>) -> Result<Answer, Answer> {
        let no_route = || Answer::from(ApiError::NoRoute(request.path.chars().take(200).collect()));
        let path = request.path.strip_prefix('/').ok_or_else(no_route)?;
        let segments: Vec<&str> = path.splitn(8, '/').collect();
        let status = &self.sources.status;
        match segments[..] {
            ["metrics"] => {
                get(request)?;
                Ok(self.metrics())
            }
            ["v1", "status"] => {
                get(request)?;
                Ok(Answer::json(&status.status()))
            }
            ["v1", "openapi.json"] => {
                get(request)?;
                Ok(Answer::json_text(OPENAPI))
            }
            ["v1", "tenant"] => {
                get(request)?;
                Ok(Answer::json(&status.tenants()))
            }
            ["v1", "tenant", tenant, "timeline"] if request.method == "POST" => {
                let body: BranchRequest = json_body(request)?;
                let maintenance = &self.sources.maintenance;
                Ok(Answer::json(&maintenance.branch(name(tenant)?, &body)?))
            }
            ["v1", "tenant", tenant, "timeline"] => {
                get(request)?;
                Ok(Answer::json(&status.timelines(name(tenant)?)?))
            }
            ["v1", "tenant", tenant, "timeline", timeline] if request.method == "DELETE" => {
                take(request.query, [])?;
                let maintenance = &self.sources.maintenance;
                let done = maintenance.delete(name(tenant)?, name(timeline)?)?;
                Ok(Answer::json(&done))
            }
            ["v1", "tenant", tenant, "timeline", timeline] => {
                get(request)?;
                Ok(Answer::json(
                    &status.timeline(name(tenant)?, name(timeline)?)?,
                ))
            }
            ["v1", "tenant", tenant, "timeline", timeline, verb] => {
                let named = Named {
                    tenant: name(tenant)?,
                    timeline: name(timeline)?,
                };
                match verb {
                    "page" => self.page(request, named),
                    "checkpoint" => self.checkpoint(request, named),
                    "checkout" => self.checkout(request, named),
                    "follow" => self.follow(request, named),
                    "compact" | "do_gc" => self.maintain(request, verb, named),
                    "lsn_lease" => self.lease(request, named),
                    "get_lsn_by_timestamp" | "get_timestamp_of_lsn" | "history" | "verify" => {
                        self.past(request, verb, named)
                    }
                    _ => Err(no_route()),
                }
            }
            _ => Err(no_route()),
        }
    }

    fn page(
        &self,
        request: &ApiRequest<'_>,
        Named { tenant, timeline }: Named<'_>,
    ) -> Result<Answer, Answer> {
        method(request, "GET")?;
        let PageParams { tag, lsn } = PageParams::parse(request.query)?;
        let timeline = self.sources.pages.open(tenant, timeline)?;
        let (oldest, last) = (timeline.oldest_lsn(), timeline.last_record_lsn());
        let at = lsn.unwrap_or(last);
        if at > last || (at < oldest && !timeline.is_leased(at)) {
            let text = format!("{at} is not readable: reading is possible from {oldest} to {last}");
            return Err(SourceError::new(ErrorKind::NotReadable, text).into());
        }
        Ok(read_page(&*timeline, tag, at)?)
    }

    fn checkpoint(
        &self,
        request: &ApiRequest<'_>,
        Named { tenant, timeline }: Named<'_>,
    ) -> Result<Answer, Answer> {
        method(request, "POST")?;
        take(request.query, [])?;
        Ok(Answer::json(
            &self.sources.status.checkpoint(tenant, timeline)?,
        ))
    }

    fn checkout(
        &self,
        request: &ApiRequest<'_>,
        Named { tenant, timeline }: Named<'_>,
    ) -> Result<Answer, Answer> {
        method(request, "POST")?;
        let body: CheckoutRequest = json_body(request)?;
        let done = self.sources.status.checkout(tenant, timeline, &body)?;
        Ok(Answer::json(&done))
    }

    fn follow(
        &self,
        request: &ApiRequest<'_>,
        Named { tenant, timeline }: Named<'_>,
    ) -> Result<Answer, Answer> {
        let source = &self.sources.maintenance;
        if request.method == "DELETE" {
            take(request.query, [])?;
            return Ok(Answer::json(&source.unfollow(tenant, timeline)?));
        }
        if request.method != "POST" {
            return Err(ApiError::Method("POST, DELETE").into());
        }
        let body: FollowRequest = json_body(request)?;
        Ok(Answer::json(&source.follow(tenant, timeline, &body)?))
    }

    fn maintain(
        &self,
        request: &ApiRequest<'_>,
        verb: &str,
        Named { tenant, timeline }: Named<'_>,
    ) -> Result<Answer, Answer> {
        method(request, "POST")?;
        let source = &self.sources.maintenance;
        Ok(match verb {
            "compact" => {
                let full = flag(request.query, "full")?;
                Answer::json(&source.compact(tenant, timeline, full)?)
            }
            _ => Answer::json(&source.gc(tenant, timeline, only_lsn(request.query)?)?),
        })
    }

    fn lease(
        &self,
        request: &ApiRequest<'_>,
        Named { tenant, timeline }: Named<'_>,
    ) -> Result<Answer, Answer> {
        method(request, "POST")?;
        let body: LeaseRequest = json_body(request)?;
        let source = &self.sources.maintenance;
        Ok(Answer::json(&source.lease(tenant, timeline, body)?))
    }

    fn past(
        &self,
        request: &ApiRequest<'_>,
        verb: &str,
        Named { tenant, timeline }: Named<'_>,
    ) -> Result<Answer, Answer> {
        let source = &self.sources.history;
        let query = request.query;
        method(request, if verb == "verify" { "POST" } else { "GET" })?;
        Ok(match verb {
            "get_lsn_by_timestamp" => {
                let [time] = take(query, ["timestamp"])?;
                let time = time.ok_or(ApiError::Missing("timestamp"))?;
                Answer::json(&source.lsn_of_time(tenant, timeline, &time)?)
            }
            "get_timestamp_of_lsn" => {
                Answer::json(&source.time_of_lsn(tenant, timeline, only_lsn(query)?)?)
            }
            "history" => Answer::json(&source.page_history(tenant, timeline, history(query)?)?),
            _ => Answer::json(&source.verify(tenant, timeline, only_lsn(query)?)?),
        })
    }

    fn metrics(&self) -> Answer {
        let mut text = String::new();
        self.sources.stats.read().write_prometheus(&mut text);
        let name = "zenith_http_responses_total";
        text.push_str(&format!(
            "# HELP {name} HTTP responses by class of status.\n"
        ));
        text.push_str(&format!("# TYPE {name} counter\n"));
        for (class, count) in self.answers.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            text.push_str(&format!("{name}{{class=\"{}xx\"}} {count}\n", class + 1));
        }
        self.sources.status.metrics(&mut text);
        Answer::metrics(text)
    }
}

/// The timeline that a path names.
#[derive(Clone, Copy)]
struct Named<'a> {
    tenant: &'a str,
    timeline: &'a str,
}

/// A path that is only read, and takes no parameters.
fn get(request: &ApiRequest<'_>) -> Result<(), Answer> {
    method(request, "GET")?;
    take(request.query, [])?;
    Ok(())
}

fn method(request: &ApiRequest<'_>, method: &'static str) -> Result<(), ApiError> {
    if request.method == method {
        Ok(())
    } else {
        Err(ApiError::Method(method))
    }
}

/// The body of a request that has no parameters.
fn json_body<T: DeserializeOwned>(request: &ApiRequest<'_>) -> Result<T, ApiError> {
    take(request.query, [])?;
    // A web page of anybody may make a browser send a body of another type to this address.
    let media_type = request.content_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::ContentType);
    }
    serde_json::from_slice(request.body).map_err(|error| ApiError::Body(error.to_string()))
}

fn name(text: &str) -> Result<&str, ApiError> {
    if is_name(text) {
        Ok(text)
    } else {
        Err(ApiError::Name(text.chars().take(64).collect()))
    }
}

fn read_page(timeline: &dyn TimelineSource, tag: BlockTag, at: Lsn) -> Result<Answer, SourceError> {
    let mut answer = Err(SourceError::new(
        ErrorKind::Internal,
        format!("the source left out {tag}"),
    ));
    timeline.pages(at, &[tag], &mut |_, found| {
        answer = found.and_then(|page| {
            check_page(page, at).map_err(|problem| {
                SourceError::new(ErrorKind::Corrupt, format!("{tag} at {at}: {problem}"))
            })?;
            Ok(Answer::bytes(page))
        });
    });
    answer
}
