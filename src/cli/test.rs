//! `postrider test`: one sample event through one hook, for real.

use std::time::Instant;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use url::Url;

use crate::cli::daemon::Daemon;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, DIM, paint, style_of};
use crate::cli::{Global, local, render, wire};
use crate::edges::send::Sender;
use crate::words::event::Event;
use crate::words::exchange::SendError;
use crate::words::verdict::Verdict;

/// Send one sample event through one hook now, for real
///
/// It goes past `events`, `when` and the queue, and works for a disabled hook. The daemon sends it when one is running, else
/// this program does. Exit code 0 means that the receiver has it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider test release-to-ops
  postrider test ./hooks.d/ops.yaml --event event.json
  postrider test ops --to http://127.0.0.1:9000      (see `postrider sink`)")]
pub(crate) struct Test {
    /// A hook's name or its file
    hook: String,
    /// Send it there instead; a URL without a path keeps the hook's path and query
    #[arg(long, value_name = "URL")]
    to: Option<Url>,
    /// A file or - with an event, its JSON, or the id of one that the daemon knows, instead of the sample
    #[arg(long, value_name = "FILE")]
    event: Option<String>,
}

impl Test {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let event = match &self.event {
            Some(event) => Some(local::event(global, event).await?),
            None => None,
        };
        // A file may be newer than what the daemon runs, or be none of its hooks.
        let result = if local::is_file(&self.hook) {
            self.locally(global, event).await?
        } else {
            match self.through_daemon(global, event.as_ref()).await {
                Err(exit) if exit.code() == Code::NoDaemon => {
                    global.note(paint(DIM, "no daemon is running: sending from here"));
                    self.locally(global, event).await?
                }
                result => result?,
            }
        };
        print(global, &result)?;
        match output::text(&result, "verdict").as_str() {
            "delivered" => Ok(()),
            _ => Err(Exit::silent(Code::Failed)),
        }
    }

    async fn through_daemon(&self, global: &Global, event: Option<&Event>) -> Result<Json, Exit> {
        let to = self.to.as_ref().map(Url::as_str);
        let order = json!({"hook": self.hook, "to": to, "event": event.map(local::native)});
        Daemon::of(global).post("/v1/test", &order).await
    }

    async fn locally(&self, global: &Global, event: Option<Event>) -> Result<Json, Exit> {
        let (hook, config) = local::hook(global, &self.hook)?;
        let event = event.unwrap_or_else(|| hook.sample_event());
        let mut request = render::request(&hook, &event, &config.secrets)?;
        if let Some(to) = &self.to {
            request.url = redirected(&request.url, to);
        }
        let mask = wire::Mask::new(&hook, &config.secrets);
        let shown = mask.text(&String::from_utf8_lossy(&wire::request(&mask.request(&request))));

        let begun = Instant::now();
        let answer = Sender::new(config.settings.network.clone()).send(&request, hook.timeout).await;
        let duration = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (verdict, warning) = match &answer {
            Ok(response) => {
                let judged = hook.verdict(response, Timestamp::now());
                (judged.verdict, judged.warning)
            }
            Err(error) => (no_answer(error), None),
        };
        let why = verdict.why().map(ToOwned::to_owned).or(warning).unwrap_or_default();
        let response = answer.ok();
        let text = response.as_ref().map(|response| mask.text(&String::from_utf8_lossy(&wire::response(response))));
        Ok(json!({
            "request": shown,
            "response": text,
            "status": response.map(|response| response.status),
            "duration_ms": duration,
            "verdict": verdict.word(),
            "why": mask.text(&why),
        }))
    }
}

fn no_answer(error: &SendError) -> Verdict {
    Verdict::retry(error.to_string())
}

/// Where a request for `url` goes with `--to`. Signatures in the query must survive, or a sink could not check them.
fn redirected(url: &str, to: &Url) -> String {
    let mut target = to.clone();
    if to.path() == "/"
        && to.query().is_none()
        && let Ok(url) = Url::parse(url)
    {
        target.set_path(url.path());
        target.set_query(url.query());
    }
    target.into()
}

fn print(global: &Global, result: &Json) -> Result<(), Exit> {
    if global.json {
        return output::json(result);
    }
    print_marked(">", &output::text(result, "request"))?;
    match &result["response"] {
        Json::Null => output::say(paint(DIM, "< (no answer)"))?,
        _ => print_marked("<", &output::text(result, "response"))?,
    }
    let verdict = output::text(result, "verdict");
    let verdict = if verdict.is_empty() { "not sent".to_owned() } else { verdict };
    let why = output::clean_line(&output::text(result, "why"));
    let why = if why.is_empty() { why } else { format!(": {why}") };
    let duration = paint(DIM, &format!(" ({} ms)", output::number(result, "duration_ms")));
    output::say(format!("{}{why}{duration}", paint(style_of(&verdict), &verdict)))
}

fn print_marked(mark: &str, text: &str) -> Result<(), Exit> {
    let text = output::clean(text.trim_end());
    text.lines().try_for_each(|line| output::say(format!("{} {line}", paint(DIM, mark))))?;
    output::say("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_address_keeps_path_and_query() {
        let url = "https://oapi.dingtalk.com/robot/send?access_token=T&sign=a%2Bb%3D";
        for (to, target) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/robot/send?access_token=T&sign=a%2Bb%3D"),
            ("http://127.0.0.1:9000/", "http://127.0.0.1:9000/robot/send?access_token=T&sign=a%2Bb%3D"),
            ("http://127.0.0.1:9000/x", "http://127.0.0.1:9000/x"),
            ("http://127.0.0.1:9000/?x=1", "http://127.0.0.1:9000/?x=1"),
        ] {
            assert_eq!(redirected(url, &to.parse().unwrap()), target);
        }
    }
}
