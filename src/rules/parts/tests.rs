use proptest::prelude::*;

use super::*;

fn fit(limit: usize, unit: Unit, markup: Markup, overflow: Overflow) -> Fit<'static> {
    Fit { limit, unit, markup, overflow, head: "", tail: "", of: "it" }
}

fn made(text: &str, fit: &Fit<'_>) -> Vec<String> {
    parts(text, fit).unwrap_or_else(|why| panic!("{why}"))
}

/// The parts without their numbers.
fn unnumbered(parts: &[String]) -> Vec<String> {
    let count = parts.len();
    let number = |n: usize| format!("— {}/{count}", n + 1);
    parts.iter().enumerate().map(|(n, part)| part.strip_suffix(&number(n)).expect("a number").to_owned()).collect()
}

#[test]
fn what_fits_goes_out_as_it_is() {
    let exact = Fit { head: "k ", tail: " @x", ..fit(10, Unit::Bytes, Markup::Text, Overflow::Fail) };
    assert_eq!(made("12345", &exact), ["k 12345 @x"]);
    assert_eq!(parts("123456", &exact), Err("the text has 11 bytes, it takes 10".to_owned()));
}

#[test]
fn each_unit_counts_what_it_says() {
    for (unit, size) in
        [(Unit::Bytes, 14), (Unit::Chars, 7), (Unit::Utf16, 8), (Unit::Json(0), 17), (Unit::Json(28), 45)]
    {
        assert_eq!(unit.of("a\"\n应用😀\t"), size, "{unit:?}");
    }
    assert_eq!(Unit::Json(0).of("\u{1}"), 6);
    assert_eq!(Unit::JsonHtml.of("a<b>&\""), 1 + 6 + 1 + 6 + 6 + 2);
}

#[test]
fn a_cut_ends_a_line_or_a_word_or_at_least_a_character() {
    let cut = |text: &str, limit| made(text, &fit(limit, Unit::Bytes, Markup::Text, Overflow::Truncate)).remove(0);
    assert_eq!(cut("one two\nthree four", 15), "one two\n…");
    assert_eq!(cut("one two three four five", 19), "one two three …");
    assert_eq!(cut("应用应用应用", 11), "应用…");
    assert_eq!(cut("xxxxe\u{301}xxxxxxx", 8), "xxxx…", "an accent stays with its letter");
}

#[test]
fn markup_is_closed_and_opened_again() {
    let parts = |text: &str, markup, limit| unnumbered(&made(text, &fit(limit, Unit::Chars, markup, Overflow::Split)));
    let long = "word ".repeat(20);
    let html = parts(&format!("<b>{long}</b>"), Markup::Html, 60);
    assert!(html.len() > 2 && html.iter().all(|part| part.matches("<b>").count() == part.matches("</b>").count()));
    let fenced = parts(&format!("```sh\n{}```", "echo 1\n".repeat(20)), Markup::Markdown, 60);
    assert!(
        fenced.len() > 2 && fenced.iter().all(|part| part.starts_with("```sh\n") && part.trim_end().ends_with("```"))
    );
    for (mark, markup) in
        [("**", Markup::Markdown), ("_", Markup::Markdown), ("*", Markup::Mrkdwn), ("`", Markup::Mrkdwn)]
    {
        let bold = parts(&format!("a {mark}{}x{mark} b", long.replace("word", "w\\~d <x>")), markup, 60);
        assert!(bold.len() > 2 && bold[0].starts_with(&format!("a {mark}w")), "{bold:?}");
        for part in &bold {
            // What is opened is closed, and neither mark stands beside a space.
            let spans: Vec<_> = part.split(mark).collect();
            assert!(
                !spans.len().is_multiple_of(2) && spans[1..].iter().step_by(2).all(|span| span.trim() == *span),
                "{bold:?}"
            );
        }
    }
    // Marks that open nothing are nobody's to close.
    for text in
        [format!("snake_case {long} other_name"), format!("2 * 3 {long} 4 * 5"), format!("* item {long}* {long}")]
    {
        let whole = parts(&text, Markup::Markdown, 60).concat();
        let count = |text: &str| text.chars().filter(|c| "*_".contains(*c)).count();
        assert_eq!(count(&whole), count(&text), "{whole}");
    }
    let v2 = parts(&format!("*{}*", "wo\\.rd ".repeat(20)), Markup::MarkdownV2, 60);
    assert!(v2.len() > 2 && v2.iter().all(|part| part.starts_with('*') && part.trim_end().ends_with('*')), "{v2:?}");
}

#[test]
fn a_link_a_mention_and_an_entity_stay_whole() {
    for (token, markup) in [
        ("[link](https://h.example/x)", Markup::Markdown),
        ("**bold**", Markup::Markdown),
        ("<https://h.example|h>", Markup::Mrkdwn),
        ("&amp;", Markup::Mrkdwn),
        ("\\.", Markup::MarkdownV2),
        ("[link](https://h.example/x)", Markup::MarkdownV2),
        ("&amp;", Markup::Html),
        ("<at id=all>", Markup::Text),
    ] {
        for cut in 1..token.len() {
            // The limit falls into the token.
            let text = format!("{}{token}{}", "x".repeat(200 - cut), "y".repeat(200));
            let made = made(&text, &fit(201, Unit::Chars, markup, Overflow::Truncate)).remove(0);
            assert_eq!(made, format!("{}…", "x".repeat(200 - cut)), "{token}");
        }
    }
}

#[test]
fn the_keyword_stands_in_each_part_and_the_mention_in_the_last() {
    let how = Fit { head: "应用 ", tail: " @ann", ..fit(60, Unit::Bytes, Markup::Text, Overflow::Split) };
    let made = made(&"word ".repeat(40), &how);
    assert!(made.len() > 3 && made.iter().all(|part| part.starts_with("应用 ") && part.len() <= 60));
    assert!(
        made[made.len() - 1].ends_with(" @ann") && made[..made.len() - 1].iter().all(|part| !part.contains("@ann"))
    );
}

#[test]
fn more_than_twenty_parts_are_cut() {
    let made = made(&"word ".repeat(1000), &fit(60, Unit::Bytes, Markup::Text, Overflow::Split));
    assert_eq!(made.len(), limits::PARTS);
    assert!(made[limits::PARTS - 1].contains('…'));
}

#[test]
fn a_limit_without_room_is_refused() {
    let how = Fit { head: "a long keyword", ..fit(10, Unit::Bytes, Markup::Text, Overflow::Truncate) };
    assert!(parts("word", &how).is_err());
    assert_eq!(parts("", &fit(10, Unit::Bytes, Markup::Text, Overflow::Fail)), Err(EMPTY.to_owned()));
}

#[test]
fn words_without_their_markup() {
    for (text, markup, words) in [
        ("<b>1 &lt; 2</b> <a href=\"https://h.example\">x</a>", Markup::Html, "1 < 2 x"),
        ("*bold* _a\\.b_ `c` [x](https://h.example/a\\)b)", Markup::MarkdownV2, "bold a.b c x (https://h.example/a)b)"),
        ("a < b", Markup::Html, "a < b"),
    ] {
        assert_eq!(plain(text, markup), words);
    }
}

/// Texts in which everything happens: markup of all kinds, opened and not closed, and characters of every length.
fn texts() -> impl Strategy<Value = String> {
    let bit = prop_oneof![
        4 => "[a-z应用😀é ]{1,12}",
        1 => Just("\n".to_owned()),
        1 => Just("```\n".to_owned()),
        1 => "[*_~`|<>&\\\\\\[\\]()!#]{1,3}",
        1 => Just("<https://h.example|x>".to_owned()),
        1 => Just("[x](https://h.example)".to_owned()),
        1 => Just("<b>".to_owned()),
        1 => Just("</b>".to_owned()),
        1 => Just("&amp;".to_owned()),
        1 => Just("e\u{301}👩\u{200d}🚀".to_owned()),
    ];
    prop::collection::vec(bit, 1..60).prop_map(|bits| bits.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_part_is_over_the_limit_and_together_they_are_the_text(text in texts(), limit in 120_usize..400, which in 0..20_usize) {
        let unit = [Unit::Bytes, Unit::Chars, Unit::Utf16, Unit::Json(28)][which % 4];
        let markup = [Markup::Text, Markup::Markdown, Markup::Mrkdwn, Markup::Html, Markup::MarkdownV2][which / 4];
        for overflow in [Overflow::Split, Overflow::Truncate] {
            let made = made(&text, &fit(limit, unit, markup, overflow));
            prop_assert!(made.iter().all(|part| unit.of(part) <= limit), "{made:?}");
            if overflow == Overflow::Split && made.len() > 1 && made.len() < limits::PARTS {
                let words = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
                let all = unnumbered(&made).concat();
                if markup == Markup::Text {
                    prop_assert_eq!(all.replace('\n', ""), text.replace('\n', ""));
                } else {
                    // What was closed and opened again stands there too, and nothing is missing.
                    let (all, text) = (words(&all), words(&text));
                    let mut rest = all.chars();
                    prop_assert!(text.chars().all(|c| rest.any(|other| other == c)), "{} | {}", all, text);
                }
            }
        }
    }
}
