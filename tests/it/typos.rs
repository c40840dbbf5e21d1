//! One letter is wrong, in every way and in every key: the key that was meant is named.

use std::collections::BTreeSet;

use postrider::rules::diagnostic::Diagnostic;
use postrider::rules::manifest::OptionSpec;
use postrider::rules::platform::Platforms;
use postrider::rules::source::SourceScripts;
use postrider::words::keys;

use crate::schema::levels::{LEVELS, diagnose, sample};

/// A letter left out, a letter twice, two neighbours swapped.
fn typos(word: &str) -> BTreeSet<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut typos = BTreeSet::new();
    for at in 0..letters.len() {
        let mut one = letters.clone();
        one.remove(at);
        typos.insert(one.iter().collect());
        let mut two = letters.clone();
        two.insert(at, letters[at]);
        typos.insert(two.iter().collect());
        if at + 1 < letters.len() {
            let mut swapped = letters.clone();
            swapped.swap(at, at + 1);
            typos.insert(swapped.iter().collect());
        }
    }
    typos.remove(word);
    typos.remove("");
    typos
}

/// Whether the key is proposed, or another that is as near.
fn proposes(found: &[Diagnostic], typo: &str, meant: &str, known: &[&str]) -> bool {
    let plain = |text: &str| text.replace(['_', '-'], "");
    let far = |key: &str| strsim::damerau_levenshtein(&plain(typo), &plain(key));
    let proposed = found.iter().filter_map(|found| {
        let help = found.help.as_deref()?;
        help.strip_prefix("did you mean `")?.split('`').next()
    });
    proposed.into_iter().any(|key| key == meant || known.contains(&key) && far(key) <= far(meant))
}

#[test]
fn every_key_is_found_behind_a_typo() {
    let (mut tried, mut lost) = (0, Vec::new());
    for level in LEVELS {
        let known = level.table.names();
        for key in level.table.keys {
            let value = sample(&key.shape).unwrap_or_else(|| "{}".to_owned());
            for typo in typos(key.name).into_iter().filter(|typo| !known.contains(&typo.as_str())) {
                let text = level.file(key.name, &typo, &value);
                if !proposes(&level.diagnose(&text), &typo, key.name, &known) {
                    lost.push(format!("{typo} for {} of {:?}", key.name, level.table.name));
                }
                tried += 1;
            }
        }
    }
    assert!(lost.is_empty(), "{} are not found: {}", lost.len(), lost.join(", "));
    assert!(tried > 1000, "only {tried} typos");
}

#[test]
fn every_option_is_found_behind_a_typo() {
    let (platforms, scripts) = (Platforms::built_in(), SourceScripts::built_in());
    let (mut tried, mut lost) = (0, Vec::new());
    let mut all = |of: &str, is_main: bool, specs: &[OptionSpec], common: Vec<&str>| {
        let mut known: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        known.extend(common);
        for meant in &known {
            for typo in typos(meant).into_iter().filter(|typo| !known.contains(&typo.as_str())) {
                let text = match is_main {
                    true => format!("sources: {{x: {{script: {of}, options: {{\"{typo}\": a}}}}}}\n"),
                    false => format!("events: t\nplatform: {of}\noptions: {{\"{typo}\": a}}\n"),
                };
                if !proposes(&diagnose(is_main, &text), &typo, meant, &known) {
                    lost.push(format!("{typo} for {meant} of {of}"));
                }
                tried += 1;
            }
        }
    };
    for platform in platforms.0.values() {
        all(&platform.name, false, &platform.manifest.options, Vec::new());
    }
    for script in scripts.0.values() {
        all(&script.name, true, &script.manifest.options, keys::SOURCE_OPTIONS.names());
    }
    assert!(lost.is_empty(), "{} are not found: {}", lost.len(), lost.join(", "));
    assert!(tried > 1500, "only {tried} typos");
}
