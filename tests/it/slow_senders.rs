//! Hundreds of senders that hardly send: whoever sends properly does not notice, and they are cut off in their time.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use postrider::words::limits;
use serde_json::json;

use crate::process::{Process, await_that};
use crate::support::write_hook;

const SLOW: usize = 500;

#[test]
fn slow_senders_hold_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    write_hook(folder.path(), "one", "events: [b]\nplatform: webhook\noptions: {url: http://h.example/}\n");
    fs::write(folder.path().join("postrider.yaml"), "listen: {http: \"127.0.0.1:0\"}\n").unwrap();
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    let address = daemon.get("/v1/status").unwrap()["listen"]["http"].as_str().expect("an address").to_owned();
    let before = daemon.peak();

    let began = Instant::now();
    let mut slow: Vec<TcpStream> = (0..SLOW)
        .map(|number| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.set_nonblocking(true).unwrap();
            // Some have not even begun.
            if number % 3 > 0 {
                stream.write_all(b"POST /v1/events?type=a HTTP/1.1\r\nhost: x\r\nx-slow: ").unwrap();
            }
            stream
        })
        .collect();
    let mut took: Vec<Duration> = (0..300)
        .map(|number| {
            for stream in slow.iter_mut().skip(number % 25).step_by(25) {
                let _cut_off = stream.write(b"a");
            }
            let asked = Instant::now();
            assert!(daemon.emit(&json!({"type": "a", "data": {}})).is_some(), "{}", daemon.log());
            asked.elapsed()
        })
        .collect();
    took.sort();
    let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);

    let begun = SLOW - SLOW.div_ceil(3);
    let mut cut = 0;
    await_that("whoever began a head and did not end it is cut off", || {
        slow.retain_mut(|stream| {
            let gone = matches!(stream.read(&mut [0; 1024]), Ok(0)) || stream.write(b"a").is_err();
            cut += usize::from(gone);
            !gone
        });
        cut >= begun
    });
    let after = began.elapsed();
    let grown = daemon.peak().saturating_sub(before);
    println!(
        "{SLOW} slow senders: a healthy one waits {median:?} (median), {p99:?} (p99); {begun} cut off after {after:?}; memory grew by {grown} KiB"
    );
    assert!(p99 < Duration::from_secs(2), "{p99:?}");
    assert!(after < limits::HEAD_TIMEOUT * 3, "{after:?}");
    assert!(grown < 32 * 1024, "the daemon grew by {grown} KiB");
    assert!(daemon.stop().success(), "{}", daemon.log());
}
