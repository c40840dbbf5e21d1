//! `postrider test`: one sample event through one hook, for real.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use url::Url;

use crate::cli::daemon::Daemon;
use crate::cli::exit::{Code, Exit};
use crate::cli::output::{self, DIM, paint, style_of};
use crate::cli::{Global, local};
use crate::edges::send::Sender;
use crate::engine::probe::probe;
use crate::words::event::Event;

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
    /// Of several robots that take turns, the one of this number, from 1
    #[arg(long, value_name = "N")]
    robot: Option<usize>,
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
        let event = event.map_or_else(|| "null".to_owned(), local::native_text);
        let (hook, to, robot) = (json!(self.hook), json!(to), json!(self.robot));
        let order = format!("{{\"hook\":{hook},\"to\":{to},\"robot\":{robot},\"event\":{event}}}");
        Daemon::of(global).post_bytes("/v1/test", order.into_bytes()).await.map(|(_, answer)| answer)
    }

    async fn locally(&self, global: &Global, event: Option<Event>) -> Result<Json, Exit> {
        let (hook, config) = local::hook(global, &self.hook)?;
        let event = event.unwrap_or_else(|| hook.sample_event());
        let hook = local::robot(&hook, self.robot)?;
        let sender = Sender::new(config.settings.network.clone());
        let to = self.to.as_ref().map(Url::as_str);
        Ok(json!(probe(&sender, &config, &hook, &event, to, Timestamp::now()).await))
    }
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
