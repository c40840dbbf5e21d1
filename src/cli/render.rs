//! `postrider render`: the request that a hook would send.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::cli::exit::{Code, Exit};
use crate::cli::{Global, local, output};
use crate::engine::wire;
use crate::rules::hook::{Hook, NotWanted};
use crate::rules::platform::{Given, RenderError};
use crate::words::event::Event;
use crate::words::exchange::Request;
use crate::words::secret::Secrets;

/// Print the exact request that a hook would send for an event
///
/// Nothing is sent. Secrets, and of a URL all but the host, are shown as *** unless asked for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider render release-to-ops event.json
  postrider render ./hooks.d/ci.yaml '{\"type\": \"build.done\", \"data\": {\"build\": 7}}'
  postrider render release-to-ops 0197a3c2-5b1e-7c3a-9d1f-2f8a6c1b0e4d --curl --show-secrets")]
pub(crate) struct Render {
    /// A hook's name or its file
    hook: String,
    /// A file or - with an event, the event's JSON, or the id of one that the daemon knows
    event: String,
    /// Of several robots that take turns, the one of this number, from 1
    #[arg(long, value_name = "N")]
    robot: Option<usize>,
    /// Print a curl command that sends it
    #[arg(long)]
    curl: bool,
    /// Print secrets and whole URLs
    #[arg(long)]
    show_secrets: bool,
}

impl Render {
    pub(crate) async fn run(self, global: &Global) -> Result<(), Exit> {
        let event = local::event(global, &self.event).await?;
        let (hook, config) = local::hook(global, &self.hook)?;
        if let Err(reason) = hook.wants(&event) {
            global
                .note(format!("note: {}; this is what it would send all the same", not_wanted(&hook, &event, &reason)));
        }
        let hook = local::robot(&hook, self.robot)?;
        let requests = requests(&hook, &event, &config.secrets)?;
        if !self.show_secrets && (self.curl || global.verbose > 0) {
            global.note("note: secrets are shown as ***, and URLs without their path; --show-secrets prints them");
        }
        let mask = wire::Mask::new(&hook, &config.secrets);
        for (n, request) in requests.into_iter().enumerate() {
            let shown = if self.show_secrets { request } else { mask.request(&request) };
            if n > 0 && !global.json && !self.curl {
                output::say("")?;
            }
            match (global.json, self.curl) {
                (true, _) => output::json(&object(&shown))?,
                (_, true) => output::say(wire::curl(&shown))?,
                _ if output::is_terminal() => {
                    output::say(output::clean(String::from_utf8_lossy(&wire::request(&shown)).trim_end()))?;
                }
                _ => output::bytes(&wire::request(&shown))?,
            }
        }
        Ok(())
    }
}

/// The first attempt's request, or its requests when the message has several parts.
fn requests(hook: &Hook, event: &Event, secrets: &Secrets) -> Result<Vec<Request>, Exit> {
    let given = Given { id: "example-1", attempt: 1, now: Timestamp::now(), hook: &hook.name, event, secrets };
    hook.render_parts(&given).map_err(|error| match error {
        RenderError::Secret { .. } => Exit::new(Code::Configuration, error.to_string())
            .help("write it to a file of that name in the secrets.d folder"),
        RenderError::Wrong(problem) => {
            local::say(&problem);
            Exit::silent(Code::Failed)
        }
    })
}

fn not_wanted(hook: &Hook, event: &Event, reason: &NotWanted) -> String {
    match reason {
        NotWanted::Disabled => format!("hook {} is disabled", hook.name),
        NotWanted::Type => {
            format!("hook {} does not want {}: its `events` say {}", hook.name, event.kind, hook.events.join(", "))
        }
        NotWanted::When => format!("hook {} does not want this event: its `when` is false", hook.name),
        NotWanted::WhenFailed(why) => format!("hook {} does not want this event: its `when` failed: {why}", hook.name),
    }
}

fn object(request: &Request) -> Json {
    let headers: Vec<Json> = request
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let body = String::from_utf8_lossy(&request.body);
    json!({"method": request.method.as_str(), "url": request.url, "headers": headers, "body": body})
}
