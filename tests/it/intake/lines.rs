//! NDJSON on the emit socket: a line is taken or refused on its own.

use std::time::Duration;

use postrider::edges::intake::Code;
use postrider::words::event::Peer;
use postrider::words::limits;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::house::{House, Session, until};

#[tokio::test]
async fn a_bad_line_is_refused_and_the_session_goes_on() {
    let deep = format!("{{\"type\":\"t\",\"data\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let brackets = format!("{{\"type\":\"t\",\"data\":{}", "[".repeat(900_000));
    let long = "x".repeat(limits::NAME + 1);
    let long_type = format!("{{\"type\":\"{long}\"}}");
    let long_id = format!("{{\"type\":\"t\",\"id\":\"{long}\"}}");
    let huge = format!("{{\"type\":\"t\",\"data\":\"{}\"}}", "x".repeat(limits::EVENT));
    let cases: Vec<(&[u8], &str, &str)> = vec![
        (b"{", "bad_event", "ends too early"),
        (b"{\"type\":\"t\"", "bad_event", "ends too early"),
        (b"nonsense", "bad_event", "JSON object such as"),
        (b"NaN", "bad_event", "JSON object such as"),
        (b"5", "bad_event", "JSON object such as"),
        (b"[]", "bad_event", "an array is not an event"),
        (b"[{\"type\":\"t\"}]", "bad_event", "an array is not an event"),
        (b"{}", "bad_event", "has no type"),
        (b"{'type':'t'}", "bad_event", "(column 2)"),
        (b"{\"type\":\"t\",}", "bad_event", "(column 13)"),
        (b"{\"type\":\"t\"} {\"type\":\"t\"}", "bad_event", "trailing characters"),
        (b"\xef\xbb\xbf{\"type\":\"t\"}", "bad_event", "byte order mark"),
        (b"{\"type\":\"\xff\"}", "bad_event", "not UTF-8: byte 10"),
        (b"{\"type\":\"t\",\"data\":\"\xc3\"}", "bad_event", "not UTF-8: byte 21"),
        (b"{\"type\":\"t\",\"data\":\"a\0b\"}", "bad_event", "control character"),
        (b"\0\0\0", "bad_event", "JSON object such as"),
        (b"{\"type\":\"t\",\"data\":\"\\ud800\"}", "bad_event", "(column "),
        (b"{\"type\":\"\\udc00\"}", "bad_event", "(column "),
        (b"{\"type\":\"t\",\"data\":NaN}", "bad_event", "(column 20)"),
        (b"{\"type\":\"t\",\"data\":Infinity}", "bad_event", "(column 20)"),
        (b"{\"type\":\"t\",\"type\":\"u\"}", "bad_event", "type is there twice"),
        (b"{\"type\":\"t\",\"data\":1,\"data\":2}", "bad_event", "data is there twice"),
        (b"{\"type\":5}", "bad_event", "type must be a text, not a number"),
        (b"{\"type\":true}", "bad_event", "type must be a text, not true or false"),
        (b"{\"type\":{}}", "bad_event", "type must be a text, not an object"),
        (b"{\"type\":null}", "bad_event", "has no type"),
        (b"{\"type\":\"\"}", "bad_event", "type must not be empty"),
        (b"{\"type\":\"a\\nb\"}", "bad_event", "type must not contain control characters"),
        (long_type.as_bytes(), "bad_event", "type is longer than 256 bytes"),
        (long_id.as_bytes(), "bad_event", "id is longer than 256 bytes"),
        (b"{\"type\":\"t\",\"id\":\"\"}", "bad_event", "id must not be empty"),
        (b"{\"type\":\"t\",\"id\":7}", "bad_event", "id must be a text, not a number"),
        (b"{\"type\":\"t\",\"source\":[]}", "bad_event", "source must be a text, not an array"),
        (b"{\"type\":\"t\",\"time\":\"yesterday\"}", "bad_event", "such as 2026-11-22T10:30:00Z"),
        (b"{\"type\":\"t\",\"time\":\"2026-11-22T10:30:00\"}", "bad_event", "with its zone"),
        (b"{\"type\":\"t\",\"time\":1763800000}", "bad_event", "time must be a text"),
        (b"{\"type\":\"t\",\"dta\":1}", "bad_event", "did you mean data?"),
        (b"{\"Type\":\"t\"}", "bad_event", "did you mean type?"),
        (b"{\"type\":\"t\",\"title\":1}", "bad_event", "put the rest in data"),
        (b"{\"specversion\":\"1.0\",\"type\":\"t\"}", "bad_event", "CloudEvent"),
        (deep.as_bytes(), "bad_event", "nested too deeply"),
        (brackets.as_bytes(), "bad_event", "ends too early"),
        (huge.as_bytes(), "too_large", "at most 1048576 bytes"),
    ];
    let house = House::start().await;
    let mut session = house.session().await;
    for (number, (line, code, part)) in cases.iter().enumerate() {
        session.send(line).await;
        session.send(format!("\n{{\"type\":\"good\",\"id\":\"{number}\"}}\n").as_bytes()).await;
        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]);
        let refused = session.answer().await;
        assert_eq!(refused["error"]["code"], *code, "{shown}: {refused}");
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{shown}: {message}");
        assert!(!message.contains("serde") && !message.contains("invalid type"), "{message}");
        assert_eq!(session.answer().await["id"], number.to_string(), "after {shown}");
    }
    assert!(cases.len() > 40);
    assert_eq!(house.store.kinds(), vec!["good"; cases.len()]);
}

#[tokio::test]
async fn the_bytes_of_data_are_kept_as_they_were_written() {
    let house = House::start().await;
    let mut session = house.session().await;
    for data in [
        r#"{"b": 1,  "a":[1.50, 123456789012345678901234567890],"b":2}"#,
        r#""é \u00e9 \ud83d\ude00 \/""#,
        "null",
        "-0.0",
        "[ ]",
    ] {
        session.send(format!("{{ \"data\" : {data} , \"type\":\"t\"}}\r\n").as_bytes()).await;
        assert_eq!(session.answer().await["hooks"], json!(["a", "b"]));
        assert_eq!(house.store.last().raw, data);
    }
    session.send(b"\n  \n\r\n{\"type\":\"\\u0074\",\"id\":null}\n").await;
    assert!(session.answer().await["id"].as_str().unwrap().len() > 20);
    assert_eq!((&house.store.last().raw[..], &*house.store.last().kind), (&b"null"[..], "t"));

    session.send(br#"{"type":"t","id":"i","source":"s","time":"2026-11-22T10:30:00+08:00"}"#).await;
    session.send(b"\n").await;
    session.answer().await;
    let event = house.store.last();
    assert_eq!((&*event.id, &*event.source, event.time.to_string()), ("i", "s", "2026-11-22T02:30:00Z".to_owned()));
    let me = Peer {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        pid: Some(std::process::id() as i32),
    };
    assert_eq!(event.peer, Some(me));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_in_the_order_of_the_lines() {
    let house = House::start().await;
    let (from, mut to) = UnixStream::connect(&house.path).await.unwrap().into_split();
    let count = 20_000;
    let sending = tokio::spawn(async move {
        let mut text = vec![];
        for number in 0..count {
            match number % 7 {
                3 => text.extend_from_slice(b"{\"type\":\n"),
                5 => text.extend_from_slice(b"{\"type\":\"t\",\"id\":\"same\"}\n\n"),
                _ => text.extend_from_slice(format!("{{\"type\":\"t\",\"id\":\"{number}\"}}\n").as_bytes()),
            }
        }
        // Pieces that end anywhere but at the end of a line.
        for piece in text.chunks(4093) {
            to.write_all(piece).await.unwrap();
        }
        to.shutdown().await.unwrap();
    });
    let mut answers = BufReader::new(from).lines();
    for number in 0..count {
        let answer: Value = serde_json::from_str(&answers.next_line().await.unwrap().unwrap()).unwrap();
        match number % 7 {
            3 => assert_eq!(answer["error"]["code"], "bad_event", "{number}: {answer}"),
            5 => assert_eq!((&answer["id"], &answer["duplicate"]), (&json!("same"), &json!(number != 5))),
            _ => assert_eq!((&answer["id"], &answer["duplicate"]), (&json!(number.to_string()), &json!(false))),
        }
    }
    assert_eq!(answers.next_line().await.unwrap(), None);
    sending.await.unwrap();
    let calls = house.store.calls();
    assert!(calls < count / 4, "lines that come together are stored together: {calls} calls");
}

#[tokio::test]
async fn who_sends_without_waiting_is_slowed_and_served() {
    let house = House::start().await;
    house.store.stall();
    let (mut from, mut to) = UnixStream::connect(&house.path).await.unwrap().into_split();
    let line = format!("{{\"type\":\"t\",\"data\":\"{}\"}}\n", "x".repeat(1000));
    let count = 3000;
    let sending = tokio::spawn(async move {
        for _ in 0..count {
            to.write_all(line.as_bytes()).await.unwrap();
        }
        to
    });
    // Everything that may be outstanding is; then nobody reads on.
    until(|| house.store.begun() > limits::PIPELINE - limits::GROUP).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(house.store.begun() <= limits::PIPELINE);
    assert!(!sending.is_finished(), "the sender feels it");

    house.store.go_on();
    let mut answers = BufReader::new(&mut from).lines();
    for _ in 0..count {
        assert!(answers.next_line().await.unwrap().unwrap().contains("\"id\""));
    }
    sending.await.unwrap();
    assert_eq!(house.store.kinds().len(), count);
}

#[tokio::test]
async fn who_does_not_read_answers_is_not_read_for_ever() {
    let house = House::start().await;
    let mut stream = UnixStream::connect(&house.path).await.unwrap();
    let line = format!("{{\"type\":\"t\",\"id\":\"{}\"}}\n", "i".repeat(200));
    let mut sent = 0;
    while let Ok(wrote) = tokio::time::timeout(Duration::from_millis(500), stream.write_all(line.as_bytes())).await {
        wrote.unwrap();
        sent += 1;
        assert!(sent < 100_000, "no bound");
    }
    assert!(house.store.kinds().len() <= sent);
}

#[tokio::test]
async fn who_leaves_early_loses_nothing() {
    let house = House::start().await;
    let mut stream = UnixStream::connect(&house.path).await.unwrap();
    for _ in 0..500 {
        stream.write_all(b"{\"type\":\"t\"}\n").await.unwrap();
    }
    stream.write_all(b"{\"type\":\"last\"}").await.unwrap();
    drop(stream);
    until(|| house.store.kinds().len() == 501).await;
    assert_eq!(house.store.last().kind, "last", "a last line without its line break is an event");
}

#[tokio::test]
async fn a_line_beyond_the_bound_is_answered_before_it_ends() {
    let house = House::start().await;
    let mut session = house.session().await;
    session.send(b"{\"type\":\"").await;
    for _ in 0..40 {
        session.send(&[b'x'; 64 * 1024]).await;
    }
    assert_eq!(session.answer().await["error"]["code"], "too_large");
    session.send(b"\"}\n{\"type\":\"next\",\"id\":\"n\"}\n").await;
    assert_eq!(session.answer().await["id"], "n");
    assert_eq!(house.store.kinds(), ["next"]);
}

#[tokio::test]
async fn a_refusal_of_the_store_is_the_answer() {
    let house = House::start().await;
    let mut session = house.session().await;
    for code in [Code::Busy, Code::StorageFull, Code::Unavailable] {
        house.store.refuse(Some(code));
        session.send(b"{\"type\":\"t\"}\n").await;
        assert_eq!(session.answer().await["error"]["code"], code.word());
    }
    house.store.refuse(None);
    session.send(b"{\"type\":\"t\",\"id\":\"x\"}\n").await;
    assert_eq!(session.answer().await["id"], "x");
    house.store.panic();
    session.send(b"{\"type\":\"t\"}\n").await;
    let lost = session.answer().await;
    assert_eq!(lost["error"]["code"], "unavailable", "{lost}");
    assert_eq!(house.store.refused(), ["busy", "storage_full", "unavailable", "unavailable"]);
}

#[tokio::test]
async fn a_stop_answers_what_is_outstanding() {
    let house = House::start().await;
    house.store.stall();
    let mut session = house.session().await;
    session.send(b"{\"type\":\"t\",\"id\":\"1\"}\n{\"type\":\"t\",\"id\":\"2\"}\n").await;
    until(|| house.store.begun() == 2).await;
    house.stop.cancel();
    house.store.go_on();
    assert_eq!(session.answer().await["id"], "1");
    assert_eq!(session.answer().await["id"], "2");
    assert_eq!(session.rest().await, "");
    house.serving.await.unwrap();
    assert!(UnixStream::connect(&house.path).await.is_err());
}

#[tokio::test]
async fn a_full_house_says_so() {
    let house = House::start().await;
    let mut guests = vec![];
    for _ in 0..limits::CONNECTIONS {
        guests.push(UnixStream::connect(&house.path).await.unwrap());
    }
    let mut late = Session::new(UnixStream::connect(&house.path).await.unwrap());
    assert_eq!(late.answer().await["error"]["code"], "busy");
    assert_eq!(late.rest().await, "");

    let first = guests.remove(0);
    let mut served = Session::new(first);
    served.send(b"{\"type\":\"t\",\"id\":\"x\"}\n").await;
    assert_eq!(served.answer().await["id"], "x", "those inside are served");
    drop(served);
    // Its place is free as soon as the daemon has seen it leave.
    loop {
        let mut next = Session::new(UnixStream::connect(&house.path).await.unwrap());
        next.send(b"{\"type\":\"t\",\"id\":\"y\"}\n").await;
        if next.answer().await["id"] == "y" {
            break;
        }
    }
}
