//! Bad neighbours: one hook's receiver hangs, one is flooded with thousands of events, one resets every connection, one
//! cannot render anything. A healthy hook beside them is as fast as without them, in the same run: quiet and loud
//! times take turns, and the medians of their 99th percentiles are compared.
//!
//! `POSTRIDER_ISOLATION_ROUNDS=9` with a release build is the long form, which holds the loud p99 within 20 % of the quiet
//! one. On a busy machine a short run proves only that nothing waits for its neighbours.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::beat::Beat;
use super::{Over, percentile, rounds};
use crate::process::{Process, await_that};
use crate::support::{PATIENCE, write_hook};

/// What a receiver takes for its answer: one in the same country.
const TAKES: Duration = Duration::from_millis(50);
const EVERY: Duration = Duration::from_millis(10);

#[test]
fn bad_neighbours_do_not_slow_a_healthy_hook() {
    let long = std::env::var_os("POSTRIDER_ISOLATION_ROUNDS").is_some();
    let (rounds, count) = (rounds("POSTRIDER_ISOLATION_ROUNDS", 1), if long { 500 } else { 100 });
    let beat = Beat::start(TAKES, false);
    let flooded = Beat::start(Duration::ZERO, false);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a port");
    let resetting = resetting();
    let hook = |kind: &str, port: u16, more: &str| {
        format!(
            "events: [{kind}]\nplatform: webhook\nretry: {{first: 1s, max: 2s}}\n{more}options:\n  url: http://127.0.0.1:{port}/\n"
        )
    };
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    write_hook(folder.path(), "healthy", &beat.hook("127.0.0.1"));
    write_hook(folder.path(), "hanging", &hook("loud", port(&hanging), "timeout: 5s\n"));
    write_hook(folder.path(), "flooded", &hook("flood", flooded.address.port(), ""));
    write_hook(folder.path(), "crashing", &hook("loud", resetting, "breaker: false\n"));
    let broken = "  text: \"{{ data.nothing.at.all }}\"\n";
    write_hook(folder.path(), "broken", &(hook("loud", port(&hanging), "") + broken));
    let mut daemon = Process::start(folder.path());
    daemon.await_ready();
    beat.measure(folder.path(), 50, EVERY);

    let (mut quiet, mut loud, mut flood) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        quiet.push(beat.measure(folder.path(), count, EVERY));
        let noise = Noise::default();
        loud.push(std::thread::scope(|scope| {
            scope.spawn(|| noise.make(folder.path()));
            let _over = Over(&noise.over);
            beat.measure(folder.path(), count, EVERY)
        }));
        flood += noise.made.load(Ordering::SeqCst);
        // The next quiet time begins when the flood is over; what hangs and crashes waits on.
        await_that("the flood is delivered", || {
            let lanes = daemon.get("/v1/status").map(|status| status["hooks"].clone());
            lanes.and_then(|lanes| {
                let all = lanes.as_array()?.clone();
                all.iter().find(|lane| lane["hook"] == "flooded")?["waiting"].as_u64()
            }) == Some(0)
        });
    }
    let median = |phases: &[Vec<Duration>], percent: usize| {
        let mut all: Vec<Duration> = phases.iter().map(|phase| percentile(phase, percent)).collect();
        all.sort();
        all[all.len() / 2]
    };
    let (before, among) = (median(&quiet, 99), median(&loud, 99));
    let more = among.as_secs_f64() / before.as_secs_f64() - 1.0;
    println!(
        "{rounds} rounds of {count} events: healthy p50 {:?} quiet, {:?} among one that hangs, one that crashes, one that \
         cannot render and one with {flood} events; p99 {before:?} quiet, {among:?} loud: {:+.1} %",
        median(&quiet, 50),
        median(&loud, 50),
        more * 100.0
    );
    assert!(flood > rounds * 50, "only {flood} events: there was no flood");
    let allowed = if long { 0.2 } else { 20.0 };
    assert!(more <= allowed, "the healthy hook is {:.0} % slower", more * 100.0);
    assert!(daemon.stop().success(), "{}", daemon.log());
}

/// What goes on beside the healthy hook.
#[derive(Default)]
struct Noise {
    over: AtomicBool,
    made: AtomicUsize,
}

impl Noise {
    /// A few events for those that hang, crash or cannot render, and as many as it can for the one that is flooded.
    fn make(&self, folder: &Path) {
        let stream = UnixStream::connect(folder.join(".postrider/emit.sock")).expect("the emit socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        let mut line = BufReader::new(stream);
        while !self.over.load(Ordering::SeqCst) {
            let burst = 64;
            let mut text = "{\"type\":\"loud\",\"data\":{}}\n".to_owned();
            (0..burst).for_each(|_| text.push_str("{\"type\":\"flood\",\"data\":{}}\n"));
            line.get_mut().write_all(text.as_bytes()).expect("it is read");
            for _ in 0..=burst {
                let mut answer = String::new();
                line.read_line(&mut answer).expect("an answer");
                assert!(answer.contains("\"id\""), "{answer}");
            }
            self.made.fetch_add(burst, Ordering::SeqCst);
        }
    }
}

/// The port of a receiver that resets every connection.
fn resetting() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // What came and was not read makes a reset of the close.
            let _something = stream.peek(&mut [0; 1]);
        }
    });
    port
}
