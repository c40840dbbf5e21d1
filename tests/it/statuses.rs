//! Every HTTP status has the verdict that the README gives it: by the rule, and over the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use postrider::edges::send::Sender;
use postrider::rules::answer::by_status;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::settings::{Defaults, Network};
use postrider::words::exchange::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The table of the README: each status with its verdict.
fn documented() -> BTreeMap<u16, String> {
    let text = include_str!("../../README.md");
    let table = text.split("| status | verdict | why |").nth(1).expect("the table").split("\n\n").next().unwrap();
    let mut verdicts = BTreeMap::new();
    for row in table.lines().skip(2).filter(|row| row.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for range in cells[1].split(", ") {
            let (first, last) = range.split_once('–').unwrap_or((range, range));
            for status in first.parse::<u16>().unwrap()..=last.parse().unwrap() {
                let before = verdicts.insert(status, cells[2].to_owned());
                assert_eq!(before, None, "{status} stands twice in the table");
            }
        }
    }
    verdicts
}

#[test]
fn every_status_has_its_documented_verdict() {
    let documented = documented();
    assert_eq!(documented.keys().copied().collect::<Vec<_>>(), (100..=599).collect::<Vec<_>>());
    for (status, verdict) in &documented {
        assert_eq!(by_status(*status, None).word(), verdict, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_gets_it_over_the_wire() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut request).await {
                    let text = String::from_utf8_lossy(&request[..length]).into_owned();
                    let status = text.split([' ', '/', '?']).find_map(|word| word.parse::<u16>().ok()).unwrap();
                    let body = if matches!(status, 204 | 304) { "" } else { "Content-Length: 0\r\n" };
                    let answer = format!("HTTP/1.1 {status} X\r\n{body}\r\n");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let text = "events: [a]\nplatform: webhook\noptions: {url: http://h.example/}\n";
    let hook = Hook::parse(&Source::new("h.yaml", text), &Platforms::built_in(), &Defaults::default()).0.unwrap();
    let sender = Sender::new(Network::default());
    let mut looked = 0;
    for (status, verdict) in documented().range(200..) {
        let request = Request {
            method: Method::POST,
            url: format!("http://{address}/{status}"),
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"{}"),
        };
        let answer = sender.send(&request, Duration::from_secs(20)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(answer.status, *status);
        let judged = hook.verdict(&answer, Timestamp::UNIX_EPOCH, |_, why| panic!("{why}"));
        assert_eq!(judged.verdict.word(), verdict, "{status}");
        looked += 1;
    }
    println!("{looked} statuses over the wire, each with its documented verdict");
    assert_eq!(looked, 400);
}
