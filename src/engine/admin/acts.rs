//! Orders about many deliveries, as they come over the admin socket: who gave them is the kernel's word.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::{Admin, Refused, Reply, filter, line, storage};
use crate::edges::users;
use crate::engine::orders::{self, Act, Meant};
use crate::engine::{queue, robots, standing};
use crate::rules::config::Config;
use crate::rules::template::select::Selection;
use crate::words::delivery::Why;
use crate::words::event::Peer;
use crate::words::limits;

/// An order: named deliveries, or everything that all of the rest is true of.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Ordered {
    ids: Vec<String>,
    /// Dead letters, all of them unless something else is said.
    dead: bool,
    /// Everything, when nothing else is said.
    all: bool,
    hook: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    r#where: Option<String>,
    why: Option<String>,
    dry_run: bool,
    original: bool,
    reason: Option<String>,
    /// Replay only: lines say how far it is, and the last one is the answer.
    progress: bool,
}

/// An order to copy the journal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Copied {
    file: PathBuf,
    #[serde(default)]
    force: bool,
}

/// Who gave an order.
pub(super) fn who(peer: Option<Peer>) -> String {
    peer.map_or_else(|| "an operator".to_owned(), |peer| users::name_of(peer.uid))
}

impl Admin {
    /// What waits, what is due first first.
    pub(super) async fn queue(&self, query: &str) -> Result<Reply, Refused> {
        let (why, query) = take(query, "why");
        if let Some(why) = why.as_deref() {
            known_reason(why)?;
        }
        let filter = self.known(filter(&query)?).await?;
        let config = self.config.borrow().clone();
        let rows = queue::waiting(&self.desk, &config, &filter, why.as_deref()).await.map_err(storage)?;
        Ok(Reply::Lines(rows.iter().map(line).collect()))
    }

    /// How much waits for how long.
    pub(super) async fn shape(&self, query: &str) -> Result<Reply, Refused> {
        let filter = self.known(filter(query)?).await?;
        let config = self.config.borrow().clone();
        let hook = filter.hook.map(Arc::from);
        let rows = queue::shape(&self.desk, &config, hook).await.map_err(storage)?;
        Ok(Reply::Lines(rows.iter().map(Json::to_string).collect()))
    }

    /// Replay, flush, drop.
    pub(super) async fn order(&self, path: &str, body: &[u8], peer: Option<Peer>) -> Result<Reply, Refused> {
        let wrong = |what: String| (400, "bad_request", what);
        let asked: Ordered =
            serde_json::from_slice(body).map_err(|error| wrong(format!("this is no order: {error}")))?;
        if asked.ids.len() > limits::NAMED {
            return Err(wrong(format!("more than {} deliveries are named at once", limits::NAMED)));
        }
        let who = who(peer);
        let reason = asked.reason.clone().filter(|reason| !reason.trim().is_empty());
        let act = match path {
            "/v1/replay" => Act::Replay { original: asked.original },
            "/v1/flush" => Act::Flush,
            _ => Act::Drop(match reason {
                Some(reason) => format!("dropped by {who}: {reason}"),
                None => format!("dropped by {who}"),
            }),
        };
        let anything = asked.dead || asked.all || asked.hook.is_some() || asked.kind.is_some() || asked.why.is_some();
        let filtered = anything || asked.since.is_some() || asked.until.is_some() || asked.r#where.is_some();
        if asked.ids.is_empty() && !filtered && act != Act::Flush {
            return Err(wrong("name deliveries, or say which are meant".to_owned()));
        }
        let (dry, progress) = (asked.dry_run, asked.progress && matches!(act, Act::Replay { .. }));
        let meant = self.meant(asked).await?;
        let config = self.config.borrow().clone();
        if progress {
            return Ok(self.replay_and_tell(config, meant, act, dry, who));
        }
        let done = orders::carry_out(&self.desk, &config, &meant, &act, dry, &|_| {}).await.map_err(storage)?;
        let mut answer = done.to_json();
        if act == Act::Flush {
            answer["receivers"] = self.hurry(meant.hook.as_ref(), &done.hooks.into_keys().collect::<Vec<_>>(), dry);
        }
        if !dry {
            tracing::info!(by = who, order = path, count = answer["count"].as_u64(), "an operator gave an order");
        }
        Ok(Reply::Json(200, answer))
    }

    /// Replays, and says line by line how many there are. It goes on when nobody listens any more, as every order does.
    fn replay_and_tell(&self, config: Arc<Config>, meant: Meant, act: Act, dry: bool, who: String) -> Reply {
        let (lines, pieces) = mpsc::channel::<Bytes>(16);
        let (listener, desk) = (lines.clone(), self.desk.clone());
        tokio::spawn(async move {
            // A listener who is slow misses some.
            let told = move |count: u64| drop(listener.try_send(format!("{}\n", json!({"done": count})).into()));
            let last = match orders::carry_out(&desk, &config, &meant, &act, dry, &told).await {
                Ok(done) => {
                    if !dry {
                        tracing::info!(
                            by = who,
                            order = "/v1/replay",
                            count = done.count(),
                            "an operator gave an order"
                        );
                    }
                    done.to_json()
                }
                Err(trouble) => json!({"error": {"code": "unavailable", "message": trouble.to_string()}}),
            };
            let _left = lines.send(format!("{last}\n").into()).await;
        });
        Reply::Pieces(pieces)
    }

    async fn meant(&self, asked: Ordered) -> Result<Meant, Refused> {
        let hook = match asked.hook.as_deref() {
            Some(name) => Some(self.hook_named(name).await?),
            None => None,
        };
        if let Some(why) = asked.why.as_deref() {
            known_reason(why)?;
        }
        let selection = match asked.r#where.as_deref().map(Selection::compile) {
            None => None,
            Some(Ok(selection)) => Some(selection),
            Some(Err(found)) => return Err((400, "bad_request", found.render(false).replace('\n', " "))),
        };
        let (ids, kind, since, until, why) = (asked.ids, asked.kind, asked.since, asked.until, asked.why);
        Ok(Meant { ids, hook, kind, since, until, why, selection })
    }

    /// Open breakers probe at once; what else keeps a hook waiting stays, and is told.
    fn hurry(&self, only: Option<&Arc<str>>, touched: &[String], dry: bool) -> Json {
        let config = self.config.borrow().clone();
        let (desk, mut told) = (&self.desk, Vec::new());
        for hook in config.hooks.values().filter(|hook| only.is_none_or(|only| *only == hook.name)) {
            let standing = standing::of_hook(desk, &config, &hook.name);
            let (why, until) = match (standing.shut, standing.gate) {
                (Some((why, until)), _) => (why, until),
                (None, Some((why, until))) => (why, Some(until)),
                (None, None) => continue,
            };
            let broken = matches!(why, Why::Breaker(_));
            if broken && !dry {
                for (_, gate) in robots::gates(desk, &config, hook) {
                    gate.hurry(desk.clock.elapsed());
                }
                desk.journal.bells().ring(&hook.name);
            }
            let collects = why == Why::Digest;
            if collects && !dry {
                desk.pulse(&hook.name).hurry(true);
                desk.journal.bells().ring(&hook.name);
            }
            if only.is_some() || broken || collects || touched.iter().any(|name| **name == *hook.name) {
                let (reason, until) = (why.word(), until.filter(|_| !broken && !collects));
                told.push(json!({"hook": hook.name.as_ref(), "reason": reason, "why": why.detail(), "until": until}));
            }
        }
        told.into()
    }

    /// Copies the journal, and says line by line how far it is.
    pub(super) fn backup(&self, body: &[u8], peer: Option<Peer>) -> Result<Reply, Refused> {
        let wrong = |what: &str| (400, "bad_request", what.to_owned());
        let Copied { file, force } =
            serde_json::from_slice(body).map_err(|_| wrong("an order is {\"file\": PATH, \"force\"?: true}"))?;
        if !file.is_absolute() || file.file_name().is_none() {
            return Err(wrong("the file must be an absolute path"));
        }
        tracing::info!(by = who(peer), file = %file.display(), "an operator has the journal copied");
        let (lines, pieces) = mpsc::channel::<Bytes>(16);
        let listener = lines.clone();
        let progress = move |done: u64, of: u64| {
            let line = format!("{}\n", json!({"pages": done, "of": of}));
            // A listener who is slow misses some; one who left is not worked for.
            !matches!(listener.try_send(line.into()), Err(mpsc::error::TrySendError::Closed(_)))
        };
        let copied = self.desk.journal.backup(file.clone(), force, Box::new(progress));
        tokio::spawn(async move {
            let error = |code: &str, what: String, help: String| json!({"error": {"code": code, "message": what, "help": help}});
            let last = match copied.await {
                Ok(Ok(bytes)) => json!({"file": file.display().to_string(), "bytes": bytes}),
                Ok(Err(not)) => error("not_copied", not.what, not.help),
                Err(trouble) => error("unavailable", trouble.to_string(), String::new()),
            };
            let _left = lines.send(format!("{last}\n").into()).await;
        });
        Ok(Reply::Pieces(pieces))
    }
}

/// A key of a query, and the query without it.
fn take(query: &str, key: &str) -> (Option<String>, String) {
    let mut found = None;
    let mut rest = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name == key {
            found = Some(value.into_owned());
        } else {
            rest.append_pair(&name, &value);
        }
    }
    (found, rest.finish())
}

fn known_reason(word: &str) -> Result<(), Refused> {
    let all = Why::all();
    if all.iter().any(|why| why.word() == word) {
        return Ok(());
    }
    let words: Vec<&str> = all.iter().map(Why::word).collect();
    Err((400, "bad_request", format!("nothing waits for the reason `{word}`\nthe reasons are: {}", words.join(", "))))
}
