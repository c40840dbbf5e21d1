//! What the code of a diagnostic means: the page in `docs`, section by section.

const PAGE: &str = include_str!("../../docs/diagnostics.md");

/// A piece of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A paragraph.
    Text(&'static str),
    /// Something that is written or typed; the word says of what kind it is, as in `yaml wrong main`.
    Example(&'static str, &'static str),
}

/// Every code, in the order of the page.
pub fn codes() -> impl Iterator<Item = &'static str> {
    sections().map(|(code, _)| code)
}

/// What a code means. It may be given as it is printed, `error[CODE]`.
pub fn explain(code: &str) -> Option<Vec<Part>> {
    let code = code.trim().trim_start_matches("error").trim_start_matches("warning");
    let code = code.trim_end_matches(':').trim_start_matches('[').trim_end_matches(']');
    sections().find(|(known, _)| *known == code).map(|(_, text)| parts(text))
}

fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n### ").skip(1).filter_map(|section| {
        let (code, text) = section.split_once('\n')?;
        // The heading of the next chapter belongs to nobody.
        Some((code, text.split("\n## ").next().unwrap_or(text).trim()))
    })
}

fn parts(section: &'static str) -> Vec<Part> {
    let mut parts = Vec::new();
    for (number, piece) in section.split("```").enumerate() {
        if number % 2 == 1 {
            let (kind, text) = piece.split_once('\n').unwrap_or((piece, ""));
            parts.push(Part::Example(kind, text.trim_end()));
        } else {
            parts.extend(piece.split("\n\n").map(str::trim).filter(|text| !text.is_empty()).map(Part::Text));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_however_it_was_copied() {
        for written in ["tab", "[tab]", "error[tab]", "error[tab]:", "warning[tab]", " tab "] {
            let parts = explain(written).unwrap_or_else(|| panic!("{written}"));
            assert!(
                matches!(
                    parts[..],
                    [Part::Text(_), Part::Example("yaml wrong", _), Part::Example("yaml right", _), Part::Text(_)]
                ),
                "{parts:?}"
            );
        }
        assert_eq!(explain("no-such-code"), None);
        assert_eq!(explain(""), None);
    }

    #[test]
    fn no_chapter_ends_up_in_a_section() {
        assert!(codes().count() > 60);
        for code in codes() {
            for part in explain(code).unwrap_or_default() {
                let Part::Text(text) = part else { continue };
                assert!(!text.starts_with('#'), "{code}: {text}");
            }
        }
    }
}
