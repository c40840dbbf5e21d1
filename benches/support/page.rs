//! The figures as the documentation shows them: the table in `docs/performance.md` between its two marks, and the plot
//! beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::Fallible;
use super::table::{Judged, Results};

const PAGE: &str = "performance.md";
const PLOT: &str = "performance.svg";
/// What the figures stand between: comments that no reader of Markdown shows.
const FROM: &str = "[//]: # (figures: from here)\n";
const TO: &str = "[//]: # (figures: to here)\n";

// The plot, in pixels.
const ROW: usize = 18;
const LABELS: usize = 330;
const BARS: usize = 360;
const FIGURES: usize = 130;
const TOP: usize = 34;
/// Shares of an aim that the bars have room for.
const MOST: f64 = 2.0;

/// Puts the figures into the page of this folder, and the plot beside it.
pub(crate) fn write(folder: &Path, results: &Results) -> Fallible<()> {
    let (figures, page) = (results.judged(), folder.join(PAGE));
    let text = fs::read_to_string(&page)?;
    let (before, rest) = text.split_once(FROM).ok_or("the page has no place for figures")?;
    let (_, after) = rest.split_once(TO).ok_or("the place for figures has no end")?;
    fs::write(page, format!("{before}{FROM}\n{}\n{TO}{after}", table(&figures, &results.yardsticks())))?;
    Ok(fs::write(folder.join(PLOT), plot(&figures))?)
}

fn table(figures: &[Judged], yardsticks: &str) -> String {
    let mut out = format!("{yardsticks}\n\n| figure | is | must | moonshot | |\n|---|---|---|---|---|\n");
    for figure in figures {
        let Judged { what, is, aim, .. } = figure;
        let (sign, word) = (figure.sign(), word(figure));
        let _ = writeln!(out, "| {what} | {} | {sign} {} | {} | {word} |", short(*is), aim.must, aim.moonshot);
    }
    out
}

fn word(figure: &Judged) -> &'static str {
    match figure.share() {
        share if share >= figure.moonshot_share() => "moonshot",
        share if share >= 1.0 => "reached",
        _ => "**not reached**",
    }
}

/// Three digits that count.
fn short(figure: f64) -> String {
    match figure.abs() {
        large if large >= 100.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// A bar for each figure, as long as the share of its aim that is reached; a mark where the moonshot is.
fn plot(figures: &[Judged]) -> String {
    let (width, height) = (LABELS + BARS + FIGURES, TOP + ROW * figures.len() + 10);
    let at = |share: f64| LABELS as f64 + share.clamp(0.0, MOST) / MOST * BARS as f64;
    let must = at(1.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{must}\" y=\"14\" text-anchor=\"middle\">what must be</text>\n\
         <text x=\"{LABELS}\" y=\"28\" fill=\"#777\">longer is better; the dot is the moonshot</text>\n"
    );
    for (number, figure) in figures.iter().enumerate() {
        let y = TOP + ROW * number;
        let (middle, text) = (y + ROW / 2, y + ROW - 5);
        let colour = if figure.share() >= 1.0 { "#3a8f5c" } else { "#d08a2e" };
        let (end, moonshot) = (at(figure.share()), at(figure.moonshot_share()));
        let (label, is, sign, aim) = (&figure.what, short(figure.is), figure.sign(), figure.aim.must);
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LABELS}\" y=\"{}\" width=\"{:.0}\" height=\"{}\" fill=\"{colour}\"/>\
             <circle cx=\"{moonshot:.0}\" cy=\"{middle}\" r=\"3\" fill=\"#333\"/>\
             <text x=\"{}\" y=\"{text}\">{is} ({sign} {aim})</text>",
            LABELS - 8,
            y + 3,
            end - LABELS as f64,
            ROW - 6,
            LABELS + BARS + 8,
        );
    }
    let _ = writeln!(
        out,
        "<line x1=\"{must}\" y1=\"{}\" x2=\"{must}\" y2=\"{}\" stroke=\"#333\" stroke-dasharray=\"3 3\"/>\n</svg>",
        TOP - 14,
        height - 8
    );
    out
}
