//! What a hook did lately, drawn in one line.

use serde_json::Value as Json;

use crate::cli::output;

/// From little to much, and for terminals that have no other letters.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const PLAIN_BARS: [char; 8] = ['.', ':', '-', '=', '+', '*', '%', '#'];

/// A part in which more failed than arrived.
const FAILED: char = '!';

/// The history of a hook in `status`: a bar for each part, as high as there was much, and `!` where more failed than
/// arrived. Nothing when nothing was sent.
pub(crate) fn draw(hook: &Json, plain: bool) -> String {
    let parts = output::list(hook, "history");
    let count = |part: &Json| output::number(part, "delivered") + output::number(part, "failed");
    let most = parts.iter().map(count).max().unwrap_or_default();
    if most == 0 {
        return String::new();
    }
    let bars = if plain { PLAIN_BARS } else { BARS };
    let bar = |part: &Json| match count(part) {
        0 => ' ',
        _ if output::number(part, "failed") > output::number(part, "delivered") => FAILED,
        // One is seen beside a million.
        count => bars[usize::try_from((count * 8).div_ceil(most)).unwrap_or(8).clamp(1, 8) - 1],
    };
    parts.iter().map(bar).collect()
}

/// Whether the terminal says that it knows nothing but ASCII.
pub(crate) fn is_plain() -> bool {
    let said = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    said.is_none_or(|locale| !locale.to_string_lossy().to_ascii_lowercase().replace('-', "").contains("utf8"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook(parts: &[(u64, u64)]) -> Json {
        let parts = parts.iter().map(|(delivered, failed)| json!({"delivered": delivered, "failed": failed}));
        json!({"history": parts.collect::<Vec<_>>()})
    }

    #[test]
    fn a_bar_is_as_high_as_there_was_much() {
        assert_eq!(draw(&hook(&[(0, 0), (1, 0), (400, 0), (0, 3), (799, 1)]), false), " ▁▄!█");
        assert_eq!(draw(&hook(&[(0, 0), (1, 0), (400, 0), (0, 3), (799, 1)]), true), " .=!#");
        assert_eq!(draw(&hook(&[(2, 2)]), false), "█", "as much arrived as failed");
        assert_eq!(draw(&hook(&[(0, 0), (0, 0)]), false), "");
        assert_eq!(draw(&json!({}), false), "", "an older daemon says none");
    }
}
