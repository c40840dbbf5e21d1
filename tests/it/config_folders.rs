//! Files change in every way that editors, tools and clusters change them, and the configuration follows.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postrider::edges::config::{Keeper, Paths, ReloadRequest, Reloaded};
use postrider::rules::config::Config;
use postrider::rules::diagnostic::{Diagnostic, Severity};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

mod many;

/// A good hook file that says who it is.
fn hook(description: &str) -> String {
    format!(
        "description: {description}\nevents: [build]\nplatform: webhook\noptions:\n  url: https://ci.example.com/hook\n"
    )
}

/// One with a typing error.
const BROKEN: &str = "evnets: [build]\nplatform: webhook\noptions:\n  url: https://ci.example.com/hook\n";

/// A hook that needs the secret `token`.
const WITH_SECRET: &str = "events: [build]\nplatform: webhook\noptions:\n  url: https://ci.example.com/hook\n  \
                           headers: {Authorization: \"Bearer {{ secret('token') }}\"}\n";

/// A platform of an administrator's own.
fn script(summary: &str) -> String {
    format!(
        r#"
fn manifest() {{
    #{{ summary: "{summary}", receiver: ["url"], options: #{{ url: required("url", "where it goes") }} }}
}}
fn request(delivery) {{ #{{ url: delivery.options.url, text: "hello" }} }}
"#
    )
}

const USES_SCRIPT: &str = "events: [build]\nplatform: ours\noptions:\n  url: https://ci.example.com/hook\n";

/// A folder with everything in it, and two folders of hooks.
struct Place {
    folder: tempfile::TempDir,
    paths: Paths,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Paths::here(folder.path());
        paths.hooks = vec![folder.path().join("lib"), folder.path().join("hooks.d")];
        Self { folder, paths }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        fs::write(self.at(name), text).unwrap();
    }

    fn keeper(&self) -> Keeper {
        Keeper::new(self.paths.clone(), true)
    }

    fn load(&self) -> Config {
        self.keeper().load().unwrap()
    }

    /// Starts to watch.
    fn watch(&self, keeper: impl FnOnce(Keeper) -> Keeper) -> Watched {
        let mut keeper = keeper(self.keeper());
        let config = keeper.load().unwrap();
        Watched::new(keeper, config)
    }
}

struct Watched {
    configs: watch::Receiver<Arc<Config>>,
    reload: mpsc::Sender<ReloadRequest>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Watched {
    fn new(keeper: Keeper, config: Config) -> Self {
        let (publish, configs) = watch::channel(Arc::new(config));
        let (reload, requests) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let task = tokio::spawn(keeper.watch(publish, requests, stop.clone()));
        Self { configs, reload, stop, task }
    }

    /// Waits until the published configuration is as it should be.
    async fn until(&mut self, what: &str, right: impl Fn(&Config) -> bool) -> Arc<Config> {
        let found = {
            let came = self.configs.wait_for(|config| right(config));
            tokio::time::timeout(Duration::from_secs(20), came).await.ok().map(|config| config.unwrap().clone())
        };
        if let Some(found) = found {
            return found;
        }
        let now = self.configs.borrow().clone();
        panic!("never came: {what}; hooks {:?}, problems {:?}", descriptions(&now), now.problems);
    }

    async fn until_hook(&mut self, name: &str, description: &str) {
        let what = format!("{name} is {description}");
        self.until(&what, |config| descriptions(config).get(name).is_some_and(|it| it == description)).await;
    }

    async fn reload(&self) -> Reloaded {
        let (request, answer) = oneshot::channel();
        self.reload.send(request).await.unwrap();
        answer.await.unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn descriptions(config: &Config) -> BTreeMap<String, String> {
    let description = |hook: &postrider::rules::hook::Hook| hook.description.clone().unwrap_or_default();
    config.hooks.iter().map(|(name, hook)| (name.to_string(), description(hook))).collect()
}

fn errors(problems: &[Diagnostic]) -> Vec<&Diagnostic> {
    problems.iter().filter(|problem| problem.severity == Severity::Error).collect()
}

fn notes(config: &Config) -> String {
    let notes: Vec<&str> = config.problems.iter().flat_map(|it| it.notes.iter().map(String::as_str)).collect();
    notes.join("\n")
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = Place::new().load();
    assert!(config.hooks.is_empty() && config.problems.is_empty() && config.ignored.is_empty());
    assert!(config.platforms.get("webhook").is_some());
}

#[test]
fn one_bad_file_stops_nobody_else() {
    let place = Place::new();
    place.write("lib/10-a.yaml", &hook("packaged"));
    place.write("lib/b.yaml", &hook("b"));
    place.write("hooks.d/10-a.yaml", &hook("own"));
    place.write("hooks.d/bad.yaml", BROKEN);
    place.write("hooks.d/folder.yaml/x", "");
    place.write("hooks.d/b.yaml.dpkg-old", &hook("old"));
    fs::write(place.at("hooks.d/latin.yaml"), b"description: caf\xe9\n").unwrap();
    let config = place.load();
    let expected = [("a", "own"), ("b", "b")].map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(descriptions(&config), BTreeMap::from(expected));
    assert!(errors(&config.problems).len() >= 3, "{:?}", config.problems);
    let said = |file: &str, what: &str| {
        let at = |it: &Diagnostic| it.place.as_ref().is_some_and(|place| place.file.ends_with(file));
        config.problems.iter().any(|it| at(it) && it.what == what)
    };
    assert!(said("folder.yaml", "the file is a directory, not a file"), "{:?}", config.problems);
    assert!(said("latin.yaml", "the file is not UTF-8 text (byte 16)"), "{:?}", config.problems);
    assert!(notes(&config).contains("no earlier version of it was good"));
    let ignored: Vec<&str> = config.ignored.iter().map(|it| it.file.rsplit('/').next().unwrap()).collect();
    assert_eq!(ignored, ["10-a.yaml", "b.yaml.dpkg-old"]);
}

#[test]
fn a_file_that_breaks_goes_on_as_it_was_until_it_is_good() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", &hook("one"));
    let mut keeper = place.keeper();
    assert_eq!(descriptions(&keeper.load().unwrap())["a"], "one");
    place.write("hooks.d/a.yaml", BROKEN);
    let config = keeper.load().unwrap();
    assert_eq!(descriptions(&config)["a"], "one");
    assert!(!errors(&config.problems).is_empty());
    assert!(notes(&config).contains("its last good version, of 20"), "{:?}", config.problems);
    place.write("hooks.d/a.yaml", &hook("two"));
    let config = keeper.load().unwrap();
    assert_eq!(descriptions(&config)["a"], "two");
    assert_eq!(config.problems, []);
}

#[test]
fn a_restart_keeps_the_last_good_version_of_hooks_scripts_and_the_main_file() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", &hook("one"));
    place.write("hooks.d/b.yaml", USES_SCRIPT);
    place.write("scripts/platforms/ours.rhai", &script("first"));
    place.write("postrider.yaml", "limits: {hooks_per_scope: 7}\n");
    assert_eq!(place.load().problems, []);
    place.write("hooks.d/a.yaml", BROKEN);
    place.write("scripts/platforms/ours.rhai", "fn manifest( {");
    place.write("postrider.yaml", "limtis: {}\n");
    for start in 1..=2 {
        let config = place.load();
        assert_eq!(descriptions(&config)["a"], "one", "start {start}");
        assert!(config.hooks.contains_key("b"), "start {start}");
        assert_eq!(config.platforms.get("ours").unwrap().manifest.summary, "first", "start {start}");
        assert_eq!(config.settings.hooks_per_scope, Some(7), "start {start}");
        assert_eq!(notes(&config).matches("its last good version, of 20").count(), 3, "{:?}", config.problems);
    }
}

#[test]
fn a_deleted_or_masked_file_does_not_come_back() {
    let place = Place::new();
    for name in ["a", "b"] {
        place.write(&format!("hooks.d/{name}.yaml"), &hook("one"));
    }
    assert_eq!(place.load().hooks.len(), 2);
    fs::remove_file(place.at("hooks.d/a.yaml")).unwrap();
    place.write("hooks.d/b.yaml", "");
    assert_eq!(place.load().hooks.len(), 0);
    for name in ["a", "b"] {
        place.write(&format!("hooks.d/{name}.yaml"), BROKEN);
    }
    let config = place.load();
    assert_eq!(config.hooks.len(), 0);
    assert_eq!(notes(&config).matches("no earlier version of it was good").count(), 2);
}

#[test]
fn hooks_go_on_when_their_folder_cannot_be_listed() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", &hook("one"));
    assert_eq!(place.load().hooks.len(), 1);
    fs::rename(place.at("hooks.d"), place.at("elsewhere")).unwrap();
    place.write("hooks.d", "no folder any more");
    let config = place.load();
    assert_eq!(descriptions(&config)["a"], "one");
    assert!(config.problems[0].what.contains("cannot be listed"), "{:?}", config.problems);
    fs::remove_file(place.at("hooks.d")).unwrap();
    assert_eq!(place.load().hooks.len(), 0, "a folder that is gone is empty");
}

#[test]
fn a_main_file_that_never_was_good_is_the_only_error() {
    let place = Place::new();
    place.write("postrider.yaml", "limtis: {}\n");
    let errors = place.keeper().load().unwrap_err();
    assert!(!errors.is_empty());

    fs::remove_file(place.at("postrider.yaml")).unwrap();
    let mut keeper = place.keeper();
    keeper.load().unwrap();
    place.write("postrider.yaml", "limtis: {}\n");
    let config = keeper.load().expect("a running daemon goes on with what it has");
    assert!(!config.problems.is_empty());
}

#[test]
fn a_keeper_that_remembers_nothing_writes_nothing() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", &hook("one"));
    let mut keeper = Keeper::new(place.paths.clone(), false);
    assert_eq!(keeper.load().unwrap().hooks.len(), 1);
    assert!(!place.at(".postrider").exists());
}

#[test]
fn what_did_not_change_stays_the_same_hook() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", &hook("a"));
    place.write("hooks.d/b.yaml", &hook("b"));
    place.write("hooks.d/c.yaml", USES_SCRIPT);
    place.write("scripts/platforms/ours.rhai", &script("first"));
    let mut keeper = place.keeper();
    let before = keeper.load().unwrap();
    place.write("hooks.d/b.yaml", &hook("b2"));
    place.write("scripts/platforms/ours.rhai", &script("second"));
    let after = keeper.load().unwrap();
    assert_eq!(after.hooks.len(), 3);
    let same: Vec<_> = after.hooks.iter().map(|(name, hook)| Arc::ptr_eq(hook, &before.hooks[name])).collect();
    assert_eq!(same, [true, false, false]);
    assert_eq!(after.hooks["c"].platform.manifest.summary, "second");
}

#[test]
fn the_hook_that_is_one_too_many_of_its_scope_is_refused_by_name() {
    let place = Place::new();
    place.write("postrider.yaml", "limits: {hooks_per_scope: 2}\n");
    for name in ["a", "b", "c"] {
        place.write(&format!("hooks.d/{name}.yaml"), &format!("scope: app\n{}", hook(name)));
    }
    let config = place.load();
    assert_eq!(config.hooks.keys().map(|name| &**name).collect::<Vec<_>>(), ["a", "b"]);
    assert!(errors(&config.problems)[0].what.contains("`c`"), "{:?}", config.problems);
}

#[test]
fn a_missing_secret_is_a_problem_at_its_place() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", WITH_SECRET);
    let config = place.load();
    let problem = errors(&config.problems)[0];
    assert!(problem.what.starts_with("secret token cannot be read: no file token in secrets.d"), "{problem:?}");
    assert!(problem.place.as_ref().is_some_and(|it| it.file.ends_with("a.yaml")), "{problem:?}");
    assert!(config.missing_secret(&config.hooks["a"]).is_some());
    place.write(".postrider/secrets.d/token", "hunter2\n");
    let config = place.load();
    assert_eq!(config.secrets.get("token").unwrap().expose(), "hunter2");
    assert_eq!(errors(&config.problems), Vec::<&Diagnostic>::new());
}

#[tokio::test]
async fn every_way_to_edit_a_file_is_noticed() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", &hook("first"));
    let file = place.at("hooks.d/a.yaml");
    let mut watched = place.watch(|keeper| keeper);

    fs::write(&file, hook("truncated and written")).unwrap();
    watched.until_hook("a", "truncated and written").await;

    fs::write(place.at("hooks.d/.a.new"), hook("renamed over")).unwrap();
    fs::rename(place.at("hooks.d/.a.new"), &file).unwrap();
    watched.until_hook("a", "renamed over").await;

    // vim with `backupcopy=no`: probes with 4913, moves the file to its backup, writes a new one, removes the backup.
    fs::write(place.at("hooks.d/4913"), "").unwrap();
    fs::remove_file(place.at("hooks.d/4913")).unwrap();
    fs::rename(&file, place.at("hooks.d/a.yaml~")).unwrap();
    fs::write(&file, hook("by vim")).unwrap();
    fs::remove_file(place.at("hooks.d/a.yaml~")).unwrap();
    watched.until_hook("a", "by vim").await;

    // emacs: a lock that is a dangling link, and a backup by copy.
    symlink("ann@host.1:2", place.at("hooks.d/.#a.yaml")).unwrap();
    fs::copy(&file, place.at("hooks.d/a.yaml~")).unwrap();
    fs::write(&file, hook("by emacs")).unwrap();
    fs::remove_file(place.at("hooks.d/.#a.yaml")).unwrap();
    watched.until_hook("a", "by emacs").await;
    watched.until("the backup is passed over", |it| it.ignored.iter().any(|it| it.file.ends_with("a.yaml~"))).await;

    fs::write(&file, BROKEN).unwrap();
    let config = watched.until("it is broken", |it| !errors(&it.problems).is_empty()).await;
    assert_eq!(descriptions(&config)["a"], "by emacs");

    fs::write(&file, hook("mended")).unwrap();
    watched.until_hook("a", "mended").await;

    fs::remove_file(&file).unwrap();
    watched.until("it is gone", |it| it.hooks.is_empty()).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_config_map_swap_is_noticed() {
    let place = Place::new();
    for (version, text) in [("..1", "one"), ("..2", "two")] {
        place.write(&format!("hooks.d/{version}/a.yaml"), &hook(text));
    }
    symlink("..1", place.at("hooks.d/..data")).unwrap();
    symlink("..data/a.yaml", place.at("hooks.d/a.yaml")).unwrap();
    let mut watched = place.watch(|keeper| keeper);
    watched.until_hook("a", "one").await;
    symlink("..2", place.at("hooks.d/..data_tmp")).unwrap();
    fs::rename(place.at("hooks.d/..data_tmp"), place.at("hooks.d/..data")).unwrap();
    watched.until_hook("a", "two").await;
    watched.stop().await;
}

#[tokio::test]
async fn folders_that_come_and_go_are_followed() {
    let place = Place::new();
    let mut watched = place.watch(|keeper| keeper);
    place.write("hooks.d/a.yaml", &hook("in a new folder"));
    watched.until_hook("a", "in a new folder").await;
    place.write("hooks.d/a.yaml", &hook("and watched"));
    watched.until_hook("a", "and watched").await;

    fs::remove_dir_all(place.at("hooks.d")).unwrap();
    watched.until("the folder is gone", |it| it.hooks.is_empty()).await;
    place.write("hooks.d/a.yaml", &hook("in its successor"));
    watched.until_hook("a", "in its successor").await;
    place.write("hooks.d/a.yaml", &hook("watched as well"));
    watched.until_hook("a", "watched as well").await;

    place.write("next/a.yaml", &hook("swapped in"));
    fs::rename(place.at("hooks.d"), place.at("previous")).unwrap();
    fs::rename(place.at("next"), place.at("hooks.d")).unwrap();
    watched.until_hook("a", "swapped in").await;
    place.write("hooks.d/a.yaml", &hook("and watched too"));
    watched.until_hook("a", "and watched too").await;
    watched.stop().await;
}

#[tokio::test]
async fn a_folder_far_below_what_exists_is_followed() {
    let mut place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().join("far/below/hooks.d");
    place.paths.hooks = vec![folder.clone()];
    let mut watched = place.watch(|keeper| keeper);
    for round in ["once", "and again"] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.yaml"), hook(round)).unwrap();
        watched.until_hook("a", round).await;
        fs::remove_dir_all(elsewhere.path().join("far")).unwrap();
        watched.until("it is gone", |it| it.hooks.is_empty()).await;
    }
    watched.stop().await;
}

#[tokio::test]
async fn secrets_scripts_and_the_main_file_are_read_again() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", WITH_SECRET);
    place.write("hooks.d/b.yaml", USES_SCRIPT);
    place.write("scripts/platforms/ours.rhai", &script("first"));
    let mut watched = place.watch(|keeper| keeper);
    let before = watched.configs.borrow().clone();
    let secret = |config: &Config| config.secrets.get("token").map(|it| it.expose().to_owned()).unwrap_or_default();

    place.write(".postrider/secrets.d/token", "first\n");
    let config = watched.until("the secret is there", |it| secret(it) == "first").await;
    assert!(Arc::ptr_eq(&before.hooks["a"], &config.hooks["a"]), "the hook itself is what it was");
    place.write(".postrider/secrets.d/token", "second\n");
    watched.until("the secret is another", |it| secret(it) == "second").await;
    fs::remove_file(place.at(".postrider/secrets.d/token")).unwrap();
    watched.until("the secret is gone", |it| it.secrets.get("token").is_err()).await;

    let summary = |config: &Config| config.hooks["b"].platform.manifest.summary.clone();
    place.write("scripts/platforms/ours.rhai", &script("second"));
    watched.until("the script is another", |it| summary(it) == "second").await;
    place.write("scripts/platforms/ours.rhai", "fn manifest( {");
    let config = watched.until("the script is broken", |it| notes(it).contains("its last good version")).await;
    assert_eq!(summary(&config), "second");

    place.write("postrider.yaml", "limits: {hooks_per_scope: 2}\n");
    watched.until("the main file", |it| it.settings.hooks_per_scope == Some(2)).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_reload_is_answered_when_it_is_published() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", &hook("one"));
    place.write("hooks.d/b.yaml", &hook("one"));
    // Without reports, so that nobody is faster than the request.
    let watched = place.watch(Keeper::without_reports);
    place.write("hooks.d/a.yaml", &hook("two"));
    fs::remove_file(place.at("hooks.d/b.yaml")).unwrap();
    place.write("hooks.d/c.yaml", &hook("new"));
    place.write("hooks.d/d.yaml", BROKEN);
    let reloaded = watched.reload().await;
    assert_eq!(watched.configs.borrow().hooks.len(), 2, "published before the answer");
    assert_eq!(
        (reloaded.hooks, &reloaded.added[..], &reloaded.changed[..]),
        (2, &["c".to_owned()][..], &["a".to_owned()][..])
    );
    assert_eq!(reloaded.removed, ["b"]);
    assert!(!errors(&reloaded.problems).is_empty());

    let again = watched.reload().await;
    assert_eq!(again.hooks, 2);
    assert!(again.added.is_empty() && again.changed.is_empty() && again.removed.is_empty());
    assert_eq!(again.problems, reloaded.problems);
    watched.stop().await;
}

#[tokio::test]
async fn nothing_is_published_when_nothing_changed() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", &hook("one"));
    let mut watched = place.watch(|keeper| keeper);
    watched.reload().await;
    watched.configs.mark_unchanged();
    fs::write(place.at("hooks.d/a.yaml"), hook("one")).unwrap();
    watched.reload().await;
    assert!(!watched.configs.has_changed().unwrap());
    watched.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_reports_a_poll_finds_it() {
    let place = Place::new();
    place.write("hooks.d/a.yaml", WITH_SECRET);
    let mut watched = place.watch(Keeper::without_reports);
    place.write("hooks.d/b.yaml", &hook("one"));
    watched.until_hook("b", "one").await;
    place.write("hooks.d/b.yaml", &hook("another"));
    watched.until_hook("b", "another").await;
    place.write(".postrider/secrets.d/token", "hunter2\n");
    watched.until("the secret", |it| it.secrets.get("token").is_ok()).await;
    fs::remove_dir_all(place.at("hooks.d")).unwrap();
    watched.until("all gone", |it| it.hooks.is_empty()).await;
    watched.stop().await;
}

/// What an edit leaves in a file.
#[derive(Clone, Debug, PartialEq)]
enum Left {
    Good(String),
    Broken,
    Empty,
}

impl Left {
    fn text(&self) -> String {
        match self {
            Self::Good(description) => hook(description),
            Self::Broken => BROKEN.to_owned(),
            Self::Empty => String::new(),
        }
    }
}

/// One edit in one of the ways that tools edit.
fn edit(file: &Path, left: &Left, way: usize) {
    let beside = file.with_extension("yaml~");
    match way {
        0 => fs::write(file, left.text()).unwrap(),
        1 => {
            fs::write(&beside, left.text()).unwrap();
            fs::rename(&beside, file).unwrap();
        }
        2 => {
            let _ = fs::rename(file, &beside);
            fs::write(file, left.text()).unwrap();
            let _ = fs::remove_file(&beside);
        }
        _ => {
            let text = left.text();
            let (one, two) = text.split_at(text.len() / 2);
            fs::write(file, one).unwrap();
            let mut open = fs::OpenOptions::new().append(true).open(file).unwrap();
            std::io::Write::write_all(&mut open, two.as_bytes()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_random_edits_end_in_what_stands_in_the_files() {
    let place = Place::new();
    for folder in ["lib", "hooks.d"] {
        fs::create_dir(place.at(folder)).unwrap();
    }
    let mut watched = place.watch(|keeper| keeper);
    let mut files: BTreeMap<(&str, usize), Left> = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(20_261_120);
    let mut looked_at = [0; 4];
    for number in 1..=200 {
        let key = (["lib", "hooks.d"][random.usize(..2)], random.usize(..6));
        let file = place.at(&format!("{}/{}.yaml", key.0, key.1));
        if random.usize(..5) == 0 {
            let _ = fs::remove_file(&file);
            files.remove(&key);
        } else {
            let left = match random.usize(..8) {
                0 => Left::Broken,
                1 => Left::Empty,
                _ => Left::Good(format!("edit {number}")),
            };
            edit(&file, &left, random.usize(..4));
            files.insert(key, left);
        }
        if number % 25 != 0 {
            continue;
        }
        // The higher folder counts.
        let standing: Vec<Option<&Left>> =
            (0..6).map(|name| files.get(&("hooks.d", name)).or_else(|| files.get(&("lib", name)))).collect();
        let right = |config: &Config| {
            let hooks = descriptions(config);
            standing.iter().enumerate().all(|(name, left)| match left {
                Some(Left::Good(description)) => hooks.get(&name.to_string()) == Some(description),
                Some(Left::Broken) => config.problems.iter().any(|problem| {
                    problem.place.as_ref().is_some_and(|place| place.file.ends_with(&format!("/{name}.yaml")))
                }),
                Some(Left::Empty) | None => !hooks.contains_key(&name.to_string()),
            })
        };
        watched.until(&format!("edit {number}: {standing:?}"), right).await;
        for left in standing {
            looked_at[match left {
                Some(Left::Good(_)) => 0,
                Some(Left::Broken) => 1,
                Some(Left::Empty) => 2,
                None => 3,
            }] += 1;
        }
    }
    assert!(looked_at.iter().all(|&count| count > 0), "every kind of end was met: {looked_at:?}");
    let after = watched.reload().await;
    assert!(after.added.is_empty() && after.changed.is_empty() && after.removed.is_empty(), "{after:?}");
    watched.stop().await;
}
