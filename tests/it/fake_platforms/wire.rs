//! The sink over real connections: what it keeps, what it hides, and how it breaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postrider::edges::sink::{
    Behaviour, BotOptions, Failing, Fault, Limit, Platform, Sink, SinkHandle, SinkOptions, Step,
};
use postrider::words::secret::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{at, hello};

const SOON: Duration = Duration::from_secs(20);

/// What came back before the connection ended, and whether it ended as it should.
pub(super) struct Came {
    text: String,
    error: Option<std::io::ErrorKind>,
}

impl Came {
    fn status(&self) -> u16 {
        self.text.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {:?}", self.text))
    }

    fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {:?}", self.text)).1
    }

    fn content_length(&self) -> usize {
        let head = self.text.to_ascii_lowercase();
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap()
    }
}

pub(super) async fn post(addr: SocketAddr, target: &str, body: &str) -> Came {
    request(addr, "POST", target, "content-type: application/json\r\n", body.as_bytes()).await
}

async fn request(addr: SocketAddr, method: &str, target: &str, headers: &str, body: &[u8]) -> Came {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    let mut bytes = Vec::new();
    let error = async {
        stream.write_all(&[head.as_bytes(), body].concat()).await?;
        stream.read_to_end(&mut bytes).await
    }
    .await
    .err()
    .map(|error| error.kind());
    Came { text: String::from_utf8(bytes).unwrap(), error }
}

async fn dingtalk() -> SinkHandle {
    Sink::start(SinkOptions { platform: Platform::Dingtalk, ..SinkOptions::default() }).await.unwrap()
}

async fn send(sink: &SinkHandle) -> Came {
    post(sink.addr, "/robot/send?access_token=T0K3N", &hello(Platform::Dingtalk).to_string()).await
}

async fn requests(sink: &SinkHandle) -> Value {
    serde_json::from_str(request(sink.addr, "GET", "/__fake/requests", "", b"").await.body()).unwrap()
}

#[tokio::test]
async fn what_came_is_kept_and_shown_without_its_secrets() {
    let options = BotOptions { secret: Some(Secret::new("SECx")), ..BotOptions::default() };
    let clock = Arc::new(|| at(1_700_000_000));
    let sink =
        Sink::start(SinkOptions { platform: Platform::Dingtalk, default: options, clock, ..SinkOptions::default() })
            .await
            .unwrap();
    let target = "/robot/send?access_token=T0K3N&timestamp=1700000000000&sign=S1GN";
    let headers = "content-type: application/json\r\nX-B: 2\r\nX-A: 1\r\nAuthorization: Bearer B34R3R\r\n";
    let came = request(sink.addr, "POST", target, headers, b"{\"msgtype\":\"text\"}\n").await;
    assert_eq!(came.body(), r#"{"errcode":310000,"errmsg":"sign not match"}"#);

    let record = &sink.records()[0];
    assert_eq!((record.request.target.as_str(), &record.request.body[..]), (target, &b"{\"msgtype\":\"text\"}\n"[..]));
    let names: Vec<&str> = record.request.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names[3..], ["content-type", "x-b", "x-a", "authorization"]);

    let shown = requests(&sink).await;
    let row = &shown["requests"][0];
    assert_eq!((&row["code"], &row["accepted"], &row["status"]), (&json!(310_000), &json!(false), &json!(200)));
    assert_eq!(row["time"], "2023-11-14T22:13:20.000000Z");
    assert!(row["target"].as_str().unwrap().starts_with("/robot/send?access_token=#"));
    assert!(row["why"].as_str().unwrap().contains("does not fit"));
    for secret in ["T0K3N", "S1GN", "SECx", "B34R3R"] {
        assert!(!shown.to_string().contains(secret), "{secret}");
    }
    request(sink.addr, "DELETE", "/__fake/requests", "", b"").await;
    assert_eq!(requests(&sink).await["requests"], json!([]));
    sink.stop().await;
}

#[tokio::test]
async fn a_file_goes_up_and_out() {
    let sink = Sink::start(SinkOptions { platform: Platform::Wecom, ..SinkOptions::default() }).await.unwrap();
    let form = b"--b0\r\nContent-Disposition: form-data; name=\"media\"; filename=\"notes.txt\"; filelength=6\r\n\
        Content-Type: application/octet-stream\r\n\r\n\x00\xff\r\n\x01\x02\r\n--b0--\r\n";
    let up = request(
        sink.addr,
        "POST",
        "/cgi-bin/webhook/upload_media?key=K&type=file",
        "content-type: multipart/form-data; boundary=b0\r\n",
        form,
    )
    .await;
    let answer: Value = serde_json::from_str(up.body()).unwrap();
    assert_eq!(answer["errcode"], 0, "{answer}");
    let file = json!({"msgtype": "file", "file": {"media_id": answer["media_id"]}}).to_string();
    assert_eq!(post(sink.addr, "/cgi-bin/webhook/send?key=K", &file).await.body(), r#"{"errcode":0,"errmsg":"ok"}"#);
    let other = post(sink.addr, "/cgi-bin/webhook/send?key=L", &file).await;
    assert!(other.body().starts_with(r#"{"errcode":40007,"#), "{}", other.text);
    let shown = requests(&sink).await;
    assert!(shown["requests"][0]["body_base64"].is_string());
    sink.stop().await;
}

#[tokio::test]
async fn a_script_is_played_over_http() {
    let sink = dingtalk().await;
    let script = json!([
        {"status": 503, "times": 2, "body": "later"},
        {"status": 307, "headers": {"location": "http://127.0.0.1:1/"}},
        {"code": 430_101, "message": "含有不安全的外链"},
    ]);
    assert_eq!(post(sink.addr, "/__fake/script", &script.to_string()).await.body(), "{\"steps\":3}\n");
    for _ in 0..2 {
        let came = send(&sink).await;
        assert_eq!((came.status(), came.body()), (503, "later"));
    }
    let came = send(&sink).await;
    assert!(came.status() == 307 && came.text.contains("location: http://127.0.0.1:1/\r\n"));
    assert_eq!(send(&sink).await.body(), r#"{"errcode":430101,"errmsg":"含有不安全的外链"}"#);
    assert_eq!(send(&sink).await.body(), r#"{"errcode":0,"errmsg":"ok"}"#);
    for bad in [r#"{"fault":"melt"}"#, r#"{"stauts":503}"#, "no json", r#"[{"status":503},{"status":42}]"#] {
        assert_eq!(post(sink.addr, "/__fake/script", bad).await.status(), 400, "{bad}");
    }
    assert_eq!(send(&sink).await.status(), 200, "a bad script is not played in part");
    sink.stop().await;
}

#[tokio::test]
async fn every_fault_breaks_the_wire_in_its_own_way() {
    let sink = dingtalk().await;
    let ok = r#"{"errcode":0,"errmsg":"ok"}"#;
    let mut accepted = 0;
    for fault in [
        Fault::CloseBeforeBody,
        Fault::CloseAfterBody,
        Fault::Reset,
        Fault::Html,
        Fault::AcceptAndDrop,
        Fault::ResetMidAnswer,
        Fault::TruncatedJson,
        Fault::WrongLength,
        Fault::Oversized,
        Fault::Drip,
    ] {
        sink.script(Step::fault(fault)).unwrap();
        let came = send(&sink).await;
        match fault {
            Fault::CloseBeforeBody => assert_eq!(came.text, ""),
            Fault::CloseAfterBody | Fault::AcceptAndDrop => assert_eq!((came.text.as_str(), came.error), ("", None)),
            Fault::Reset => assert_eq!(came.error, Some(std::io::ErrorKind::ConnectionReset)),
            Fault::Html => assert!(came.status() == 200 && came.body().starts_with("<!DOCTYPE html>")),
            Fault::ResetMidAnswer => {
                assert_eq!(came.error, Some(std::io::ErrorKind::ConnectionReset));
                assert!(came.text.is_empty() || came.body() == &ok[..ok.len() / 2], "{}", came.text);
            }
            Fault::TruncatedJson => {
                assert_eq!((came.body(), came.content_length()), (&ok[..ok.len() / 2], ok.len() / 2));
            }
            Fault::WrongLength => assert_eq!((came.body(), came.content_length()), (ok, ok.len() + 100)),
            Fault::Oversized => assert!(came.body().len() > 1024 * 1024 && came.body().contains(ok)),
            Fault::Drip => assert_eq!(came.body(), ok),
            Fault::Stall | Fault::StallAfterHeaders => unreachable!("see the next test"),
        }
        let record = sink.records().pop().unwrap();
        assert!(record.fault.is_some());
        accepted += usize::from(record.judgement.accepted);
    }
    assert_eq!(accepted, 6, "what the platform took although its answer was lost");
    // A sender that tries again after a lost answer makes a second copy.
    assert_eq!(send(&sink).await.body(), ok);
    let copies = sink.records().iter().filter(|record| record.judgement.accepted).count();
    assert_eq!(copies, 7);
    sink.stop().await;
}

#[tokio::test]
async fn stalling_holds_the_sender_until_the_sink_stops() {
    for (fault, begins) in [(Fault::Stall, ""), (Fault::StallAfterHeaders, "HTTP/1.1 200 OK\r\n")] {
        let sink = dingtalk().await;
        sink.script(Step::fault(fault)).unwrap();
        let addr = sink.addr;
        let held = tokio::spawn(async move {
            post(addr, "/robot/send?access_token=T", &hello(Platform::Dingtalk).to_string()).await
        });
        assert!(sink.wait_for(1, SOON).await);
        assert!(!held.is_finished());
        sink.stop().await;
        let came = held.await.unwrap();
        assert!(came.text.starts_with(begins), "{fault:?}: {:?}", came.text);
        assert!(!came.text.contains("errcode"), "{fault:?}");
    }
}

#[tokio::test]
async fn the_first_requests_fail_and_the_rest_do_not() {
    let failing = Failing { first: 2, rate: 0.0, step: Step::status(503) };
    let behaviour = Behaviour { failing: Some(failing), ..Behaviour::default() };
    for record in [true, false] {
        let options = SinkOptions { behaviour: behaviour.clone(), record, ..SinkOptions::default() };
        let sink = Sink::start(options).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(post(sink.addr, "/any/path", "{}").await.status());
        }
        assert_eq!(seen, [503, 503, 200, 200]);
        assert_eq!((sink.count(), sink.records().len()), (4, if record { 4 } else { 0 }));
        sink.stop().await;
    }
}

#[tokio::test]
async fn somebody_plain_says_when_to_come_back() {
    let default =
        BotOptions { limits: Some(vec![Limit::sliding(1, Duration::from_secs(90))]), ..BotOptions::default() };
    let clock = Arc::new(|| at(1_700_000_000));
    let sink = Sink::start(SinkOptions { default, clock, ..SinkOptions::default() }).await.unwrap();
    assert_eq!(post(sink.addr, "/a", "{}").await.status(), 200);
    let came = post(sink.addr, "/b", "{}").await;
    assert!(came.status() == 429 && came.text.contains("retry-after: 90\r\n"), "{}", came.text);
    sink.stop().await;
}

#[tokio::test]
async fn finishing_lets_the_last_answer_arrive() {
    let behaviour = Behaviour { delay: Duration::from_millis(200), ..Behaviour::default() };
    let sink = Sink::start(SinkOptions { behaviour, ..SinkOptions::default() }).await.unwrap();
    let addr = sink.addr;
    let sent = tokio::spawn(async move { post(addr, "/", "{}").await });
    assert!(sink.wait_for(1, SOON).await);
    sink.finish(SOON).await;
    assert_eq!(sent.await.unwrap().status(), 200);
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn waiting_ends_in_time() {
    let sink = Sink::start(SinkOptions::default()).await.unwrap();
    assert!(!sink.wait_for(1, Duration::from_millis(20)).await);
    post(sink.addr, "/", "{}").await;
    assert!(sink.wait_for(1, SOON).await);
    sink.stop().await;
}
