//! HTTP: statuses, bounds, and senders that dawdle.

use std::time::Duration;

use postrider::edges::intake::Code;
use postrider::words::limits;
use postrider::words::secret::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::house::{House, answer_of, exchange, until};

/// Method, path, headers, body; status, and a part of the answer's body or its `allow`.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a str, u16, &'a str);

const JSON: &str = "content-type: application/json";
const CLOUD: &str = "content-type: application/cloudevents+json";
const NDJSON: &str = "content-type: application/x-ndjson";

#[tokio::test]
async fn every_request_has_its_status() {
    let house = House::start().await;
    let address = house.tcp(None).await;
    let event = "{\"type\":\"t\",\"data\":{\"a\": 1}}";
    let many = format!("[{}]", vec!["{\"type\":\"t\"}"; limits::HTTP_BATCH + 1].join(","));
    let many_lines = "{\"type\":\"t\"}\n".repeat(limits::HTTP_BATCH + 1);
    let large = format!("{{\"type\":\"t\",\"data\":\"{}\"}}", "x".repeat(limits::EVENT));
    #[rustfmt::skip]
    let table: Vec<Row<'_>> = vec![
        ("GET", "/healthz", &[], "", 200, "ok"),
        ("POST", "/healthz", &[], "", 405, "GET, HEAD"),
        ("POST", "/v1/events", &[JSON], event, 202, "\"duplicate\":false"),
        ("POST", "/v1/events", &["Content-Type: Application/JSON; charset=utf-8"], event, 202, "\"hooks\":[\"a\",\"b\"]"),
        ("POST", "/v1/events", &[JSON], "[{\"type\":\"t\"}, {\"type\":\"u\"}]", 202, "[{\"id\":"),
        ("POST", "/v1/events", &[JSON], " []", 202, "[]"),
        ("POST", "/v1/events", &[JSON], "[{\"type\":\"t\"}, {\"type\":5}]", 400, "event 2: type must be a text"),
        ("POST", "/v1/events", &[JSON], "", 400, "bad_event"),
        ("POST", "/v1/events", &[JSON], "{\n  \"type\": \"t\",\n  \"dta\": 1\n}", 400, "line 3, column"),
        ("POST", "/v1/events", &[JSON], &many, 413, "at most 10000 events"),
        ("POST", "/v1/events", &[JSON], &large, 413, "at most 1048576 bytes"),
        ("POST", "/v1/events", &[NDJSON], "{\"type\":\"t\"}\n\n{\"type\":\"u\"}", 202, "\"duplicate\":false}\n{\"id\""),
        ("POST", "/v1/events", &["content-type: application/jsonl"], "{\"type\":\"t\"}", 202, "\"id\""),
        ("POST", "/v1/events", &[NDJSON], "{\"type\":\"t\"}\n{\n", 207, "line 2: the event is not JSON"),
        ("POST", "/v1/events", &[NDJSON], "{\n{", 400, "line 1: "),
        ("POST", "/v1/events", &[NDJSON], "\n", 400, "the body holds no event"),
        ("POST", "/v1/events", &[NDJSON], &many_lines, 413, "too_large"),
        ("POST", "/v1/events?type=t", &["content-type: text/plain"], "anything", 202, "\"id\""),
        ("POST", "/v1/events?type=t&id=q&source=s&time=2026-11-22T10:30:00Z", &[], "anything", 202, "\"id\":\"q\""),
        ("POST", "/v1/events?type=t", &[], &large, 413, "too_large"),
        ("POST", "/v1/events?type=", &[], "x", 400, "type must not be empty"),
        ("POST", "/v1/events?typ=t", &[], "x", 400, "unknown parameter"),
        ("POST", "/v1/events?id=t", &[], "x", 400, "names no type"),
        ("POST", "/v1/events?type=t&type=u", &[], "x", 400, "twice"),
        ("POST", "/v1/events?type=t&time=now", &[], "x", 400, "RFC 3339"),
        ("POST", "/v1/events?type=a%0Ab", &[], "x", 400, "control characters"),
        ("POST", "/v1/events", &[], event, 415, "say what the body is"),
        ("POST", "/v1/events", &["content-type: application/x-www-form-urlencoded"], event, 415, "curl: --json"),
        ("POST", "/v1/events", &["content-type: text/plain"], event, 415, "?type=TYPE"),
        ("POST", "/v1/events", &[CLOUD], "{\"specversion\":\"1.0\",\"type\":\"t\",\"id\":\"c1\",\"source\":\"s\"}", 202, "{\"id\":\"c1\""),
        ("POST", "/v1/events", &[CLOUD], event, 400, "specversion is missing"),
        ("POST", "/v1/events", &["content-type: application/cloudevents-batch+json"], "[]", 202, "[]"),
        ("POST", "/v1/events", &["content-type: application/cloudevents+avro"], event, 415, "as JSON"),
        ("POST", "/v1/events", &[JSON, "ce-specversion: 1.0", "ce-id: c2", "ce-type: t", "ce-source: s"], event, 202, "{\"id\":\"c2\""),
        ("POST", "/v1/events", &[JSON, "ce-specversion: 1.0"], event, 400, "id is missing"),
        ("GET", "/v1/events", &[], "", 405, "POST"),
        ("PUT", "/v1/events", &[JSON], event, 405, "POST"),
        ("POST", "/", &[JSON], event, 404, "/v1/events"),
        ("POST", "/in/pgyer", &[JSON], event, 404, "there is no source \\\"pgyer\\\""),
        ("POST", "/v1/events", &[JSON, "origin: http://evil.example"], event, 403, "web pages"),
        ("POST", "/v1/events", &[JSON, "sec-fetch-site: cross-site"], event, 403, "forbidden"),
    ];
    let mut counted = 0;
    for (method, path, headers, body, status, part) in &table {
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let got = exchange(&mut connection, method, path, headers, body.as_bytes()).await;
        let shown = format!("{method} {path} {headers:?} {:.60}: {got:?}", body);
        assert_eq!(got.status, *status, "{shown}");
        assert!(got.body.contains(part) || got.headers.get("allow").is_some_and(|allow| allow == part), "{shown}");
        if *status >= 400 && !(headers.contains(&NDJSON) && *part == "line 1: ") {
            assert_eq!(got.headers["content-type"], "application/problem+json", "{shown}");
            let problem: Value = serde_json::from_str(&got.body).unwrap();
            assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(status)), "{shown}");
            assert_eq!(problem["detail"], problem["error"]["message"], "{shown}");
            assert!(problem["title"].is_string() && problem["error"]["code"].is_string(), "{shown}");
        }
        assert_eq!(got.headers.contains_key("allow"), *status == 405, "{shown}");
        let heard = house.store.refused();
        let lines = got.body.matches("{\"error\":").count().max(usize::from(*status >= 400));
        assert_eq!(heard.len() - counted, lines, "every refusal is counted once: {shown}");
        counted = heard.len();
    }
    assert!(table.len() > 30 && counted > 20);
}

#[tokio::test]
async fn any_body_is_an_event_with_type_in_the_query() {
    let house = House::start().await;
    let mut connection = TcpStream::connect(house.tcp(None).await).await.unwrap();
    let body = b"\x89PNG\r\n\x1a\n\0\xff";
    let path = "/v1/events?type=screen.shot&source=ci%2Fmac";
    exchange(&mut connection, "POST", path, &["content-type: image/png"], body).await;
    let event = house.store.last();
    assert_eq!((&event.raw[..], &*event.content_type), (&body[..], "image/png"));
    assert_eq!((&*event.kind, &*event.source, event.peer), ("screen.shot", "ci/mac", None));

    exchange(&mut connection, "POST", "/v1/events?type=t", &["content-type: application/json"], b"{\"a\":  1e2}").await;
    assert_eq!(house.store.last().raw, "{\"a\":  1e2}");
    assert_eq!(house.store.last().data()["a"], 100.0);
}

#[tokio::test]
async fn trouble_of_ours_asks_for_another_try() {
    let house = House::start().await;
    let mut connection = TcpStream::connect(house.tcp(None).await).await.unwrap();
    for (code, status) in [(Code::Busy, 429), (Code::Unavailable, 503), (Code::StorageFull, 507)] {
        house.store.refuse(Some(code));
        for (kind, body) in [
            ("content-type: application/json", "{\"type\":\"t\"}"),
            ("content-type: application/json", "[{\"type\":\"t\"},{\"type\":\"t\"}]"),
            ("content-type: application/x-ndjson", "{\"type\":\"t\"}\n{\n"),
        ] {
            let got = exchange(&mut connection, "POST", "/v1/events", &[kind], body.as_bytes()).await;
            assert_eq!((got.status, &got.headers["retry-after"][..]), (status, "1"), "{got:?}");
            assert!(got.body.contains(code.word()), "{got:?}");
        }
    }
    house.store.refuse(None);
    let got = exchange(&mut connection, "POST", "/v1/events?type=t", &[], b"x").await;
    assert_eq!((got.status, got.headers.contains_key("retry-after")), (202, false));
}

#[tokio::test]
async fn the_token_is_asked_for_while_there_is_one() {
    let house = House::start().await;
    let (token, watching) = watch::channel(Some(Secret::new("s3cret-token")));
    let address = house.tcp(Some(watching)).await;
    let mut connection = TcpStream::connect(&address).await.unwrap();
    for (header, status) in [
        ("x-no: token", 401),
        ("authorization: Bearer s3cret-token", 202),
        ("authorization: bearer  s3cret-token", 202),
        ("authorization: Bearer s3cret-toke", 401),
        ("authorization: Bearer s3cret-tokenX", 401),
        ("authorization: Bearer ", 401),
        ("authorization: Basic s3cret-token", 401),
        ("authorization: s3cret-token", 401),
    ] {
        let got = exchange(&mut connection, "POST", "/v1/events?type=t", &[header], b"x").await;
        assert_eq!(got.status, status, "{header}: {got:?}");
        assert_eq!(got.headers.contains_key("www-authenticate"), status == 401, "{header}");
        assert!(!got.body.contains("s3cret"), "{got:?}");
    }
    assert_eq!(exchange(&mut connection, "GET", "/v1/other", &[], b"").await.status, 401, "paths are not told");
    assert_eq!(exchange(&mut connection, "GET", "/healthz", &[], b"").await.status, 200);

    token.send_replace(Some(Secret::new("rotated")));
    let old = exchange(&mut connection, "POST", "/v1/events?type=t", &["authorization: Bearer s3cret-token"], b"x");
    assert_eq!(old.await.status, 401);
    let new = exchange(&mut connection, "POST", "/v1/events?type=t", &["authorization: Bearer rotated"], b"x");
    assert_eq!(new.await.status, 202);
    token.send_replace(None);
    assert_eq!(exchange(&mut connection, "POST", "/v1/events?type=t", &[], b"x").await.status, 202);
}

#[tokio::test]
async fn a_body_or_head_beyond_its_bound_is_refused() {
    let house = House::start().await;
    let address = house.tcp(None).await;
    let size = limits::HTTP_BODY + 1;
    let head = format!("POST /v1/events HTTP/1.1\r\nhost: x\r\n{JSON}\r\ncontent-length: {size}\r\n");
    let mut connection = TcpStream::connect(&address).await.unwrap();
    connection.write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(answer_of(&mut connection).await.status, 413, "before a byte of it was sent");

    let head = head.replace(&size.to_string(), "99999999999");
    let mut connection = TcpStream::connect(&address).await.unwrap();
    connection.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    assert_eq!(answer_of(&mut connection).await.status, 413, "before a byte of it was sent");

    let mut connection = TcpStream::connect(&address).await.unwrap();
    let got = exchange(&mut connection, "POST", "/v1/events", &[JSON], &vec![b' '; size]).await;
    assert_eq!(got.status, 413, "its sender could send it to its end");

    let mut connection = TcpStream::connect(&address).await.unwrap();
    let head = format!("POST /v1/events HTTP/1.1\r\nhost: x\r\n{JSON}\r\ntransfer-encoding: chunked\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..=limits::HTTP_BODY / 0x10000 {
        connection.write_all(&chunk).await.unwrap();
    }
    connection.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(answer_of(&mut connection).await.status, 413);
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut sent = 0;
    while connection.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
        assert!(sent < 2 * limits::HTTP_DISCARDED, "there is an end to patience");
    }

    let long = format!("x-long: {}", "x".repeat(limits::HTTP_HEAD));
    let mut connection = TcpStream::connect(&address).await.unwrap();
    assert_eq!(exchange(&mut connection, "GET", "/healthz", &[&long], b"").await.status, 431);
    let many: Vec<String> = (0..=limits::HTTP_HEADERS).map(|number| format!("x-{number}: a")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut connection = TcpStream::connect(&address).await.unwrap();
    assert_eq!(exchange(&mut connection, "GET", "/healthz", &many, b"").await.status, 431);
    assert_eq!(house.store.kinds().len(), 0);
}

#[tokio::test]
async fn expect_continue_is_answered() {
    let house = House::start().await;
    let mut connection = TcpStream::connect(house.tcp(None).await).await.unwrap();
    let head = "POST /v1/events?type=t HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    connection.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.write_all(b"body").await.unwrap();
    assert_eq!(answer_of(&mut connection).await.status, 202);
    assert_eq!(house.store.last().raw, "body");
}

/// The clock stands still while there is work, and leaps to the next timer when there is none.
#[tokio::test(start_paused = true)]
async fn dawdlers_are_sent_away_and_nobody_waits_for_them() {
    let house = House::start().await;
    let address = house.tcp(None).await;
    let began = tokio::time::Instant::now();
    let mut dawdlers = vec![];
    for _ in 0..300 {
        let mut connection = TcpStream::connect(&address).await.unwrap();
        connection.write_all(b"POST /v1/events HTTP/1.1\r\nx-slow: ").await.unwrap();
        dawdlers.push(tokio::spawn(async move {
            let (mut from, mut to) = connection.split();
            let drip = async {
                while to.write_all(b"a").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                }
                std::future::pending().await
            };
            let mut heard = vec![];
            tokio::select! {
                () = drip => {}
                _ = from.read_to_end(&mut heard) => {}
            }
            began.elapsed()
        }));
    }
    let mut healthy = TcpStream::connect(&address).await.unwrap();
    assert_eq!(exchange(&mut healthy, "POST", "/v1/events?type=t", &[], b"x").await.status, 202);
    for dawdler in dawdlers {
        let stayed = dawdler.await.unwrap();
        assert!(stayed >= limits::HEAD_TIMEOUT, "{stayed:?}");
        assert!(stayed <= limits::HEAD_TIMEOUT + Duration::from_secs(2), "{stayed:?}");
    }
    // Between requests there is more time than inside one.
    assert_eq!(exchange(&mut healthy, "POST", "/v1/events?type=t", &[], b"x").await.status, 202);
    let quiet = tokio::time::Instant::now();
    assert_eq!(healthy.read(&mut [0; 16]).await.unwrap_or(0), 0);
    let stayed = quiet.elapsed();
    assert!(stayed >= limits::IDLE_TIMEOUT && stayed < limits::IDLE_TIMEOUT + Duration::from_secs(1), "{stayed:?}");

    // Who connects and says nothing.
    let quiet = tokio::time::Instant::now();
    let mut silent = TcpStream::connect(&address).await.unwrap();
    assert_eq!(silent.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert!(quiet.elapsed() <= limits::IDLE_TIMEOUT + Duration::from_secs(1), "{:?}", quiet.elapsed());

    // Who sends a head and half a body.
    let quiet = tokio::time::Instant::now();
    let mut half = TcpStream::connect(&address).await.unwrap();
    half.write_all(b"POST /v1/events?type=t HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
    let got = answer_of(&mut half).await;
    assert_eq!(got.status, 400);
    assert!(got.body.contains("did not come within"), "{got:?}");
    assert!(quiet.elapsed() <= limits::BODY_TIMEOUT + Duration::from_secs(1), "{:?}", quiet.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_in_hand_may_take_its_time() {
    let house = House::start().await;
    let address = house.tcp(None).await;
    house.store.stall();
    let mut connection = TcpStream::connect(&address).await.unwrap();
    connection.write_all(b"POST /v1/events?type=t HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
    until(|| house.store.begun() == 1).await;
    tokio::time::sleep(limits::IDLE_TIMEOUT * 3).await;
    house.store.go_on();
    assert_eq!(answer_of(&mut connection).await.status, 202);
    assert_eq!(exchange(&mut connection, "GET", "/healthz", &[], b"").await.status, 200);
}

#[tokio::test]
async fn a_stop_finishes_the_request_in_hand() {
    let house = House::start().await;
    let address = house.tcp(None).await;
    house.store.stall();
    let mut idle = TcpStream::connect(&address).await.unwrap();
    assert_eq!(exchange(&mut idle, "GET", "/healthz", &[], b"").await.status, 200);
    let mut connection = TcpStream::connect(&address).await.unwrap();
    connection.write_all(b"POST /v1/events?type=t HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
    until(|| house.store.begun() == 1).await;
    house.stop.cancel();
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
    house.store.go_on();
    assert_eq!(answer_of(&mut connection).await.status, 202);
    assert_eq!(connection.read(&mut [0; 16]).await.unwrap(), 0);
    assert!(TcpStream::connect(&address).await.is_err());
}
