//! Hooks that are right: `tests/hooks/good/*.yaml` load without a word, and their own tests pass.

use std::path::Path;

use jiff::Timestamp;
use postrider::rules::diagnostic::Source;
use postrider::rules::hook::Hook;
use postrider::rules::platform::{Given, Platforms};
use postrider::rules::settings::Defaults;
use postrider::words::event::Event;
use postrider::words::secret::{Secret, Secrets};

#[test]
fn they_load_without_a_word_and_their_tests_pass() {
    let platforms = Platforms::built_in();
    let (mut files, mut tests) = (0, 0);
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hooks/good")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let hook = hook(name, &text, &platforms);
        for result in hook.run_tests(&Secrets::default(), Timestamp::UNIX_EPOCH) {
            assert_eq!(result.difference, None, "{name}, test {:?}", result.name);
            tests += 1;
        }
        assert_eq!(hook.dry_run(&Secrets::default(), Timestamp::UNIX_EPOCH), [], "{name}");
        files += 1;
    }
    assert!(files >= 6 && tests >= 9, "only {files} files with {tests} tests were found");
}

#[test]
fn a_hook_has_what_its_file_says() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hooks/good/10-every-key.yaml"))
            .unwrap();
    let hook = hook("hooks.d/10-every-key.yaml", &text, &Platforms::built_in());
    assert_eq!(&*hook.name, "every-key");
    assert_eq!(
        (hook.description.as_deref(), hook.owner.as_deref()),
        (Some("everything at once"), Some("ops@example.com"))
    );
    assert_eq!((hook.enabled, hook.scope.as_deref(), hook.concurrency), (false, Some("app-1"), 4));
    assert_eq!(hook.timeout.as_secs(), 90);
    assert_eq!(hook.retry.first.as_millis(), 500);
    assert_eq!((hook.retry.max.as_secs(), hook.retry.max_age.as_secs()), (3600, 2 * 86400));
    assert_eq!(hook.retry.max_attempts, Some(20));
    assert_eq!(hook.pace.map(|pace| (pace.count, pace.window.as_secs(), pace.burst)), Some((5, 1, Some(2))));
    assert_eq!(
        hook.breaker.map(|breaker| (breaker.failures, breaker.probe.as_secs(), breaker.max.as_secs())),
        Some((3, 10, 60))
    );
    assert_eq!(hook.secrets().map(|(name, place)| (name.as_str(), place.line)).collect::<Vec<_>>(), [("ci-url", 9)]);
    let sample = hook.sample_event();
    assert_eq!((sample.id.as_str(), sample.kind.as_str(), sample.source.as_str()), ("e-1", "build.done", "ci"));
}

#[test]
fn the_fingerprint_follows_the_file() {
    let platforms = Platforms::built_in();
    let text = "events: [a]\nplatform: webhook\noptions: {url: https://ci.example.com/hook}\n";
    let one = hook("a.yaml", text, &platforms).fingerprint();
    assert_eq!(one.len(), 64);
    assert_eq!(one, hook("b.yaml", text, &platforms).fingerprint(), "the name is not the content");
    assert_ne!(one, hook("a.yaml", &format!("{text}# mended\n"), &platforms).fingerprint());
}

#[test]
fn two_hooks_to_one_robot_have_one_receiver() {
    let platforms = Platforms::built_in();
    let text = "events: [a]\nplatform: dingtalk\noptions: {url: {secret: robot}, message: one}\n";
    let one = hook("one.yaml", text, &platforms);
    let two = hook("two.yaml", &text.replace("one", "two"), &platforms);
    let other = hook("three.yaml", &text.replace("robot", "other"), &platforms);
    let mut secrets = Secrets::default();
    secrets.insert("robot", Ok(Secret::new("https://oapi.dingtalk.com/robot/send?access_token=1")));
    secrets.insert("other", Ok(Secret::new("https://oapi.dingtalk.com/robot/send?access_token=2")));
    let event = Event::new("a", None, &b"{}"[..], Timestamp::UNIX_EPOCH);
    let key = |hook: &Hook| {
        assert!(hook.receiver_is_constant());
        let now = Timestamp::UNIX_EPOCH;
        hook.receiver(&Given { id: "1-1", attempt: 1, now, hook: &hook.name, event: &event, secrets: &secrets })
            .unwrap()
    };
    assert_eq!(key(&one), key(&two));
    assert_ne!(key(&one), key(&other));
}

#[test]
fn a_receiver_that_the_event_names_is_not_constant() {
    let text = "events: [a]\nplatform: webhook\noptions: {url: \"https://ci.example.com/{{ data.app }}\"}\n";
    let hook = hook("a.yaml", text, &Platforms::built_in());
    let key = |app: &str| {
        let event = Event::new("a", None, format!("{{\"app\": \"{app}\"}}"), Timestamp::UNIX_EPOCH);
        let now = Timestamp::UNIX_EPOCH;
        let secrets = Secrets::default();
        hook.receiver(&Given { id: "1-1", attempt: 1, now, hook: &hook.name, event: &event, secrets: &secrets })
            .unwrap()
    };
    assert_eq!(hook.receiver_is_constant(), hook.platform.manifest.receiver.is_empty());
    assert_eq!(key("x") == key("y"), hook.receiver_is_constant());
}

fn hook(name: &str, text: &str, platforms: &Platforms) -> Hook {
    let (hook, found) = Hook::parse(&Source::new(name, text), platforms, &Defaults::default());
    let said: Vec<_> = found.iter().map(|found| found.render(false)).collect();
    assert!(said.is_empty(), "{}", said.join("\n\n"));
    hook.unwrap()
}
