//! What the daemon answered to one event.

use serde_json::Value as Json;

use crate::cli::exit::{Code, Exit, code_of_refusal};
use crate::cli::output::{self, count};

/// The answer to one event.
pub(crate) struct Answer {
    pub(super) json: Json,
    status: u16,
}

impl Answer {
    /// Reads a line, or the body of a good answer.
    pub(super) fn read(line: &str) -> Result<Self, Exit> {
        let answer: Json = serde_json::from_str(line)
            .map_err(|_| Exit::new(Code::TryAgain, "what answers at the emit socket is not postrider"))?;
        let json = match answer {
            Json::Array(mut answers) if answers.len() == 1 => answers.remove(0),
            answer => answer,
        };
        Ok(Self::of(json, 400))
    }

    /// What came with this status.
    pub(super) fn of(json: Json, status: u16) -> Self {
        Self { json, status }
    }

    /// Whether the daemon only asks to come again in a moment: it stops, or its storage is being mended.
    pub(super) fn passes(&self) -> bool {
        self.json["error"]["code"] == "unavailable"
    }

    /// What was handed in before by the same command, and is known for that reason alone, was not there before it.
    pub(super) fn again(&mut self, again: bool) {
        if again && self.json["duplicate"] == true {
            self.json["duplicate"] = false.into();
        }
    }

    pub(crate) fn refusal(&self) -> Option<Exit> {
        let error = self.json.get("error")?;
        let code = code_of_refusal(&output::text(error, "code"), self.status);
        Some(Exit::new(code, output::text(error, "message")))
    }

    pub(crate) fn id(&self) -> String {
        output::text(&self.json, "id")
    }

    pub(super) fn in_words(&self) -> String {
        let id = output::clean_line(&self.id());
        let hooks = output::names(&self.json, "hooks");
        let number = output::list(&self.json, "hooks").len() as u64;
        let duplicate = self.json["duplicate"].as_bool().unwrap_or(false);
        match (duplicate, number) {
            (true, _) => format!("{id} was queued before, nothing is sent twice"),
            (false, 0) => format!("stored {id}, which no hook wants"),
            (false, _) => format!("queued {id} for {}: {hooks}", count(number, "hook")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_words_and_codes() {
        let answer = |line: &str| Answer::read(line).unwrap();
        assert_eq!(
            answer(r#"{"id":"1","hooks":["a","b"],"duplicate":false}"#).in_words(),
            "queued 1 for 2 hooks: a, b"
        );
        assert_eq!(answer(r#"{"id":"1","hooks":[],"duplicate":false}"#).in_words(), "stored 1, which no hook wants");
        assert_eq!(
            answer(r#"[{"id":"1","hooks":["a"],"duplicate":true}]"#).in_words(),
            "1 was queued before, nothing is sent twice"
        );
        let mut known = answer(r#"{"id":"1","hooks":["a"],"duplicate":true}"#);
        known.again(true);
        assert_eq!(known.in_words(), "queued 1 for 1 hook: a");
        let busy = answer(r#"{"error":{"code":"busy","message":"the queue is full"}}"#).refusal().unwrap();
        assert_eq!((busy.code(), busy.message()), (Code::TryAgain, Some("the queue is full")));
        assert!(Answer::read("HTTP/1.1 400").is_err());
    }
}
