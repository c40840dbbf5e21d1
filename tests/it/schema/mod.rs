//! The parser, the JSON Schema, the manual and the examples know the same keys, and mean the same by them.
//!
//! `packaging/schema/` holds what `postrider schema --built-in` prints; `BLESS=1` writes it anew.

pub(crate) mod levels;
mod output;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::Platforms;
use postrider::rules::schema::{self, Names};
use postrider::rules::settings::{Defaults, Settings};
use postrider::rules::source::SourceScripts;
use postrider::rules::yaml;
use postrider::words::keys::{self, Shape, Unless};
use serde_json::Value as Json;

use self::levels::{LEVELS, diagnose, sample};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A compiled schema.
pub(crate) struct Checker {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Checker {
    pub(crate) fn new(schema: Json) -> Self {
        let mut compiler = Compiler::new();
        let mut schemas = Schemas::new();
        compiler.add_resource("schema.json", schema).expect("a schema");
        let index = compiler.compile("schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    /// What is wrong with a value.
    pub(crate) fn refuses(&self, value: &Json) -> Option<String> {
        self.schemas.validate(value, self.index).err().map(|error| format!("{error:#}"))
    }

    fn refuses_file(&self, text: &str) -> Option<String> {
        match yaml::parse(&Source::new("a.yaml", text)) {
            Ok(node) => self.refuses(&node.to_json()),
            Err(error) => panic!("{}", error.render(false)),
        }
    }
}

fn hook_schema(names: Names) -> Json {
    schema::hook(&Platforms::built_in(), names)
}

fn main_schema(names: Names) -> Json {
    schema::main(&SourceScripts::built_in(), names)
}

/// The schema of hook files, or of the main file.
struct Both {
    hook: Checker,
    main: Checker,
}

impl Both {
    fn new(names: Names) -> Self {
        Self { hook: Checker::new(hook_schema(names)), main: Checker::new(main_schema(names)) }
    }

    fn of(&self, is_main: bool) -> &Checker {
        if is_main { &self.main } else { &self.hook }
    }
}

/// What the schema that is installed has against a hook file.
pub(crate) fn refuses_hook(text: &str) -> Option<String> {
    Checker::new(hook_schema(Names::Open)).refuses_file(text)
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn what_is_installed_is_what_the_command_prints() {
    let all = [
        ("hook", hook_schema(Names::Open)),
        ("main", main_schema(Names::Open)),
        ("json", schema::output(None).expect("a schema")),
    ];
    for (name, schema) in all {
        Checker::new(schema.clone());
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        let path = root().join(format!("packaging/schema/{name}.json"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &text).expect("a file");
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "{name}: write it anew with BLESS=1");
    }
}

#[test]
fn every_example_is_right_by_the_schema() {
    for names in [Names::Open, Names::Known] {
        let both = Both::new(names);
        let mut files = yaml_files("hooks.d");
        assert!(files.len() > 20, "only {} examples were found", files.len());
        files.extend(yaml_files("tests/hooks/good"));
        for file in files {
            let refused = both.hook.refuses_file(&fs::read_to_string(&file).expect("a file"));
            assert_eq!(refused, None, "{}", file.display());
        }
        let sources = fs::read_to_string(root().join("tests/readme/sources.yaml")).expect("a file");
        assert_eq!(both.main.refuses_file(&sources), None);
    }
}

#[test]
fn every_key_is_known_to_the_parser_and_the_schema_alike() {
    let both = Both::new(Names::Known);
    let mut tried = 0;
    for level in LEVELS {
        for key in level.table.keys {
            let Some(value) = sample(&key.shape) else { continue };
            let text = level.file(key.name, key.name, &value);
            // Those that are for verifying are known, and refused where something is sent.
            let verifies = level.table.name == "sign" && ["tolerance", "public_url"].contains(&key.name);
            // What a digest says is over other names than those of the sample.
            let of_others = level.table.name == "digest" && ["when", "template"].contains(&key.name);
            if !verifies && !of_others && level.table.name != "sign" {
                let found = level.diagnose(&text);
                assert!(found.is_empty(), "{text}\n{}", found[0].render(false));
            }
            assert_eq!(both.of(level.is_main).refuses_file(&text), None, "{text}");
            let unknown = level.file(key.name, &format!("{}zzzzzz", key.name), &value);
            assert!(!level.diagnose(&unknown).is_empty(), "{unknown}");
            assert!(both.of(level.is_main).refuses_file(&unknown).is_some(), "{unknown}");
            tried += 1;
        }
    }
    assert!(tried > 80, "only {tried} keys");
}

#[test]
fn what_must_be_there_must_be_there_for_both() {
    let both = Both::new(Names::Known);
    let mut tried = 0;
    for level in LEVELS {
        for key in level.table.keys.iter().filter(|key| key.unless == Unless::Required) {
            let text = level.lacking(key.name);
            assert!(!level.diagnose(&text).is_empty(), "{} is not missed in\n{text}", key.name);
            assert!(both.of(level.is_main).refuses_file(&text).is_some(), "{text}");
            tried += 1;
        }
    }
    assert!(tried >= 8, "only {tried} keys");
}

#[test]
fn bounds_are_the_same() {
    let both = Both::new(Names::Known);
    let mut tried = 0;
    for level in LEVELS {
        for key in level.table.keys {
            let Shape::Integer(least, most) = key.shape else { continue };
            for (number, right) in [(least, true), (most, true), (most + 1, false), (least - 1, false)] {
                let text = level.file(key.name, key.name, &number.to_string());
                // A burst is bounded by its rate as well.
                if key.name != "burst" || number != most {
                    assert_eq!(level.diagnose(&text).is_empty(), right, "{text}");
                }
                assert_eq!(both.of(level.is_main).refuses_file(&text).is_none(), right, "{text}");
                tried += 1;
            }
        }
    }
    for level in LEVELS.iter().filter(|level| level.table.name != "sign") {
        for key in level.table.keys {
            let Shape::Duration(least, most) = key.shape else { continue };
            let (least, most) = (least.as_millis(), most.as_millis());
            let alone = level.file(key.name, key.name, &format!("{most}ms"));
            assert_eq!(level.diagnose(&alone).len(), 0, "{alone}");
            for millis in [least - 1, most + 1] {
                let text = level.file(key.name, key.name, &format!("{millis}ms"));
                assert_eq!(level.diagnose(&text)[0].code, "out-of-bounds", "{text}");
            }
            let bare = level.file(key.name, key.name, "5");
            assert_eq!(level.diagnose(&bare)[0].code, "duration", "{bare}");
            assert!(both.of(level.is_main).refuses_file(&bare).is_some(), "{bare}");
            tried += 1;
        }
    }
    for level in LEVELS {
        for key in level.table.keys {
            let Shape::Size(least, most) = key.shape else { continue };
            for (bytes, right) in [(least, true), (most, true), (least - 1024, false), (most + 1024, false)] {
                let text = level.file(key.name, key.name, &format!("{}KiB", bytes / 1024));
                assert_eq!(level.diagnose(&text).is_empty(), right, "{text}");
            }
            let bare = level.file(key.name, key.name, "5");
            assert!(both.of(level.is_main).refuses_file(&bare).is_some(), "{bare}");
            tried += 1;
        }
    }
    assert!(tried > 30, "only {tried} bounds");
}

#[test]
fn defaults_are_what_the_parser_takes() {
    let mut tried = 0;
    for level in LEVELS.iter().filter(|level| level.table.name != "sign") {
        for key in level.table.keys {
            let Unless::Default(default) = key.unless else { continue };
            let said = level.file(key.name, key.name, default);
            assert_eq!(level.diagnose(&said), [], "{said}");
            let read = if level.is_main { settings } else { hook };
            let (said, unsaid) = (read(&said), read(&level.bare()));
            assert_eq!(said, unsaid, "{} of {}", key.name, level.table.name);
            tried += 1;
        }
    }
    assert!(tried >= 18, "only {tried} defaults");
}

fn settings(text: &str) -> String {
    let (settings, _) = Settings::parse(&Source::new("postrider.yaml", text), &SourceScripts::built_in()).expect(text);
    // Where a source stands does not matter.
    let sources: Vec<_> = settings.sources.values().map(|source| source.replay_window).collect();
    format!("{:?} {sources:?}", Settings { sources: Default::default(), ..settings })
}

/// All of a hook that has a default.
fn hook(text: &str) -> String {
    let source = Source::new("a.yaml", text);
    let (hook, found) = Hook::parse(&source, &Platforms::built_in(), &Defaults::default());
    let hook = hook.unwrap_or_else(|| panic!("{text}\n{found:?}"));
    let answers: Vec<_> = hook.tests.iter().filter_map(|test| Some(test.response.as_ref()?.status)).collect();
    let (event, tests) = (hook.sample_event(), hook.tests.len());
    let event = (tests > 0).then(|| (event.id.to_string(), event.raw.clone()));
    format!("{} {:?} {:?} {:?} {answers:?} {event:?}", hook.enabled, hook.timeout, hook.retry, hook.breaker)
}

#[test]
fn every_key_stands_in_an_example() {
    let mut used = BTreeSet::new();
    let files = yaml_files("hooks.d").into_iter().chain(yaml_files("tests/hooks/good"));
    for file in files {
        let text = fs::read_to_string(&file).expect("a file");
        let Ok(Json::Object(map)) = yaml::parse(&Source::new("a.yaml", text)).map(|node| node.to_json()) else {
            panic!("{}", file.display())
        };
        used.extend(map.keys().cloned());
    }
    let never: Vec<_> = keys::HOOK.names().into_iter().filter(|key| !used.contains(*key)).collect();
    assert!(never.is_empty(), "no example has {never:?}");
}

/// What a schema can say.
const EXPRESSED: &[&str] = &[
    "duration",
    "empty-file",
    "missing-key",
    "missing-option",
    "misplaced-key",
    "misplaced-option",
    "no-value",
    "not-yet",
    "on-key",
    "rate-limit",
    "size",
    "two-bodies",
    "two-verdicts",
    "unknown-key",
    "unknown-option",
    "unknown-platform",
    "wrong-kind",
    "wrong-word",
];

/// Files whose mistake has such a code, and which a schema cannot see: how one key fits another, and what a text says.
const UNSEEN: &[&str] = &[];

#[test]
fn the_schema_refuses_what_it_can_of_the_broken_files() {
    let both = Both::new(Names::Known);
    let mut refused = 0;
    let mut missed = Vec::new();
    for path in yaml_files("tests/hooks/bad") {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let Ok(text) = String::from_utf8(fs::read(&path).expect("a file")) else { continue };
        let Ok(node) = yaml::parse(&Source::new("a.yaml", text.as_str())) else { continue };
        let is_main = name.starts_with("main-");
        let codes: Vec<_> = diagnose(is_main, &text).into_iter().filter(|found| found.is_error()).collect();
        let expressed = codes.iter().any(|found| EXPRESSED.contains(&found.code));
        match both.of(is_main).refuses(&node.to_json()) {
            Some(_) => {
                assert!(!codes.is_empty() || name.starts_with("test-"), "{name} is right, and the schema refuses it");
                refused += 1;
            }
            None if expressed && !UNSEEN.contains(&name.as_str()) => {
                missed.push(format!("{name}: {:?}", codes.iter().map(|found| found.code).collect::<Vec<_>>()));
            }
            None => {}
        }
    }
    assert!(missed.is_empty(), "the schema lets pass:\n{}", missed.join("\n"));
    assert!(refused > 60, "only {refused} broken files are refused");
}

#[test]
fn own_platforms_are_known_on_their_machine_and_let_pass_elsewhere() {
    let text = "events: t\nplatform: pager\noptions: {team: a}\n";
    assert!(Both::new(Names::Known).hook.refuses_file(text).is_some());
    assert_eq!(Both::new(Names::Open).hook.refuses_file(text), None);
}

#[test]
fn no_reader_has_a_list_of_keys_of_its_own() {
    let mut looked = 0;
    for file in [
        "hook/read.rs",
        "hook/verdict.rs",
        "hook/keys.rs",
        "hook/trial.rs",
        "hook/trial/answer.rs",
        "settings.rs",
        "breaker.rs",
        "yaml/reader.rs",
    ] {
        let text = fs::read_to_string(root().join("src/rules").join(file)).expect("a file");
        for line in text.lines().filter(|line| line.contains(".only(") || line.contains(".only_or(")) {
            assert!(!line.contains("&[\""), "{file}: these keys belong into words/keys: {}", line.trim());
            looked += 1;
        }
    }
    assert!(looked >= 10, "only {looked} maps were found");
}
