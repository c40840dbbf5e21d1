//! The platforms that the sink plays answer as the real ones do: real words, real order, real limits.
//!
//! Everything but `wire` runs over a clock of its own and without a socket.

use jiff::{SignedDuration, Timestamp};
use postrider::edges::sink::{BotOptions, Fake, Judgement, Platform, Received};
use postrider::words::secret::Secret;
use serde_json::{Value, json};

mod dingtalk;
mod lark;
mod others;
mod unfaithful;
mod wecom;
mod wire;

/// A platform, and the time there.
struct Stage {
    fake: Fake,
    now: Timestamp,
    platform: Platform,
}

/// What one request was told.
struct Said {
    status: u16,
    headers: Vec<(String, String)>,
    text: String,
    json: Value,
    judgement: Judgement,
}

impl Stage {
    fn new(platform: Platform, options: BotOptions) -> Self {
        Self { fake: Fake::new(platform, options), now: at(1_700_000_000), platform }
    }

    /// Sends a body to the robot of this token.
    fn send_to(&mut self, token: &str, body: impl ToString) -> Said {
        self.request(&Received::post(self.platform.path(token), body.to_string()))
    }

    fn send(&mut self, body: impl ToString) -> Said {
        self.send_to("TOKEN", body)
    }

    fn request(&mut self, request: &Received) -> Said {
        let answered = self.fake.answer(request, self.now);
        let text = String::from_utf8(answered.body.to_vec()).unwrap();
        Said {
            status: answered.status,
            headers: answered.headers,
            json: serde_json::from_str(&text).unwrap_or_default(),
            text,
            judgement: answered.judgement,
        }
    }

    fn wait(&mut self, seconds: f64) {
        self.now += SignedDuration::from_secs_f64(seconds);
    }
}

impl Said {
    /// The code, wherever this platform has it. Fails when there is none.
    fn code(&self) -> i64 {
        let code = self.json.get("errcode").or_else(|| self.json.get("code"));
        code.and_then(Value::as_i64).unwrap_or_else(|| panic!("no code in {}", self.text))
    }

    fn words(&self) -> &str {
        let words = self.json.get("errmsg").or_else(|| self.json.get("msg"));
        words.and_then(Value::as_str).unwrap_or_else(|| panic!("no words in {}", self.text))
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn with_secret(secret: &str) -> BotOptions {
    BotOptions { secret: Some(Secret::new(secret)), ..BotOptions::default() }
}

fn with_keyword(keyword: &str) -> BotOptions {
    BotOptions { keywords: vec![keyword.to_owned()], ..BotOptions::default() }
}

/// A message that any robot of the platform takes.
fn hello(platform: Platform) -> Value {
    match platform {
        Platform::Lark => json!({"msg_type": "text", "content": {"text": "应用 hello"}}),
        _ => json!({"msgtype": "text", "text": {"content": "应用 hello"}}),
    }
}
