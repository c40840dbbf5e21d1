//! Hostile values in every place that an event can fill: the host never changes, no header is added, and what arrives
//! reads back as exactly the value; what cannot be sent is refused with a reason.
//!
//! 1,000 values, each at ten places. `POSTRIDER_VALUES=10000 cargo test --test it hostile -- --nocapture` is the long
//! form (a few minutes in a debug build), `POSTRIDER_SEED` repeats a run. A part goes through a daemon and over TCP.

mod places;
mod values;

use std::collections::BTreeMap;

use postrider::edges::client::Client;
use postrider::edges::config::Paths;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::{Given, Platforms};
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use postrider::words::exchange::Request;
use postrider::words::json::Exact;
use postrider::words::secret::Secrets;

use crate::support::{Daemon, receiver};
use places::{PLACES, Place, Seen};

/// What came of the values at one place.
#[derive(Default)]
struct Tally {
    arrived: usize,
    refused: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn count(&mut self, refused: Option<&'static str>) {
        match refused {
            None => self.arrived += 1,
            Some(why) => *self.refused.entry(why).or_default() += 1,
        }
    }
}

fn seed() -> u64 {
    std::env::var("POSTRIDER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"))
}

fn hook(place: &Place, url: &str) -> Hook {
    let text = place.file(url);
    let source = Source::new(format!("{}.yaml", place.name), text.as_str());
    let (hook, found) = Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
    hook.unwrap_or_else(|| panic!("{text}\n{}", found.iter().map(|one| one.render(false)).collect::<String>()))
}

fn render(hook: &Hook, event: &Event) -> Result<Request, String> {
    let secrets = Secrets::default();
    let given =
        Given { id: "j-1", attempt: 1, now: crate::examples::noon(), hook: &hook.name, event, secrets: &secrets };
    hook.render(&given).map_err(|error| error.to_string())
}

#[test]
fn nothing_that_an_event_says_leaves_its_place() {
    let count = std::env::var("POSTRIDER_VALUES").map_or(1_000, |count| count.parse().expect("a number"));
    let seed = seed();
    let hooks = PLACES.each_ref().map(|place| hook(place, places::BASE));
    // Two threads, each with values of its own.
    let halves: Vec<_> = std::thread::scope(|scope| {
        let run = |half: u64| {
            let hooks = &hooks;
            scope.spawn(move || {
                let mut source = values::Source::new(seed ^ half);
                let mut tallies: [Tally; PLACES.len()] = Default::default();
                for _ in 0..count / 2 {
                    let data = source.data();
                    let event = Event::new("hostile", Some("e".into()), data.clone(), crate::examples::noon());
                    let value = Exact::parse(data.as_bytes()).and_then(|data| data.get("v").cloned());
                    let value = value.unwrap_or_else(|| panic!("seed {seed}: {data} is no JSON"));
                    for ((place, hook), tally) in PLACES.iter().zip(hooks).zip(&mut tallies) {
                        let made = render(hook, &event);
                        let seen = made.as_ref().map(Seen::of_request).map_err(String::as_str);
                        tally.count(place.judge(&value, seen).unwrap_or_else(|wrong| {
                            panic!("seed {seed}, {}: {wrong}\n{}", place.name, values::shown(&data))
                        }));
                    }
                }
                tallies
            })
        };
        let both = [run(1), run(2)];
        both.map(|half| half.join().expect("no value out of its place")).into()
    });
    let (mut arrived, mut refused) = (0, 0);
    for (number, place) in PLACES.iter().enumerate() {
        let of_both = halves.iter().map(|half| &half[number]);
        let there: usize = of_both.clone().map(|tally| tally.arrived).sum();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for (why, times) in of_both.flat_map(|tally| &tally.refused) {
            *reasons.entry(why).or_default() += times;
        }
        arrived += there;
        refused += reasons.values().sum::<usize>();
        println!("{:12} {there} arrived, refused: {reasons:?}", place.name);
        assert!(there * 4 > count, "{}: only {there} of {count} values arrived", place.name);
    }
    println!(
        "{count} values, {arrived} arrived as they were, {refused} refused, host changed 0, header added 0, seed {seed}"
    );
    assert_eq!(arrived + refused, count / 2 * 2 * PLACES.len());
    assert!(refused * 20 > arrived, "the values are not hostile enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_none_does_on_its_way_over_tcp() {
    const VALUES: usize = 100;
    let seed = seed();
    let sink = receiver().await;
    let files: Vec<_> = PLACES.iter().map(|place| (place.name, place.file(&sink.url("")))).collect();
    let hooks: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let daemon = Daemon::start(&hooks).await;
    let mut source = values::Source::new(seed).shorter();
    let sent: Vec<String> = (0..VALUES).map(|_| source.data()).collect();
    let numbered = sent.iter().enumerate();
    let events: Vec<_> =
        numbered.map(|(id, data)| format!("{{\"type\":\"hostile\",\"id\":\"{id}\",\"data\":{data}}}")).collect();
    let client = Client::new(&Paths::here(daemon.folder.path()).emit);
    let body = format!("[{}]", events.join(",")).into_bytes();
    let (status, _) = client.request(http::Method::POST, "/v1/events", Some(body)).await.expect("an answer");
    assert_eq!(status, 202);

    // By hook and event: what the journal says, and what came.
    let mut refused: BTreeMap<(String, usize), String> = BTreeMap::new();
    for place in &PLACES {
        let rows =
            daemon.until(place.name, |rows| rows.len() == VALUES && rows.iter().all(|row| row.outcome != "waiting"));
        for row in rows.await.into_iter().filter(|row| row.outcome == "dead") {
            refused.insert((row.hook, row.event.parse().expect("a number")), row.why);
        }
    }
    let mut came: BTreeMap<(String, usize), Seen> = BTreeMap::new();
    for record in sink.records() {
        let seen = Seen::of_record(&record);
        let by: Vec<_> =
            seen.header("x-by").expect("every hook says who it is").splitn(2, ' ').map(str::to_owned).collect();
        came.insert((by[0].clone(), by[1].parse().expect("a number")), seen);
    }
    let (mut arrived, mut held_back) = (0, 0);
    for (number, data) in sent.iter().enumerate() {
        let value = Exact::parse(data.as_bytes()).and_then(|data| data.get("v").cloned()).expect("a value");
        for place in &PLACES {
            let key = (place.name.to_owned(), number);
            let seen = match (came.get(&key), refused.get(&key)) {
                (Some(seen), None) => Ok(seen.clone()),
                (None, Some(why)) => Err(why.as_str()),
                other => panic!("{key:?}: {other:?}"),
            };
            let judged = place.judge(&value, seen);
            match judged.unwrap_or_else(|wrong| panic!("seed {seed}, {key:?}: {wrong}\n{}", values::shown(data))) {
                None => arrived += 1,
                Some(_) => held_back += 1,
            }
        }
    }
    println!("{VALUES} values over TCP, {arrived} arrived as they were, {held_back} refused, seed {seed}");
    assert_eq!(sink.count() as usize, arrived, "one request for each value that can be sent");
    daemon.stop().await;
}

/// A check of the checks: a value out of its place is noticed.
#[test]
fn a_value_out_of_its_place_is_noticed() {
    let value = Exact::parse(br#""a&b\r\nX: y""#).expect("JSON");
    for place in &PLACES {
        let hook = hook(place, places::BASE);
        let event = |value: &str| {
            let data = serde_json::json!({ "v": value }).to_string();
            Event::new("hostile", Some("e".into()), data, crate::examples::noon())
        };
        let other = render(&hook, &event("a&b")).expect("a harmless value is sent");
        assert!(place.judge(&value, Ok(Seen::of_request(&other))).is_err(), "{}: another value", place.name);
        let harmless = Exact::String("a&b".into());
        assert_eq!(place.judge(&harmless, Ok(Seen::of_request(&other))), Ok(None), "{}", place.name);
        assert!(place.judge(&harmless, Err("no")).is_err(), "{}: refused without need", place.name);
        let mut elsewhere = Seen::of_request(&other);
        elsewhere.url = elsewhere.url.replace("127.0.0.1", "127.0.0.2");
        assert!(place.judge(&harmless, Ok(elsewhere)).is_err(), "{}: another host", place.name);
        let mut more = Seen::of_request(&other);
        more.headers.push(("x-evil".into(), "1".into()));
        assert!(place.judge(&harmless, Ok(more)).is_err(), "{}: another header", place.name);
    }
}
