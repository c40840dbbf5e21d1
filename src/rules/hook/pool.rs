//! Several robots of one hook that take turns, for receivers with small quotas.
//!
//! ```text
//! options:
//!   url:    [{secret: robot-1}, {secret: robot-2}]     options that the manifest's `pool` names may be lists,
//!   secret: [{secret: sign-1}, {secret: sign-2}]       all of one length; one value is meant for all
//! ```
//! Each robot is the hook as it would be with its one value of each, so it is a receiver of its own: whatever else posts to
//! the same robot shares its pace. The hook itself is as its first robot, which is what `render` and `tests:` show.

use std::sync::Arc;

use jiff::Timestamp;

use crate::rules::diagnostic::{Diagnostic, Place};
use crate::rules::hook::read::compile_option;
use crate::rules::hook::{Hook, Prepared, ReceiverKey, Shared, fixed_options};
use crate::rules::manifest::{Kind, OptionSpec};
use crate::rules::platform::{Given, Platform};
use crate::rules::template::Tree;
use crate::rules::yaml::reader::{Map, Reader};
use crate::rules::yaml::{Node, Value};
use crate::words::delivery::Why;
use crate::words::event::Event;
use crate::words::limits;
use crate::words::plural::count;
use crate::words::secret::{Secret, Secrets};

/// What a hook has to do with a pool.
#[derive(Debug)]
pub enum Pooled {
    /// It is the whole, and these are its robots.
    Whole(Vec<Arc<Hook>>),
    /// It is one of them.
    Robot(Robot),
}

/// Which robot of its pool a hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Robot {
    /// Counted from 1, as they stand in the file.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// The name of the secret that names it, where one does.
    pub secret: Option<String>,
    /// Under which name the journal keeps that it is held: no hook is called so.
    pub hold: Arc<str>,
}

/// What stands between a hook's name and a robot's number; in no hook's name.
const OF_ROBOT: char = '#';

/// The hook of the robot whose hold has this name.
pub fn hook_of(hold: &str) -> Option<&str> {
    hold.split_once(OF_ROBOT).map(|(hook, _)| hook)
}

impl Robot {
    /// What it is called in words: `robot 2 (dingtalk-2)`.
    pub fn name(&self) -> String {
        match &self.secret {
            Some(secret) => format!("robot {} ({secret})", self.number),
            None => format!("robot {}", self.number),
        }
    }

    /// The reason, as that of this robot.
    pub fn says(&self, why: Why) -> Why {
        let said = |why: String| format!("{}: {why}", self.name());
        match why {
            Why::Pause(why) => Why::Pause(said(why)),
            Why::Breaker(why) => Why::Breaker(said(why)),
            why => why,
        }
    }

    /// Why an attempt went as it did, and by whom; for how many seconds it rests, if its receiver said so.
    pub fn signs(&self, why: &str, rests: Option<u64>) -> String {
        let between = if why.is_empty() { "" } else { "; " };
        let rests = rests.map(|seconds| format!(" rests for {seconds}s")).unwrap_or_default();
        format!("{why}{between}{}{rests}", self.name())
    }
}

/// The reverse of `Robot::signs`: the robot's number, and for how many seconds it rests.
pub fn signed(why: &str) -> Option<(usize, Option<u64>)> {
    let (_, last) = why.rsplit_once("robot ").filter(|(before, _)| before.is_empty() || before.ends_with("; "))?;
    let digits = last.split(|c: char| !c.is_ascii_digit()).next()?;
    let rests = last.rsplit_once(" rests for ").and_then(|(_, rests)| rests.strip_suffix('s')?.parse().ok());
    Some((digits.parse().ok()?, rests))
}

impl Hook {
    /// The robots that take turns; none where the hook has one receiver.
    pub fn robots(&self) -> &[Arc<Self>] {
        match self.pooled.as_deref() {
            Some(Pooled::Whole(robots)) => robots,
            _ => &[],
        }
    }

    /// Which robot it is, if it is one.
    pub fn as_robot(&self) -> Option<&Robot> {
        match self.pooled.as_deref() {
            Some(Pooled::Robot(robot)) => Some(robot),
            _ => None,
        }
    }

    /// The robot of a number, from 1; without one the first, or the hook itself where it has no robots.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn robot(self: &Arc<Self>, number: Option<usize>) -> Result<Arc<Self>, String> {
        let robots = self.robots();
        let Some(number) = number else { return Ok(robots.first().unwrap_or(self).clone()) };
        let found = number.checked_sub(1).and_then(|index| robots.get(index)).cloned();
        found.ok_or_else(|| match robots.len() {
            0 => format!("{} has no robots that take turns\nleave the robot's number out", self.name),
            many => format!("{} has no robot {number}\nits robots are 1 to {many}", self.name),
        })
    }

    /// Every option, of all robots, each once.
    pub fn trees(&self) -> impl Iterator<Item = &(String, Arc<Tree>)> {
        let shared = |tree: &Arc<Tree>| self.options.iter().any(|(_, own)| Arc::ptr_eq(own, tree));
        let others = self.robots().iter().flat_map(|robot| &robot.options);
        self.options.iter().chain(others.filter(move |(_, tree)| !shared(tree)))
    }
}

/// The options of a file that are lists, and of how many robots.
pub(super) struct Lists<'n> {
    lists: Vec<(&'n OptionSpec, &'n [Node])>,
    /// How many robots they make.
    pub(super) robots: usize,
    place: Place,
}

/// Finds the lists, and says what is wrong with them.
pub(super) fn lists<'n>(reader: &mut Reader<'_>, options: &Map<'n>, platform: &'n Platform) -> Option<Lists<'n>> {
    let manifest = &platform.manifest;
    let mut lists: Vec<(&OptionSpec, &Node, &[Node])> = Vec::new();
    for spec in manifest.options.iter().filter(|spec| !spec.kind.takes_lists()) {
        let Some(node) = options.get(&spec.name) else { continue };
        let Value::List(nodes) = &node.value else { continue };
        if manifest.pool.contains(&spec.name) {
            lists.push((spec, node, nodes));
        } else if manifest.receiver.contains(&spec.name) {
            no_pool(reader, spec, node, platform);
        }
    }
    let (first, node, nodes) = *lists.first()?;
    let name = &first.name;
    let robots = nodes.len();
    if robots == 0 {
        let help = format!("list the robots that take turns, as in {name}: [{{secret: robot-1}}, {{secret: robot-2}}]");
        wrong(reader, first, node, format!("`options.{name}` is an empty list"), help);
    }
    if robots > limits::ROBOTS {
        let what = format!("{robots} robots take turns, of at most {}", limits::ROBOTS);
        wrong(reader, first, node, what, "write several hooks, and share the events among them with `when`");
    }
    for (spec, node, nodes) in &lists[1..] {
        if nodes.len() != robots {
            let what = format!(
                "`options.{}` has {} and `options.{name}` has {robots}",
                spec.name,
                count(nodes.len() as u64, "entry")
            );
            let help = "write one for each robot (null for one that has none), or a single value for all of them";
            wrong(reader, spec, node, what, help);
        }
    }
    let place = place_of(reader, first, node);
    let lists = lists.into_iter().map(|(spec, _, nodes)| (spec, nodes)).collect();
    Some(Lists { lists, robots, place })
}

fn wrong(reader: &mut Reader<'_>, spec: &OptionSpec, node: &Node, what: String, help: impl Into<String>) {
    let place = place_of(reader, spec, node);
    reader.found.push(Diagnostic::error("pool", what).at(place).help(help));
}

/// Where an option stands; what stands there is not shown where it may be the secret itself.
fn place_of(reader: &Reader<'_>, spec: &OptionSpec, node: &Node) -> Place {
    let place = reader.source.place(node.span);
    if spec.kind == Kind::Secret { place.masked() } else { place }
}

fn no_pool(reader: &mut Reader<'_>, spec: &OptionSpec, node: &Node, platform: &Platform) {
    let (name, robots) = (&spec.name, &platform.manifest.pool);
    let what = format!("`options.{name}` of {} is one, not a list", platform.name);
    let note = match robots.as_slice() {
        [] => format!("robots that take turns are for chats with small quotas, and {} has none", platform.name),
        some => format!("robots that take turns differ in `{}`", some.join("`, `")),
    };
    let found = Diagnostic::error("no-pool", what)
        .at(place_of(reader, spec, node))
        .note(note)
        .help(format!("where each of them is to have every event, write a hook for each `{name}`"));
    reader.found.push(found);
}

impl<'n> Lists<'n> {
    /// What one robot has of an option, if that is a list; nothing where it says null.
    pub(super) fn of(&self, name: &str, robot: usize) -> Option<Option<&'n Node>> {
        let (_, nodes) = self.lists.iter().find(|(spec, _)| spec.name == name)?;
        Some(nodes.get(robot).filter(|node| node.value != Value::Null))
    }

    /// The options of each robot but the first, whose options are these.
    pub(super) fn others(
        &self,
        reader: &mut Reader<'_>,
        shared: &Shared,
        first: &[(String, Arc<Tree>)],
        platform: &Platform,
    ) -> Vec<Vec<(String, Arc<Tree>)>> {
        let mut others = Vec::new();
        for robot in 1..self.robots.min(limits::ROBOTS) {
            let mut trees = Vec::with_capacity(first.len());
            for spec in &platform.manifest.options {
                let common = || first.iter().find(|(name, _)| *name == spec.name).map(|(_, tree)| tree.clone());
                let tree = match self.of(&spec.name, robot) {
                    None => common(),
                    Some(Some(node)) => compile_option(reader, spec, node, &spec.kind).map(|tree| shared.tree(tree)),
                    Some(None) => self.unsaid(reader, shared, spec, platform),
                };
                trees.extend(tree.map(|tree| (spec.name.clone(), tree)));
            }
            if let Some(why) = platform.check_known(|| fixed_options(platform, &trees)) {
                let what = format!("the options of robot {} do not go together: {why}", robot + 1);
                let help = format!("`postrider platforms {}` says what each option is for", platform.name);
                reader.found.push(Diagnostic::error("options", what).at(self.place.clone()).help(help));
            }
            others.push(trees);
        }
        others
    }

    /// What a robot has of an option that it says null of.
    pub(super) fn unsaid(
        &self,
        reader: &mut Reader<'_>,
        shared: &Shared,
        spec: &OptionSpec,
        platform: &Platform,
    ) -> Option<Arc<Tree>> {
        if spec.required {
            let what = format!("each robot needs an `options.{}` of its own, and one says null", spec.name);
            let found = Diagnostic::error("pool", what).at(self.place.clone());
            reader.found.push(found.help("write what it is, or take the robot out of every list"));
            return None;
        }
        if spec.default.is_null() {
            return None;
        }
        shared.default_of(platform, spec, &spec.kind).map_err(|errors| reader.found.extend(errors)).ok()
    }

    /// Makes the hook, which is as its first robot, the whole of its robots.
    pub(super) fn gather(
        &self,
        reader: &mut Reader<'_>,
        hook: &mut Hook,
        others: Vec<Vec<(String, Arc<Tree>)>>,
        says_concurrency: bool,
    ) {
        let of = others.len() + 1;
        if of == 1 {
            return;
        }
        if !says_concurrency {
            hook.concurrency = (hook.concurrency * of).min(limits::CONCURRENCY_MAX);
        }
        let options = std::iter::once(hook.options.clone()).chain(others);
        let robots = options.enumerate().map(|(n, options)| Arc::new(robot(hook, n + 1, of, options))).collect();
        hook.pooled = Some(Box::new(Pooled::Whole(robots)));
        self.check_robots(reader, hook);
    }

    /// Where a robot is named.
    fn place_of(&self, reader: &Reader<'_>, hook: &Hook, robot: usize) -> Place {
        let names_it = |spec: &OptionSpec| hook.platform.manifest.receiver.contains(&spec.name);
        let named = self.lists.iter().find(|(spec, _)| names_it(spec));
        let named = named.and_then(|(spec, nodes)| Some(place_of(reader, spec, nodes.get(robot)?)));
        named.unwrap_or_else(|| self.place.clone())
    }

    fn check_robots(&self, reader: &mut Reader<'_>, hook: &Hook) {
        let mut seen: Vec<ReceiverKey> = Vec::new();
        for (n, robot) in hook.robots().iter().enumerate() {
            if !robot.receiver_is_constant() {
                let what = "the robots of a pool are the same for every event, and one of these depends on it";
                let help = "write no {{ }} of the event here, or one hook for each robot with a `when`";
                reader.found.push(Diagnostic::error("pool", what).at(self.place_of(reader, hook, n)).help(help));
                return;
            }
            let Some(key) = key_by_names(robot) else { continue };
            if let Some(first) = seen.iter().position(|seen| *seen == key) {
                reader.found.push(twice(first + 1, seen.len() + 1).at(self.place_of(reader, hook, seen.len())));
            }
            seen.push(key);
        }
    }
}

/// That two robots are one.
pub fn twice(first: usize, second: usize) -> Diagnostic {
    Diagnostic::error("robot-twice", format!("robot {second} is robot {first} once more"))
        .note("a robot that stands in a list twice has no second quota")
        .help("take one of the two out of the list")
}

fn robot(hook: &Hook, number: usize, of: usize, options: Vec<(String, Arc<Tree>)>) -> Hook {
    let named_by = &hook.platform.manifest.receiver;
    let secret = named_by.iter().find_map(|name| {
        let (_, tree) = options.iter().find(|(option, _)| option == name)?;
        tree.whole_secret().filter(|_| hook.platform.manifest.pool.contains(name)).map(str::to_owned)
    });
    let hold = format!("{}{OF_ROBOT}{number}", hook.name).into();
    Hook {
        name: hook.name.clone(),
        source: hook.source.clone(),
        description: None,
        owner: None,
        enabled: hook.enabled,
        events: Vec::new(),
        when: None,
        scope: None,
        scope_place: None,
        platform: hook.platform.clone(),
        prepared: Prepared::new(&hook.platform, &options),
        options,
        pooled: Some(Box::new(Pooled::Robot(Robot { number, of, secret, hold }))),
        verdict: hook.verdict.clone(),
        pace: hook.pace,
        breaker: hook.breaker,
        concurrency: hook.concurrency.div_ceil(of),
        order_by: None,
        dedupe: None,
        timeout: hook.timeout,
        retry: hook.retry,
        digest: None,
        inline_secret: None,
        tests: Vec::new(),
    }
}

/// The key of a robot, with the names of its secrets for what they hold.
fn key_by_names(robot: &Hook) -> Option<ReceiverKey> {
    let mut secrets = Secrets::default();
    for (name, _) in robot.secrets() {
        secrets.insert(name, Ok(Secret::new(format!("secret {name}"))));
    }
    robot.constant_receiver(&secrets)
}

impl Hook {
    /// The key of a receiver that is the same for every event; nothing where a secret is missing.
    pub fn constant_receiver(&self, secrets: &Secrets) -> Option<ReceiverKey> {
        if !self.receiver_is_constant() {
            return None;
        }
        let event = Event::new("", Some(String::new()), "null", Timestamp::UNIX_EPOCH);
        let now = Timestamp::UNIX_EPOCH;
        let given = Given { id: "", attempt: 0, now, hook: &self.name, event: &event, secrets };
        self.receiver(&given).ok()
    }
}

/// The robots of a hook that are one once more, by what their secrets hold: each with the one that it is.
pub fn same_robots(hook: &Hook, secrets: &Secrets) -> Vec<(usize, usize)> {
    let keys: Vec<_> = hook.robots().iter().map(|robot| robot.constant_receiver(secrets)).collect();
    let mut same = Vec::new();
    for (second, key) in keys.iter().enumerate().filter(|(_, key)| key.is_some()) {
        if let Some(first) = keys[..second].iter().position(|other| other == key) {
            same.push((first + 1, second + 1));
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_says_by_whom_and_is_read_again() {
        let robot =
            |secret: Option<&str>| Robot { number: 2, of: 3, secret: secret.map(str::to_owned), hold: "h#2".into() };
        for (why, secret, rests, text) in [
            ("", None, None, "robot 2"),
            ("", Some("ding-2"), None, "robot 2 (ding-2)"),
            ("part 1 of 3", None, None, "part 1 of 3; robot 2"),
            ("too fast", Some("d"), Some(600), "too fast; robot 2 (d) rests for 600s"),
            ("says robot 7 rests for 9s", Some("d"), None, "says robot 7 rests for 9s; robot 2 (d)"),
        ] {
            assert_eq!(robot(secret).signs(why, rests), text);
            assert_eq!(signed(text), Some((2, rests)), "{text}");
        }
        for other in ["", "part 1 of 2", "robot", "a robot 3", "robot x", "; robot "] {
            assert_eq!(signed(other), None, "{other}");
        }
    }
}
