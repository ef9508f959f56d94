//! The HTTP port: what each route answers, and what is refused.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Fake, LAST, LEASED, TENANT, Timelines, main_block, no_log, page_of, start};
use pageservice::http::{
    BranchRequest, CheckoutRequest, CheckpointDone, CompactDone, DeleteDone, Finding,
    FollowRequest, GcDone, HeldPoint, HistoryRequest, HistorySource, HttpService, HttpSources,
    LeaseDone, LeaseRequest, LsnOfTime, MaintenanceSource, PageHistory, ReceiverState,
    ServerStatus, StatusSource, SupersededState, TenantStatus, TimeKind, TimeOfLsn, TimelineStatus,
    TransactionEnd, UpstreamState, VerifyDone,
};
use pageservice::walrecord::Lsn;
use pageservice::{
    ErrorKind, Exposure, Listen, PageService, PageServiceOptions, SourceError, StartError,
};
use serde_json::{Value, json};

/// The state that HTTP shows; remembers what it was asked to check out.
#[derive(Default)]
struct Server {
    checkouts: Mutex<Vec<CheckoutRequest>>,
}

fn main_timeline() -> TimelineStatus {
    TimelineStatus {
        tenant_id: TENANT.to_owned(),
        timeline_id: "f".repeat(32),
        name: "main".to_owned(),
        pg_version: 15,
        system_identifier: u64::MAX.to_string(),
        pg_timeline: 1,
        ancestor_timeline_id: None,
        ancestor_lsn: None,
        oldest_lsn: Lsn::new(0x100),
        history_bytes: None,
        history_seconds: Some(3600),
        leases: vec![held(LEASED)],
        last_record_lsn: LAST,
        flush_lsn: LAST + 8,
        disk_consistent_lsn: Lsn::new(0x100),
        remote_consistent_lsn: None,
        layers: 2,
        runs: 1,
        layer_bytes: 3,
        wal_bytes: 4,
        upstream: Some(UpstreamState {
            conninfo: "host=db2".to_owned(),
            slot: "zenith_main".to_owned(),
        }),
        replaces: Some("e".repeat(32)),
        superseded: Some(SupersededState {
            by: "d".repeat(32),
            fork_lsn: Lsn::new(0x100),
        }),
        receiver: Some(ReceiverState {
            phase: "streaming".to_owned(),
            server: Some("fake".to_owned()),
            server_end_lsn: LAST + 16,
            lag_bytes: 8,
            caught_up: true,
            last_error: None,
        }),
        failure: None,
        refused: None,
        damage: Vec::new(),
        reads: Default::default(),
    }
}

fn held(lsn: Lsn) -> LeaseDone {
    LeaseDone {
        lsn,
        valid_until: "2026-11-22T14:03:00.000Z".to_owned(),
    }
}

fn checked(tenant: &str, timeline: &str) -> Result<(), SourceError> {
    if timeline == "panic" {
        panic!("a bug in a source, made for a test");
    }
    if tenant == TENANT && timeline == "main" {
        return Ok(());
    }
    Err(SourceError::new(ErrorKind::NotFound, "no such timeline"))
}

impl StatusSource for Server {
    fn status(&self) -> ServerStatus {
        ServerStatus {
            version: "0.1.0".to_owned(),
            listen_pg: "127.0.0.1:5430".to_owned(),
            uptime_seconds: 7,
            timelines: 1,
        }
    }

    fn tenants(&self) -> Vec<TenantStatus> {
        vec![TenantStatus {
            id: TENANT.to_owned(),
            timelines: vec!["main".to_owned()],
        }]
    }

    fn timelines(&self, tenant: &str) -> Result<Vec<TimelineStatus>, SourceError> {
        checked(tenant, "main").map(|()| vec![main_timeline()])
    }

    fn timeline(&self, tenant: &str, timeline: &str) -> Result<TimelineStatus, SourceError> {
        checked(tenant, timeline).map(|()| main_timeline())
    }

    fn checkpoint(&self, tenant: &str, timeline: &str) -> Result<CheckpointDone, SourceError> {
        let disk_consistent_lsn = LAST;
        checked(tenant, timeline).map(|()| CheckpointDone {
            disk_consistent_lsn,
            previous_lsn: Lsn::new(0x100),
            layers_written: 1,
            bytes_written: 2,
        })
    }

    fn checkout(
        &self,
        tenant: &str,
        timeline: &str,
        request: &CheckoutRequest,
    ) -> Result<Value, SourceError> {
        checked(tenant, timeline)?;
        self.checkouts.lock().unwrap().push(request.clone());
        Ok(json!({ "dir": request.dir }))
    }

    fn metrics(&self, out: &mut String) {
        out.push_str("zenith_fake 1\n");
    }
}

fn commit() -> TransactionEnd {
    TransactionEnd {
        time: "2026-11-22 14:03:00.000000+00".to_owned(),
        lsn: Lsn::new(0x180),
        xid: 717,
        committed: true,
    }
}

impl HistorySource for Server {
    fn lsn_of_time(
        &self,
        tenant: &str,
        timeline: &str,
        time: &str,
    ) -> Result<LsnOfTime, SourceError> {
        checked(tenant, timeline)?;
        match time {
            "2026-11-22 14:03:00+00" => Ok(LsnOfTime {
                lsn: Lsn::new(0x150),
                kind: TimeKind::Present,
                stops_before: Some(commit()),
            }),
            "1999-01-01" => Err(SourceError::new(ErrorKind::NotReadable, "too early")),
            _ => Err(SourceError::new(ErrorKind::Invalid, "no time")),
        }
    }

    fn time_of_lsn(
        &self,
        tenant: &str,
        timeline: &str,
        lsn: Option<Lsn>,
    ) -> Result<TimeOfLsn, SourceError> {
        checked(tenant, timeline).map(|()| TimeOfLsn {
            lsn: lsn.unwrap_or(LAST),
            timestamp: commit().time,
            transaction: commit(),
        })
    }

    fn page_history(
        &self,
        tenant: &str,
        timeline: &str,
        request: HistoryRequest,
    ) -> Result<PageHistory, SourceError> {
        checked(tenant, timeline).map(|()| PageHistory {
            page: request.tag.to_string(),
            versions: Vec::new(),
            next_lsn: Some(Lsn::new(u64::from(request.limit))),
        })
    }

    fn verify(
        &self,
        tenant: &str,
        timeline: &str,
        lsn: Option<Lsn>,
    ) -> Result<VerifyDone, SourceError> {
        checked(tenant, timeline).map(|()| VerifyDone {
            findings: vec![Finding {
                file: Some("a.layer".to_owned()),
                offset: Some(7),
                key: None,
                lsn,
                problem: "damaged".to_owned(),
            }],
            finding_count: 1,
            ..VerifyDone::default()
        })
    }
}

struct Setup {
    _pages: PageService,
    server: Arc<Server>,
    http: HttpService,
}

impl MaintenanceSource for Server {
    fn branch(&self, tenant: &str, request: &BranchRequest) -> Result<TimelineStatus, SourceError> {
        checked(tenant, &request.ancestor)?;
        Ok(TimelineStatus {
            name: request.name.clone(),
            ancestor_timeline_id: Some("f".repeat(32)),
            ancestor_lsn: request.lsn,
            ..main_timeline()
        })
    }

    fn delete(&self, tenant: &str, timeline: &str) -> Result<DeleteDone, SourceError> {
        checked(tenant, timeline)?;
        let text = "2 branch from it";
        Err(SourceError::new(ErrorKind::Invalid, text))
    }

    fn follow(
        &self,
        tenant: &str,
        timeline: &str,
        request: &FollowRequest,
    ) -> Result<TimelineStatus, SourceError> {
        checked(tenant, timeline)?;
        let upstream = UpstreamState {
            conninfo: request.conninfo.clone(),
            slot: request.slot.clone().unwrap_or_default(),
        };
        Ok(TimelineStatus {
            upstream: Some(upstream),
            ..main_timeline()
        })
    }

    fn unfollow(&self, tenant: &str, timeline: &str) -> Result<TimelineStatus, SourceError> {
        checked(tenant, timeline)?;
        Ok(TimelineStatus {
            upstream: None,
            ..main_timeline()
        })
    }

    fn compact(
        &self,
        tenant: &str,
        timeline: &str,
        full: bool,
    ) -> Result<CompactDone, SourceError> {
        checked(tenant, timeline)?;
        Ok(CompactDone {
            merges: u64::from(full),
            runs_before: 4,
            runs_after: 1,
            layers_before: 4,
            layers_after: 2,
            bytes_before: 100,
            bytes_after: 50,
            damaged_layers: 3,
        })
    }

    fn lease(
        &self,
        tenant: &str,
        timeline: &str,
        request: LeaseRequest,
    ) -> Result<LeaseDone, SourceError> {
        checked(tenant, timeline)?;
        match request.seconds {
            600 | 60 => Ok(held(request.lsn)),
            0 => Err(SourceError::new(ErrorKind::Invalid, "for no time")),
            _ => Err(SourceError::new(ErrorKind::NotReadable, "gone")),
        }
    }

    fn gc(&self, tenant: &str, timeline: &str, cutoff: Option<Lsn>) -> Result<GcDone, SourceError> {
        checked(tenant, timeline)?;
        Ok(GcDone {
            oldest_lsn_before: Lsn::new(0x100),
            oldest_lsn: cutoff.unwrap_or(LAST),
            wal_bytes_removed: 16,
            held_by: "a reader".to_owned(),
            points: vec![HeldPoint {
                lsn: LEASED,
                held_by: "a lease".to_owned(),
            }],
        })
    }
}

fn sources(pages: &PageService, server: &Arc<Server>) -> HttpSources {
    HttpSources {
        pages: Arc::new(Timelines(Fake::new())),
        status: Arc::<Server>::clone(server),
        maintenance: Arc::<Server>::clone(server),
        history: Arc::<Server>::clone(server),
        stats: pages.stats_reader(),
    }
}

fn setup() -> Setup {
    let pages = start(&Fake::new(), PageServiceOptions::default());
    let server = Arc::new(Server::default());
    let listen = Listen::loopback("127.0.0.1:0".parse().unwrap());
    let http = HttpService::start(listen, sources(&pages, &server), &no_log()).unwrap();
    Setup {
        _pages: pages,
        server,
        http,
    }
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        assert!(self.head.contains("application/json"), "{}", self.head);
        serde_json::from_slice(&self.body).unwrap()
    }

    fn message(&self) -> String {
        self.json()["msg"].as_str().unwrap().to_owned()
    }
}

fn exchange(address: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    stream.write_all(request).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let end = reply.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let body = reply.split_off(end + 4);
    let head = String::from_utf8(reply).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body }
}

impl Setup {
    fn ask(&self, method: &str, path: &str, content_type: &str, body: &str) -> Reply {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        exchange(self.http.local_addr(), request.as_bytes())
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "", "")
    }

    fn post(&self, path: &str, body: &str) -> Reply {
        self.ask("POST", path, "application/json", body)
    }
}

fn at_main(rest: &str) -> String {
    format!("/v1/tenant/{TENANT}/timeline/main{rest}")
}

#[test]
fn states_are_shown_as_json() {
    let setup = setup();
    let status: ServerStatus = serde_json::from_value(setup.get("/v1/status").json()).unwrap();
    assert_eq!(status, setup.server.status());
    let tenants = setup.get("/v1/tenant").json();
    assert_eq!(tenants, json!([{ "id": TENANT, "timelines": ["main"] }]));
    let one = setup.get(&at_main("")).json();
    assert_eq!(one["last_record_lsn"], "0/1000");
    assert_eq!(one["receiver"]["server_end_lsn"], "0/1010");
    assert_eq!(one["remote_consistent_lsn"], Value::Null);
    let all = setup.get(&format!("/v1/tenant/{TENANT}/timeline")).json();
    assert_eq!(all, json!([one]));
    let read: TimelineStatus = serde_json::from_value(one).unwrap();
    assert_eq!(read, main_timeline());
}

#[test]
fn timelines_are_branched_compacted_collected_and_deleted() {
    let setup = setup();
    let all = format!("/v1/tenant/{TENANT}/timeline");
    let body = r#"{"name":"try","ancestor":"main","lsn":"0/200"}"#;
    let made = setup.post(&all, body).json();
    assert_eq!(made["name"], "try");
    assert_eq!(made["ancestor_lsn"], "0/200");
    for (path, body, status) in [
        (all.as_str(), r#"{"name":"try","ancestor":"other"}"#, 404),
        (all.as_str(), r#"{"name":"try"}"#, 400),
        (all.as_str(), "", 400),
        (&at_main("/compact?full=yes"), "", 400),
        (&at_main("/do_gc?lsn=0"), "", 400),
    ] {
        assert_eq!(setup.post(path, body).status, status, "{path} {body}");
    }
    let plain = setup.ask("POST", &all, "text/plain", body);
    assert_eq!(plain.status, 415);
    let done = setup.post(&at_main("/compact?full=true"), "").json();
    assert_eq!(
        [
            &done["merges"],
            &done["bytes_after"],
            &done["damaged_layers"]
        ],
        [&json!(1), &json!(50), &json!(3)]
    );
    assert_eq!(setup.post(&at_main("/compact"), "").json()["merges"], 0);
    let done = setup.post(&at_main("/do_gc?lsn=0/180"), "").json();
    assert_eq!(done["oldest_lsn"], "0/180");
    assert_eq!(done["held_by"], "a reader");
    assert_eq!(done["points"][0]["lsn"], LEASED.to_string());
    assert_eq!(setup.get(&at_main("/compact")).status, 405);
    let follow = at_main("/follow");
    let told = setup.post(&follow, r#"{"conninfo":"host=db3","slot":"mine"}"#);
    let told = told.json()["upstream"].clone();
    assert_eq!(told, json!({ "conninfo": "host=db3", "slot": "mine" }));
    assert_eq!(setup.post(&follow, r#"{"conninfo":1}"#).status, 400);
    let told = setup.ask("DELETE", &follow, "", "").json();
    assert_eq!(told["upstream"], Value::Null);
    assert_eq!(setup.get(&follow).status, 405);
    let refused = setup.ask("DELETE", &at_main(""), "", "");
    assert_eq!(refused.status, 400);
    assert!(refused.message().contains("branch from it"));
}

#[test]
fn an_lsn_is_held_for_a_time_and_read_below_the_window() {
    let setup = setup();
    let lease = at_main("/lsn_lease");
    for (body, status) in [
        (r#"{"lsn":"0/80"}"#, 200),
        (r#"{"lsn":"0/80","seconds":60}"#, 200),
        (r#"{"lsn":"0/80","seconds":0}"#, 400),
        (r#"{"lsn":"0/80","seconds":1}"#, 422),
        (r#"{"lsn":"0/80","seconds":-1}"#, 400),
        (r#"{"lsn":"0/80","for":1}"#, 400),
        (r#"{"lsn":"80"}"#, 400),
        ("{}", 400),
    ] {
        assert_eq!(setup.post(&lease, body).status, status, "{body}");
    }
    let held = setup.post(&lease, r#"{"lsn":"0/80"}"#).json();
    let expected = json!({"lsn": "0/80", "valid_until": "2026-11-22T14:03:00.000Z"});
    assert_eq!(held, expected);
    assert_eq!(setup.get(&lease).status, 405);
    let page = |lsn| at_main(&format!("/page?rel=1663/5/16384&block=7&lsn={lsn}"));
    let reply = setup.get(&page(LEASED));
    assert_eq!(reply.status, 200);
    assert!(reply.body == page_of(main_block(7), LEASED));
    assert_eq!(setup.get(&page(LEASED + 8)).status, 422);
}

#[test]
fn a_page_is_8192_bytes_at_the_lsn_asked_for_or_the_newest() {
    let setup = setup();
    let page = at_main("/page?rel=base/5/16384&block=7");
    for (query, lsn) in [("", LAST), ("&lsn=0/200&fork=main", Lsn::new(0x200))] {
        let reply = setup.get(&format!("{page}{query}"));
        assert_eq!(reply.status, 200);
        assert!(reply.head.contains("application/octet-stream"));
        assert!(reply.body == page_of(main_block(7), lsn));
    }
}

#[test]
fn pages_that_cannot_be_had_say_why_with_the_right_status() {
    let setup = setup();
    for (query, status, named) in [
        ("rel=1663/5/16384&block=100", 404, "past the end"),
        ("rel=1663/5/7&block=0", 404, "no such fork"),
        (
            "rel=1663/5/16384&block=0&lsn=0/FF",
            422,
            "0/FF is not readable",
        ),
        (
            "rel=1663/5/16384&block=0&lsn=0/1001",
            422,
            "from 0/100 to 0/1000",
        ),
        ("rel=1663/5/16384&block=66", 500, "the layer is damaged"),
        ("rel=1663/5/16384&block=77", 500, "which is later"),
        ("rel=1663/5/16384&block=88", 500, "left out"),
        ("rel=1663/5/16384&block=99", 503, "going away"),
        ("rel=1663/5/16384&block=x", 400, "block"),
        ("rel=1663/5/16384", 400, "block is missing"),
    ] {
        let reply = setup.get(&at_main(&format!("/page?{query}")));
        assert_eq!(reply.status, status, "{query}");
        let message = reply.message();
        assert!(message.contains(named), "{query}: {message}");
    }
}

#[test]
fn actions_are_posted() {
    let setup = setup();
    let done = setup.post(&at_main("/checkpoint"), "").json();
    assert_eq!(
        done,
        json!({
            "disk_consistent_lsn": "0/1000",
            "previous_lsn": "0/100",
            "layers_written": 1,
            "bytes_written": 2,
        })
    );
    let body = r#"{"dir": "/clone", "lsn": "0/200", "keep_config": true, "port": 5433}"#;
    let done = setup.post(&at_main("/checkout"), body).json();
    assert_eq!(done, json!({ "dir": "/clone" }));
    setup.post(&at_main("/checkout"), r#"{"dir": "/other"}"#);
    let request = |dir: &str| CheckoutRequest {
        dir: dir.to_owned(),
        lsn: None,
        keep_config: false,
        port: None,
    };
    let full = CheckoutRequest {
        lsn: Some(Lsn::new(0x200)),
        keep_config: true,
        port: Some(5433),
        ..request("/clone")
    };
    assert_eq!(
        *setup.server.checkouts.lock().unwrap(),
        [full, request("/other")]
    );
}

#[test]
fn what_is_not_understood_is_refused_as_json() {
    let setup = setup();
    let checkout = at_main("/checkout");
    let long = format!("{{\"dir\": \"{}\"}}", "x".repeat(70_000));
    for (reply, status, named) in [
        (setup.get("/"), 404, "nothing at /"),
        (setup.get("/v1/tenant/"), 404, "nothing at"),
        (setup.get(&at_main("/nothing")), 404, "nothing at"),
        (
            setup.get("/v1/tenant/x/timeline/y/page/z/a/b"),
            404,
            "nothing at",
        ),
        (
            setup.get("/v1/tenant/x/timeline/main"),
            404,
            "no such timeline",
        ),
        (setup.get("/v1/tenant/..%2F/timeline"), 400, "no id or name"),
        (setup.get("/v1/status?x=1"), 400, "\"x\""),
        (setup.post("/v1/status", ""), 405, "GET"),
        (setup.get(&checkout), 405, "POST"),
        (
            setup.ask("POST", &checkout, "text/plain", "{\"dir\": \"/x\"}"),
            415,
            "application/json",
        ),
        (setup.post(&checkout, "{"), 400, "body"),
        (
            setup.post(&checkout, r#"{"dir": "/x", "force": true}"#),
            400,
            "force",
        ),
        (
            setup.post(&checkout, r#"{"dir": "/x", "lsn": "5"}"#),
            400,
            "not an LSN",
        ),
        (setup.post(&checkout, &long), 413, "65536"),
        (
            setup.get(&format!("/v1/tenant/{TENANT}/timeline/panic")),
            500,
            "inside the server",
        ),
    ] {
        let message = reply.message();
        assert!(message.contains(named), "{message}");
        assert_eq!(reply.status, status, "{message}");
        assert_eq!(reply.head.contains("allow: "), status == 405);
    }
    assert!(setup.server.checkouts.lock().unwrap().is_empty());
}

#[test]
fn bytes_that_are_no_http_are_refused() {
    let setup = setup();
    let reply = exchange(setup.http.local_addr(), b"\x16\x03\x01 nonsense\r\n\r\n");
    assert_eq!(reply.status, 400);
    assert_eq!(setup.get("/v1/status").status, 200);
}

#[test]
fn metrics_are_those_of_all_parts() {
    let setup = setup();
    setup.get("/v1/status");
    setup.get("/nothing");
    let reply = setup.get("/metrics");
    assert!(reply.head.contains("text/plain; version=0.0.4"));
    let text = String::from_utf8(reply.body).unwrap();
    for line in [
        "zenith_pageservice_requests_total{kind=\"getpage\"} 0",
        "zenith_http_responses_total{class=\"2xx\"} 1",
        "zenith_http_responses_total{class=\"4xx\"} 1",
        "zenith_fake 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

/// The description names the routes that there are: each answers something else than "nothing here".
#[test]
fn the_description_is_true() {
    let setup = setup();
    let openapi = setup.get("/v1/openapi.json").json();
    let paths = openapi["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 17);
    for (path, methods) in paths {
        let path = path
            .replace("{tenant}", TENANT)
            .replace("{timeline}", "main");
        for method in methods.as_object().unwrap().keys() {
            let reply = setup.ask(&method.to_uppercase(), &path, "application/json", "");
            assert!(![404, 405].contains(&reply.status), "{method} {path}");
        }
    }
    let schemas = &openapi["components"]["schemas"];
    let described = |name: &str| schemas[name]["properties"].as_object().unwrap().clone();
    let shown = setup.get(&at_main("")).json();
    let time = "/get_lsn_by_timestamp?timestamp=2026-11-22%2014:03:00%2B00";
    let lsn_of_time = setup.get(&at_main(time)).json();
    let history = "/history?rel=1663/5/16384&block=0";
    let history = setup.get(&at_main(history)).json();
    let verified = setup.post(&at_main("/verify"), "").json();
    for (name, value) in [
        ("Server", setup.get("/v1/status").json()),
        ("Tenant", setup.get("/v1/tenant").json()[0].clone()),
        ("Receiver", shown["receiver"].clone()),
        ("Upstream", shown["upstream"].clone()),
        ("Superseded", shown["superseded"].clone()),
        ("Timeline", shown),
        ("Checkpoint", setup.post(&at_main("/checkpoint"), "").json()),
        ("Compact", setup.post(&at_main("/compact"), "").json()),
        ("Gc", setup.post(&at_main("/do_gc"), "").json()),
        (
            "Lease",
            setup
                .post(&at_main("/lsn_lease"), r#"{"lsn":"0/80"}"#)
                .json(),
        ),
        ("LsnOfTime", lsn_of_time.clone()),
        ("TransactionEnd", lsn_of_time["stops_before"].clone()),
        (
            "TimeOfLsn",
            setup.get(&at_main("/get_timestamp_of_lsn")).json(),
        ),
        ("PageHistory", history),
        ("Verify", verified.clone()),
        ("Finding", verified["findings"][0].clone()),
    ] {
        let names = |of: &serde_json::Map<String, Value>| {
            let mut names: Vec<String> = of.keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(
            names(&described(name)),
            names(value.as_object().unwrap()),
            "{name}"
        );
    }
}

#[test]
fn questions_about_the_past_are_passed_on_and_wrong_ones_refused() {
    let setup = setup();
    let status = |path: &str| setup.get(&at_main(path)).status;
    let at = "/get_timestamp_of_lsn?lsn=0/140";
    assert_eq!(setup.get(&at_main(at)).json()["lsn"], "0/140");
    let page = "/history?rel=base/5/16384&fork=vm&block=3&limit=20";
    let history = setup.get(&at_main(page)).json();
    assert_eq!(history["page"], "1663/5/16384.vm:3");
    assert_eq!(history["next_lsn"], "0/14", "the limit");
    let most = "/history?rel=1663/5/16384&block=3&limit=4000000000";
    assert_eq!(setup.get(&at_main(most)).json()["next_lsn"], "0/2710");
    let verified = setup.post(&at_main("/verify?lsn=0/150"), "").json();
    assert_eq!(verified["findings"][0]["lsn"], "0/150");
    assert_eq!(status("/get_lsn_by_timestamp?timestamp=1999-01-01"), 422);
    assert_eq!(status("/get_lsn_by_timestamp?timestamp=noon"), 400);
    assert_eq!(status("/get_lsn_by_timestamp"), 400);
    assert_eq!(status("/get_timestamp_of_lsn?lsn=0/0"), 400);
    assert_eq!(status("/history?rel=1663/5/16384"), 400);
    assert_eq!(status("/verify"), 405);
}

#[test]
fn other_addresses_than_loopback_are_refused_and_stop_closes_the_port() {
    let setup = setup();
    let listen = Listen {
        address: "0.0.0.0:0".parse().unwrap(),
        exposure: Exposure::Loopback,
    };
    let refused = HttpService::start(listen, sources(&setup._pages, &setup.server), &no_log());
    assert!(matches!(refused.err(), Some(StartError::NotLoopback(_))));
    setup.http.stop();
    setup.http.stop();
    assert!(TcpStream::connect(setup.http.local_addr()).is_err());
}
