//! Hooks, scripts and files that would eat the machine: each is refused when it is loaded, or does no harm, and the
//! daemon stays small. `POSTRIDER_ALL_BOMBS=1` tries the slow ones too, and all of them in one daemon.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use postrider::edges::config::{Keeper, Paths};
use postrider::edges::proof::{Prover, ScriptFor, Surroundings, Verdict};
use postrider::rules::diagnostic::Source;
use postrider::rules::platform::Platforms;
use serde_json::json;

use crate::process::{Process, await_that};
use crate::support::{receiver, write_hook};

/// What is to become of it.
#[derive(Clone, Copy)]
enum Want {
    /// Refused, and this is said.
    Refused(&'static str),
    /// Whatever: nothing comes of it that hurts.
    Harmless,
}
use Want::{Harmless, Refused};

const MEMORY: Want = Refused("MiB of memory");
const STEPS: Want = Refused("too many steps");
const LARGE: Want = Refused("too large");

/// Templates: each is the whole `text` of a hook.
#[rustfmt::skip]
const TEMPLATES: &[(&str, &str, Want)] = &[
    ("doubled in a loop", "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s | length }}", MEMORY),
    ("doubled by capture", "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set t %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = t %}{% endfor %}{{ ns.s | length }}", MEMORY),
    ("doubled by plus", "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s | length }}", MEMORY),
    ("doubled by replace", "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s | replace('x', 'xx') %}{% endfor %}{{ ns.s | length }}", Refused("replace would make")),
    ("doubled by join", "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] | join %}{% endfor %}{{ ns.s | length }}", Refused("join would make")),
    ("doubled by format", "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = '%s%s' | format(ns.s, ns.s) %}{% endfor %}{{ ns.s | length }}", MEMORY),
    ("doubled by macro", "{% macro d(s) %}{{ s }}{{ s }}{% endmacro %}{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = d(ns.s) %}{% endfor %}{{ ns.s | length }}", MEMORY),
    ("doubled by json", "{% set ns = namespace(s='\"') %}{% for i in range(60) %}{% set ns.s = ns.s | tojson %}{% endfor %}{{ ns.s | length }}", Refused("")),
    ("always fails", "{{ 7 % 0 }}", Refused("unable to calculate 7 % 0")),
    ("indent", "{{ 'x' | indent(2000000000) }}", LARGE),
    ("indent by name", "{{ 'x\\ny' | indent(width=2000000000, first=true) }}", LARGE),
    ("format", "{{ '%1000000000d' | format(1) }}", Refused("four digits")),
    ("format by argument", "{{ '%*d' | format(1000000000, 1) }}", Refused("four digits")),
    ("format with a precision", "{{ '%.1000000000f' | format(1.5) }}", Refused("four digits")),
    ("batch", "{{ [1] | batch(100000000, 'x') | list | length }}", LARGE),
    ("slice", "{{ [1] | slice(1000000000) | list | length }}", LARGE),
    ("join", "{{ range(100000) | join('x' * 100000) | length }}", Refused("join would make")),
    ("join by name", "{{ range(100000) | join(d='x' * 100000) | length }}", Refused("join would make")),
    ("replace", "{{ ('x' * 100000) | replace('x', 'y' * 100000) | length }}", Refused("replace would make")),
    ("replace of nothing", "{{ ('x' * 100000) | replace('', 'y' * 100000) | length }}", Refused("replace would make")),
    ("a long text", "{{ ('x' * 100000000) | upper | length }}", MEMORY),
    ("a longer text", "{{ ('x' * 4000000000) | length }}", LARGE),
    ("a long list", "{{ [0] * 100000000 | int }}{{ ([0] * 100000000) | list | length }}", MEMORY),
    ("a longer list", "{{ ([0] * 4000000000) | length }}", LARGE),
    ("a long tuple", "{{ ((1, 2) * 50000000) | length }}", MEMORY),
    ("a long range", "{{ range(100000000) | length }}", Refused("too many elements")),
    ("indented json", "{{ [1, [2]] | tojson(indent=1000000000) }}", Refused("indents by at most")),
    ("three loops", "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}{% endfor %}{% endfor %}{% endfor %}", STEPS),
    ("much output", "{% for a in range(5000) %}{{ 'x' * 10000 }}{% endfor %}", Refused("grows beyond")),
    ("a macro that calls itself", "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}", Harmless),
    ("two macros that call each other", "{% macro a(n) %}{{ b(n) }}{% endmacro %}{% macro b(n) %}{{ a(n) }}{{ a(n) }}{% endmacro %}{{ a(0) }}", Harmless),
    ("a loop that calls itself", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", Harmless),
    ("lists in lists", "{% set ns = namespace(l=[]) %}{% for i in range(10000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | length }}", Harmless),
    ("maps in maps", "{% set ns = namespace(l={}) %}{% for i in range(10000) %}{% set ns.l = {'a': ns.l} %}{% endfor %}{{ ns.l }}", Harmless),
    ("lists after lists", "{% set ns = namespace(l=[]) %}{% for i in range(10000) %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l | length }}", Harmless),
    ("chained lists", "{% set ns = namespace(l=[]) %}{% for i in range(10000) %}{% set ns.l = ns.l | chain([i]) %}{% endfor %}{{ ns.l | list | length }}", Harmless),
    ("zipped lists", "{% set ns = namespace(l=[1]) %}{% for i in range(10000) %}{% set ns.l = ns.l | zip([i]) %}{% endfor %}{{ ns.l | list }}", Harmless),
    ("sorting", "{% for i in range(300) %}{{ range(100000) | sort(reverse=true) | first }}{% endfor %}", Harmless),
];

/// Chains and nestings: what is repeated between a beginning and an end.
#[rustfmt::skip]
const CHAINS: &[(&str, &str, &str, usize, &str)] = &[
    ("not", "{{ ", "not ", 16_000, "1 }}"),
    ("minus", "{{ ", "-", 60_000, "1 }}"),
    ("plus", "{{ 1", "+1", 16_000, " }}"),
    ("tilde", "{{ 1", "~1", 16_000, " }}"),
    ("or", "{{ 1", " or 1", 10_000, " }}"),
    ("compare", "{{ 1", "<1", 16_000, " }}"),
    ("filter", "{{ 1", "|e", 16_000, " }}"),
    ("attribute", "{{ data", ".a", 16_000, " }}"),
    ("index", "{{ data", "[0]", 16_000, " }}"),
    ("call", "{{ data", "()", 16_000, " }}"),
    ("is", "{{ 1", " is odd", 8_000, " }}"),
    ("bracket", "{{ ", "(", 60_000, " }}"),
    ("list", "{{ ", "[", 60_000, " }}"),
    ("map", "{{ ", "{'a':", 12_000, " }}"),
    ("if else", "{{ ", "1 if 1 else ", 5_000, "1 }}"),
    ("nested if", "", "{% if 1 %}", 6_000, ""),
    ("nested for", "", "{% for a in [1] %}", 3_500, ""),
    ("nested with", "", "{% with a = 1 %}", 4_000, ""),
    ("nested set", "", "{% set a %}", 5_000, ""),
    ("nested macro", "", "{% macro a() %}", 4_000, ""),
    ("nested filter", "", "{% filter upper %}", 3_500, ""),
    ("many tags", "", "{{1}}", 12_000, ""),
    ("elif", "{% if 0 %}", "{% elif 0 %}", 5_000, "{% endif %}"),
    ("short not", "{{ ", "not ", 1_000, "1 }}"),
    ("short minus", "{{ ", "-", 4_000, "1 }}"),
    ("short plus", "{{ 1", "+1", 2_000, " }}"),
    ("short filter", "{{ 1", "|e", 2_000, " }}"),
    ("short attribute", "{{ data", ".a", 2_000, " }}"),
    ("short if", "", "{% if 1 %}", 100, "x"),
];

/// Scripts: each is a platform of its own with a hook that uses it. The text is the body of `request`.
#[rustfmt::skip]
const SCRIPTS: &[(&str, &str, Want)] = &[
    ("endless loop", "loop {}", Refused("steps")),
    ("endless while", "let n = 0; while true { n += 1; }", Refused("steps")),
    ("doubled text", "let s = \"x\"; loop { s += s; }", LARGE),
    ("doubled list", "let a = [1]; loop { a += a; }", LARGE),
    ("growing list", "let a = []; loop { a.push(1); }", Refused("")),
    ("growing map", "let m = #{}; let n = 0; loop { m[\"k\" + n] = n; n += 1; }", Refused("")),
    ("many long texts", "let s = \"x\"; for i in 0..20 { s += s; } let a = []; for i in 0..10000 { a.push(s + i); } a.len()", LARGE),
    ("replace", "let s = \"x\"; for i in 0..20 { s += s; } s.replace(\"x\", s); s", Harmless),
    ("pad", "let s = \"x\"; s.pad(2000000000, \"y\"); s", Harmless),
    ("pad a list", "let a = [1]; a.pad(2000000000, 1); a", Harmless),
    ("sleep", "sleep(1000000)", Harmless),
    ("a long blob", "blob(1000000000000)", Harmless),
    ("calls itself", "fn g(n) { g(n + 1) } g(0)", Refused("")),
    ("lists in lists", "let a = []; for i in 0..100000 { a = [a]; } a.len()", Refused("")),
    ("maps in maps", "let a = #{}; for i in 0..100000 { a = #{a: a}; } a.len()", Refused("")),
    ("split", "let s = \"x\"; for i in 0..22 { s += s; } for i in 0..1000 { s.split(\"\"); } 1", Harmless),
    ("a long range", "let n = 0; for i in 0..1000000000000 { n += i; } n", Refused("")),
    ("sorting", "let a = []; for i in 0..50000 { a.push(50000 - i); } for i in 0..10000 { a.sort(); } 1", Harmless),
    ("hashing", "let s = \"x\"; for i in 0..22 { s += s; } for i in 0..100000 { sha256(s); } 1", Refused("")),
    ("power", "2 ** 100000000000", Harmless),
    ("to_json", "let a = [1]; for i in 0..16 { a += a; } let t = \"\"; for i in 0..100 { t = to_json(a + [t]); } 1", Harmless),
];

const OTHER_SCRIPTS: &[(&str, &str, Want)] = &[
    ("manifest", "fn manifest() { loop {} }\nfn request(delivery) { #{url: \"http://h/\"} }", Refused("steps")),
    (
        "statements",
        "let s = \"x\"; loop { s += s; }\nfn manifest() { #{summary: \"s\", options: #{}} }\nfn request(delivery) { #{url: \"http://h/\"} }",
        Refused(""),
    ),
    (
        "verdict",
        "fn manifest() { #{summary: \"s\", options: #{}} }\nfn request(delivery) { #{url: \"http://h/\"} }\nfn verdict(response) { loop {} }",
        Refused("steps"),
    ),
    (
        "memory in verdict",
        "fn manifest() { #{summary: \"s\", options: #{}} }\nfn request(delivery) { #{url: \"http://h/\"} }\nfn verdict(response) { let s = \"x\"; for i in 0..20 { s += s; } let a = []; for i in 0..10000 { a.push(s + i); } delivered() }",
        LARGE,
    ),
];

/// Whole hook files, made to cost the reader of YAML dear.
fn documents() -> Vec<(&'static str, String)> {
    let head = "events: [a]\nplatform: webhook\noptions:\n  url: http://h.example/\n  json:";
    let mut bomb = "x: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..40 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!("x{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
    }
    vec![
        ("aliases", bomb),
        ("nested maps", format!("{head} {}", "{a: ".repeat(15_000))),
        ("nested lists", format!("{head} {}", "[".repeat(60_000))),
        ("nested by indentation", (0..350).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()),
        ("nested dashes", format!("{head}\n    {}", "- ".repeat(30_000))),
        ("many members", format!("{head}\n{}", (0..6_000).map(|n| format!("    k{n}: 1\n")).collect::<String>())),
        ("many of the same member", format!("{head}\n{}", "    k: 1\n".repeat(6_000))),
        ("merges", format!("a: &a {{b: 1}}\n{}", "<<: *a\n".repeat(8_000))),
        ("anchors", (0..5_000).map(|n| format!("k{n}: &a{n} x\n")).collect()),
        ("an open quote", format!("{head} \"{}", "\n\n x".repeat(15_000))),
        ("colons", ": ".repeat(30_000)),
        ("question marks", "? ".repeat(30_000)),
        ("tags", format!("{head} {}", "!a ".repeat(20_000))),
        ("comments", format!("{head} 1\n{}", "#\n".repeat(30_000))),
        ("many documents", "---\n".repeat(15_000)),
        ("control characters", "\u{1}".repeat(60_000)),
        ("long lines", format!("{head} {}", "x".repeat(60_000))),
        ("tabs", "\t".repeat(60_000)),
        (
            "a long pattern",
            format!("events: [\"{}b\"]\nplatform: webhook\noptions: {{url: http://h.example/}}", "*a".repeat(20_000)),
        ),
    ]
}

/// Those that take seconds before they are found out; tried when all are asked for.
const SLOW: &[&str] = &[
    "t-doubled-by-json",
    "t-a-long-list",
    "t-lists-after-lists",
    "t-chained-lists",
    "t-zipped-lists",
    "t-sorting",
    "s-growing-list",
    "s-growing-map",
    "s-lists-in-lists",
    "s-maps-in-maps",
    "s-sorting",
    "s-hashing",
    "s-to_json",
];

fn all() -> bool {
    std::env::var_os("POSTRIDER_ALL_BOMBS").is_some()
}

fn template_file(text: &str) -> String {
    format!("events: [a]\nplatform: webhook\noptions:\n  url: http://127.0.0.1:9/\n  text: |\n    {text}\n")
}

fn chain(open: &str, link: &str, count: usize, end: &str) -> String {
    // As many as a file may hold.
    let count = count.min(64_000 / link.len());
    template_file(&format!("{open}{}{end}", link.repeat(count)))
}

fn script_file(body: &str) -> String {
    let (own, body) = match body.strip_prefix("fn g") {
        Some(_) => body.split_once("} ").map_or(("", body), |(own, body)| (own, body)),
        None => ("", body),
    };
    let own = if own.is_empty() { String::new() } else { format!("{own}}}\n") };
    format!(
        "{own}fn manifest() {{ #{{summary: \"s\", options: #{{}}}} }}\n\
         fn request(delivery) {{ let made = try_it(); #{{url: \"http://h.example/\", json: #{{made: type_of(made)}}}} }}\n\
         fn try_it() {{ {body} }}\n"
    )
}

fn name_of(what: &str) -> String {
    what.replace(' ', "-")
}

/// Every bomb as a hook file, with what is to become of it.
fn files() -> Vec<(String, String, Want)> {
    let mut files = Vec::new();
    for (name, text, want) in TEMPLATES {
        files.push((format!("t-{}", name_of(name)), template_file(text), *want));
    }
    for (name, open, link, count, end) in CHAINS {
        files.push((format!("c-{}", name_of(name)), chain(open, link, *count, end), Harmless));
    }
    for (name, text) in documents() {
        files.push((format!("y-{}", name_of(name)), text, Harmless));
    }
    for (name, ..) in SCRIPTS.iter().chain(OTHER_SCRIPTS) {
        let text = format!("events: [a]\nplatform: s-{}\noptions: {{}}\n", name_of(name));
        files.push((format!("s-{}", name_of(name)), text, Harmless));
    }
    let deep = format!(
        "events: [a]\nplatform: webhook\nwhen: {}1\noptions: {{url: http://h.example/}}\n",
        "not ".repeat(1_000)
    );
    files.push(("w-not".to_owned(), deep, Harmless));
    let long = "events: [a]\nplatform: webhook\nwhen: (('x' * 90000000) ~ ('y' * 90000000)) | length > 1\noptions: {url: http://h.example/}\n";
    files.push(("w-long".to_owned(), long.to_owned(), MEMORY));
    let names: Vec<&str> = files.iter().map(|(name, ..)| name.as_str()).collect();
    assert!(SLOW.iter().all(|slow| names.contains(slow)));
    files.retain(|(name, ..)| all() || !SLOW.contains(&name.as_str()));
    files
}

fn scripts() -> Vec<(String, String, Want)> {
    let own = SCRIPTS.iter().map(|(name, body, want)| (format!("s-{}", name_of(name)), script_file(body), *want));
    own.chain(
        OTHER_SCRIPTS.iter().map(|(name, text, want)| (format!("s-{}", name_of(name)), (*text).to_owned(), *want)),
    )
    .collect()
}

fn prover() -> Prover {
    Prover::program(env!("CARGO_BIN_EXE_postrider")).patient(Duration::from_secs(600))
}

/// What came of one is as it should be.
fn judge(name: &str, verdict: &Verdict, want: Want) -> Result<(), String> {
    match (want, verdict) {
        (_, Verdict::Unproven(why)) => Err(format!("{name} could not be tried: {why}")),
        (Refused(words), Verdict::Refused(found)) => {
            let said =
                found.iter().any(|found| found.what.contains(words) && found.place.is_some() && found.help.is_some());
            // A platform's script is told with its place; what it breaks is told by the steps.
            if said || found.iter().any(|found| found.what.contains(words) && found.place.is_some()) {
                Ok(())
            } else {
                Err(format!("{name} is refused otherwise: {found:?}"))
            }
        }
        (Refused(_), other) => Err(format!("{name} is not refused: {other:?}")),
        (Harmless, _) => Ok(()),
    }
}

#[test]
fn each_bomb_is_refused_before_it_is_loaded() {
    let (files, scripts) = (files(), scripts());
    assert!(files.len() + scripts.len() > 100, "{} and {}", files.len(), scripts.len());
    let mut wrong = Vec::new();
    let began = Instant::now();
    let sources: Vec<Source> =
        scripts.iter().map(|(name, text, _)| Source::new(format!("{name}.rhai"), text.as_str())).collect();
    let verdicts = prover().scripts(ScriptFor::Platform, scripts.iter().map(|(name, ..)| name.as_str()).zip(&sources));
    let mut refused = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Refused(_))).count();
    for ((name, _, want), verdict) in scripts.iter().zip(&verdicts) {
        wrong.extend(judge(name, verdict, *want).err());
    }
    let sources: Vec<Source> =
        files.iter().map(|(name, text, _)| Source::new(format!("{name}.yaml"), text.as_str())).collect();
    let verdicts = prover().hooks(&Surroundings::new(None, &Platforms::built_in()), &sources);
    refused += verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Refused(_))).count();
    for ((name, _, want), verdict) in files.iter().zip(&verdicts) {
        wrong.extend(judge(name, verdict, *want).err());
    }
    println!(
        "{} hooks and scripts, {refused} beyond their bounds, in {:?}",
        files.len() + scripts.len(),
        began.elapsed()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn scripts_of_sources_are_tried_as_well() {
    let manifest = "fn manifest() { #{summary: \"s\", options: #{}} }";
    let events = |body: &str| format!("{manifest}\nfn events(request) {{ {body} }}\n");
    let scripts = [
        ("fine", events("[#{type: \"a\", data: request.json}]"), None),
        ("endless", events("loop {}"), Some("steps")),
        ("large", events("let s = \"x\"; loop { s += s; }"), Some("too large")),
        ("manifest", "fn manifest() { loop {} }\nfn events(request) { [] }\n".to_owned(), Some("steps")),
        ("verify", format!("{}fn verify(request) {{ loop {{}} }}\n", events("[]")), Some("steps")),
    ];
    let sources: Vec<Source> =
        scripts.iter().map(|(name, text, _)| Source::new(format!("{name}.rhai"), text.as_str())).collect();
    let names = scripts.iter().map(|(name, ..)| *name);
    let verdicts = prover().scripts(ScriptFor::Source, names.zip(&sources));
    for ((name, _, want), verdict) in scripts.iter().zip(&verdicts) {
        match (want, verdict) {
            (None, verdict) => assert_eq!(verdict, &Verdict::Fine(None), "{name}"),
            (Some(words), verdict) => judge(name, verdict, Refused(words)).unwrap(),
        }
    }
}

#[test]
fn the_place_is_the_bombs_own() {
    let text = "events: [a]\nplatform: webhook\noptions:\n  url: http://h.example/\n  json:\n    fine: \"{{ data.title }}\"\n    bomb: \"{{ ('x' * 100000000) | upper }}\"\n";
    let source = Source::new("hooks.d/a.yaml", text);
    let verdicts = prover().hooks(&Surroundings::default(), [&source]);
    let Verdict::Refused(found) = &verdicts[0] else { panic!("{verdicts:?}") };
    let place = found[0].place.as_ref().expect("a place");
    assert_eq!((place.file.as_str(), place.line, place.column), ("hooks.d/a.yaml", 7, 11), "{found:?}");
    assert_eq!(found[0].what, "this text needs more than 96 MiB of memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_among_a_hundred_bombs_stays_small_and_delivers() {
    let sink = receiver().await;
    let healthy = format!(
        "events: [a]\nplatform: webhook\noptions:\n  url: http://{}/\n  text: \"{{{{ data.title }}}}\"\n",
        sink.addr
    );
    let quiet = tempfile::tempdir().unwrap();
    write_hook(quiet.path(), "healthy", &healthy);
    let peak_of_quiet = {
        let mut daemon = Process::start(quiet.path());
        daemon.await_ready();
        daemon.peak()
    };

    let folder = tempfile::tempdir().unwrap();
    write_hook(folder.path(), "healthy", &healthy);
    // One of each sort unless all are asked for.
    let step = if all() { 1 } else { 7 };
    let (files, scripts) = (files(), scripts());
    for (name, text, _) in files.iter().step_by(step) {
        write_hook(folder.path(), name, text);
    }
    fs::create_dir_all(folder.path().join("scripts/platforms")).unwrap();
    for (name, text, _) in scripts.iter().step_by(step) {
        fs::write(folder.path().join(format!("scripts/platforms/{name}.rhai")), text).unwrap();
    }
    let folder_path = folder.path().to_owned();
    let (mut daemon, started) = tokio::task::spawn_blocking(move || {
        let mut daemon = Process::start(&folder_path);
        let started = daemon.await_ready();
        (daemon, started)
    })
    .await
    .unwrap();
    let problems = daemon.get("/v1/status").unwrap()["problems"].as_array().map_or(0, Vec::len);
    assert!(problems > 90 / step, "only {problems} problems: {}", daemon.log());
    let answer = daemon.emit(&json!({"type": "a", "data": {"title": "arrived"}})).expect("an answer");
    assert!(answer["hooks"].as_array().is_some_and(|hooks| hooks.iter().any(|hook| hook == "healthy")), "{answer}");
    await_that("the healthy hook's delivery arrives", || {
        crate::support::bodies(&sink).iter().any(|body| body == "arrived")
    });
    await_that("nothing is in the air", || {
        daemon.get("/v1/status").is_some_and(|status| status["waiting"].as_u64().is_some())
    });
    let grown = daemon.peak().saturating_sub(peak_of_quiet);
    println!(
        "ready after {started:?} with {problems} problems; peak {} KiB, without the bombs {peak_of_quiet} KiB",
        daemon.peak()
    );
    assert!(grown < 64 * 1024, "the daemon grew by {grown} KiB");
    assert!(daemon.stop().success(), "{}", daemon.log());
}

#[test]
fn a_bomb_keeps_the_last_good_version() {
    let folder = tempfile::tempdir().unwrap();
    let fine = "events: [a]\nplatform: webhook\noptions: {url: http://h.example/, text: \"{{ data.t }}\"}\n";
    write_hook(folder.path(), "one", fine);
    let mut keeper = Keeper::new(Paths::here(folder.path()), true).proving(prover());
    let config = keeper.load().unwrap();
    assert_eq!((config.hooks.len(), config.problems.len()), (1, 0), "{:?}", config.problems);

    write_hook(folder.path(), "one", &template_file(TEMPLATES[0].1));
    let config = keeper.load().unwrap();
    assert_eq!(&*config.hooks["one"].source.text, fine);
    assert_eq!(config.problems.len(), 1);
    assert!(config.problems[0].what.contains("MiB of memory"), "{:?}", config.problems);
    assert!(config.problems[0].notes[0].contains("goes on"), "{:?}", config.problems);

    let mut again = Keeper::new(Paths::here(folder.path()), true).proving(prover());
    assert_eq!(&*again.load().unwrap().hooks["one"].source.text, fine, "also across a restart");
}

#[test]
fn a_script_that_became_a_bomb_keeps_its_last_good_version_for_its_hooks() {
    let folder = tempfile::tempdir().unwrap();
    let platforms = folder.path().join("scripts/platforms");
    fs::create_dir_all(&platforms).unwrap();
    let fine = script_file("1");
    fs::write(platforms.join("own.rhai"), &fine).unwrap();
    write_hook(folder.path(), "one", "events: [a]\nplatform: own\noptions: {}\n");
    let mut keeper = Keeper::new(Paths::here(folder.path()), true).proving(prover());
    assert_eq!(keeper.load().unwrap().problems, []);
    fs::write(platforms.join("own.rhai"), script_file("loop {}")).unwrap();
    let config = keeper.load().unwrap();
    assert_eq!(*config.platforms.get("own").unwrap().source.text, fine);
    assert_eq!(config.hooks.len(), 1);
    let [problem] = &config.problems[..] else { panic!("{:?}", config.problems) };
    assert!(
        problem.what.contains("steps") && problem.place.as_ref().unwrap().file.ends_with("own.rhai"),
        "{problem:?}"
    );
}

#[test]
fn what_was_proven_is_not_proven_again() {
    let folder = tempfile::tempdir().unwrap();
    let text = |number: usize| {
        format!(
            "events: [a]\nplatform: webhook\noptions: {{url: http://h.example/{number}, text: \"{{{{ data.t }}}}\"}}\n"
        )
    };
    for number in 0..20 {
        write_hook(folder.path(), &format!("h{number}"), &text(number));
    }
    let nobody = || Prover::program("/nonexistent/postrider");
    let load = |prover: Prover| Keeper::new(Paths::here(folder.path()), true).proving(prover).load().unwrap();
    assert_eq!(load(nobody()).hooks.len(), 0, "nothing is loaded that could not be tried");
    assert_eq!(load(prover()).hooks.len(), 20);
    let config = load(nobody());
    assert_eq!((config.hooks.len(), config.problems.len()), (20, 0), "{:?}", config.problems);

    write_hook(folder.path(), "h3", &text(333));
    let config = load(nobody());
    assert_eq!(config.hooks.len(), 20);
    assert!(config.hooks["h3"].source.text.contains("example/3,"), "the last good version goes on");
    assert_eq!(config.problems.len(), 1);
    assert_eq!(config.problems[0].code, "unproven");
}

/// Run with `POSTRIDER_MANY=10000` for the figures of the documentation.
#[test]
fn many_unchanged_hooks_start_quickly() {
    let many = std::env::var("POSTRIDER_MANY").map_or(100, |many| many.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    for number in 0..many {
        let text = format!(
            "events: [t{number}]\nplatform: webhook\noptions:\n  url: http://h.example/{number}\n  json:\n    title: \"{{{{ data.title }}}}\"\n    text: \"{{{{ data.app.name | upper }}}}: {{{{ data.list | join(', ') }}}}\"\n"
        );
        write_hook(folder.path(), &format!("h{number}"), &text);
    }
    let mut daemon = Process::start(folder.path());
    let first = daemon.await_ready();
    assert!(daemon.stop().success());
    let mut daemon = Process::start(folder.path());
    let second = daemon.await_ready();
    let hooks = daemon.get("/v1/status").unwrap()["hooks"].as_array().map_or(0, Vec::len);
    assert_eq!(hooks, many);
    println!("{many} hooks: first start {first:?}, unchanged {second:?}, peak {} KiB", daemon.peak());
    assert!(second < first + Duration::from_secs(1), "{first:?} {second:?}");
}

#[test]
fn the_proving_process_reaches_nothing() {
    // A file descriptor beyond the three it has cannot be had, and its bounds cannot be lifted: shown by what it says
    // of work that it cannot even read.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_postrider"))
        .arg("prove")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        // It may not write to a file, which the output of this test may be.
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let limits = await_limits(child.id());
    for (what, most) in
        [("Max core file size", "0"), ("Max file size", "0"), ("Max open files", "3"), ("Max data size", "100663296")]
    {
        let line = limits.lines().find(|line| line.starts_with(what)).unwrap();
        let words: Vec<&str> = line[what.len()..].split_whitespace().collect();
        assert_eq!(words[..2], [most, most], "{line}");
    }
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(4), "without work it says so");
}

fn await_limits(pid: u32) -> String {
    let mut limits = String::new();
    let path = format!("/proc/{pid}/limits");
    await_that("the process bounds itself", || {
        limits = fs::read_to_string(Path::new(&path)).unwrap_or_default();
        limits.lines().any(|line| line.starts_with("Max address space") && !line.contains("unlimited"))
    });
    limits
}
