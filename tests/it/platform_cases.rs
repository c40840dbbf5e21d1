//! What each built-in platform sends and how it reads the answers: `tests/platforms/NAME.yaml`.

use std::path::Path;

use postrider::rules::cases::run;
use postrider::rules::diagnostic::Source;
use postrider::rules::manifest::Kind;
use postrider::rules::platform::Platforms;

use crate::support::stems;

/// Cases that each platform has at least, of requests and answers together; robots with a quota have more.
const LEAST: usize = 9;
const LEAST_OF_ROBOTS: usize = 12;

/// Those that are not robots with a quota of their own.
const ANY_PACE: [&str; 5] = ["alertmanager", "cloudevents", "pushpushgo", "standard-webhooks", "webhook"];

#[test]
fn every_platform_does_what_its_cases_say() {
    let platforms = Platforms::built_in();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/platforms");
    let names: Vec<_> = platforms.0.keys().cloned().collect();
    assert!(names.len() >= 19, "{names:?}");
    assert_eq!(names, stems(&folder, "yaml"), "a platform without cases, or cases without a platform");
    let mut failed = Vec::new();
    for (name, platform) in &platforms.0 {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        let source = Source::new(format!("tests/platforms/{name}.yaml"), text);
        let results = run(platform, &source).unwrap_or_else(|found| {
            panic!("{}", found.iter().map(|found| found.render(false)).collect::<Vec<_>>().join("\n"))
        });
        let least = if ANY_PACE.contains(&name.as_str()) { LEAST } else { LEAST_OF_ROBOTS };
        assert!(results.len() >= least, "only {} cases of {name}", results.len());
        for result in results.iter().filter(|result| !result.differences.is_empty()) {
            failed.push(format!(
                "{}:{} {}\n    {}",
                result.place.file,
                result.place.line,
                result.name,
                result.differences.join("\n    ")
            ));
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn manifests_say_what_a_person_needs() {
    for (name, platform) in &Platforms::built_in().0 {
        assert!(platform.built_in && !platform.manifest.summary.is_empty(), "{name}");
        assert!(!platform.manifest.receiver.is_empty(), "{name}");
        assert!(platform.manifest.options.iter().all(|option| option.about.len() > 5), "{name}");
        assert!(platform.manifest.options[0].required, "{name}: required ones come first");
        let mut required = platform.manifest.options.iter().filter(|option| option.required);
        assert!(required.all(|option| option.origin.as_ref().is_some_and(|origin| origin.len() > 20)), "{name}");
        assert!(platform.manifest.option("url").is_some_and(|url| url.kind == Kind::Url), "{name}");
        let robot = !ANY_PACE.contains(&name.as_str());
        assert_eq!(
            (platform.manifest.rate_limit.is_some(), platform.manifest.concurrency == 1),
            (robot, robot),
            "{name}"
        );
    }
}
