//! What each built-in script of a source makes of its vendor's requests: `tests/sources/NAME.yaml`.

use std::path::Path;

use postrider::rules::cases::run_source;
use postrider::rules::diagnostic::Source;
use postrider::rules::source::SourceScripts;

use crate::support::stems;

/// Cases that each script has at least.
const LEAST: usize = 5;

#[test]
fn every_source_does_what_its_cases_say() {
    let scripts = SourceScripts::built_in();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sources");
    let names: Vec<_> = scripts.0.keys().cloned().collect();
    assert!(names.len() >= 13, "{names:?}");
    assert_eq!(names, stems(&folder, "yaml"), "a script without cases, or cases without a script");
    let load = |file: &str| std::fs::read(folder.join(file)).map_err(|error| error.to_string());
    let mut failed = Vec::new();
    for (name, script) in &scripts.0 {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        let source = Source::new(format!("tests/sources/{name}.yaml"), text);
        let results = run_source(script, &source, &load).unwrap_or_else(|found| {
            panic!("{}", found.iter().map(|found| found.render(false)).collect::<Vec<_>>().join("\n"))
        });
        assert!(results.len() >= LEAST, "only {} cases of {name}", results.len());
        for result in results.iter().filter(|result| !result.differences.is_empty()) {
            let place = format!("{}:{}", result.place.file, result.place.line);
            failed.push(format!("{place} {}\n    {}", result.name, result.differences.join("\n    ")));
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn manifests_say_what_a_person_needs() {
    for (name, script) in &SourceScripts::built_in().0 {
        assert!(script.built_in && script.manifest.summary.len() > 5, "{name}");
        assert!(script.manifest.options.iter().all(|option| option.about.len() > 5), "{name}");
        let own = |kind: &String| kind.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
        assert!(script.manifest.types.iter().all(own), "{name}: {:?}", script.manifest.types);
        // The others read events of any type.
        let any = ["cloudevents", "generic", "standard-webhooks"].contains(&name.as_str());
        assert_eq!(script.manifest.types.is_empty(), any, "{name}");
    }
}
