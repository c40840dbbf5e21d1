//! The filters that templates have besides the usual ones, and bounds for those of the usual ones that could eat the
//! machine's memory in one step.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use minijinja::filters;
use minijinja::value::{Kwargs, Rest, Value, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State};

use super::escape::Escape;
use super::value::{from_engine, printed};
use crate::rules::text::{component, truncate_bytes, truncate_chars, truncate_lines};
use crate::words::limits;

/// Every filter that a template may use.
pub(super) const FILTERS: [&str; 56] = [
    "abs",
    "as_zone",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "date",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesize",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "json",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "printable",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate_bytes",
    "truncate_chars",
    "truncate_lines",
    "unique",
    "upper",
    "urlencode",
    "zip",
];

/// Every test that a template may use after `is`.
pub(super) const TESTS: [&str; 26] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "even",
    "false",
    "float",
    "ge",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];

/// Numbers in `indent(…)`, `batch(…)`, `slice(…)` and `%…d` above this are mistakes or attacks.
const WIDTH: usize = 10_000;

pub(super) fn add(env: &mut Environment<'static>) {
    env.add_filter("filesize", filesize);
    env.add_filter("date", date);
    env.add_filter("as_zone", as_zone);
    env.add_filter("json", json);
    env.add_filter("tojson", tojson);
    env.add_filter("printable", printable);
    env.add_filter("truncate_bytes", |text: String, most: usize| truncate_bytes(&text, most).to_owned());
    env.add_filter("truncate_chars", |text: String, most: usize| truncate_chars(&text, most).to_owned());
    env.add_filter("truncate_lines", |text: String, most: usize| truncate_lines(&text, most).to_owned());
    env.add_filter("urlencode", urlencode);
    env.add_filter("replace", replace);
    env.add_filter("indent", indent);
    env.add_filter("batch", batch);
    env.add_filter("slice", slice);
    env.add_filter("format", format);
    env.add_filter(JOIN, filters::join);
    env.add_filter("join", join);
    env.remove_filter("pprint");
}

/// A field that the event lacks is not the text `null`.
fn defined(value: &Value) -> Result<(), Error> {
    if value.is_undefined() { Err(ErrorKind::UndefinedError.into()) } else { Ok(()) }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.into())
}

/// The cause of an error about a bound.
#[derive(Debug, thiserror::Error)]
#[error("beyond a bound")]
pub(super) struct TooMuch;

fn too_much(what: impl Into<String>) -> Error {
    wrong(what).with_source(TooMuch)
}

fn too_large(filter: &str) -> Error {
    too_much(format!("{filter} would make more than {} bytes", limits::TEMPLATE_OUTPUT))
}

/// `2238036` or `"2238036"` → `2.1 MiB`.
fn filesize(value: &Value) -> Result<String, Error> {
    let number = match value.as_str() {
        Some(text) => text.trim().parse::<f64>().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    let Some(bytes) = number.filter(|bytes| bytes.is_finite() && *bytes >= 0.0) else {
        return Err(wrong("filesize needs a number of bytes"));
    };
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024.0 {
        return Ok(format!("{bytes:.0} B"));
    }
    let (mut size, mut unit) = (bytes / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    Ok(format!("{size:.1} {}", units[unit]))
}

/// A time in the form that is wanted: `created | date("%d.%m.%Y %H:%M", "+08:00")`. Takes RFC 3339 text and seconds or
/// milliseconds since 1970. Zones are offsets: names would need the system's files.
fn date(value: &Value, form: &str, zone: Option<&str>) -> Result<String, Error> {
    let zoned = instant(value)?;
    let zoned = match zone {
        Some(zone) => zoned.timestamp().to_zoned(TimeZone::fixed(offset(zone)?)),
        None => zoned,
    };
    strtime::format(form, &zoned)
        .map_err(|_| wrong("date cannot use this form: see strftime, as in \"%Y-%m-%d %H:%M\""))
}

fn instant(value: &Value) -> Result<Zoned, Error> {
    if let Some(number) = value.as_i64() {
        // Milliseconds of today are seconds of the year 50000.
        let time = if number.abs() < 100_000_000_000 {
            Timestamp::from_second(number)
        } else {
            Timestamp::from_millisecond(number)
        };
        return time.map(|time| time.to_zoned(TimeZone::UTC)).map_err(|_| wrong("date cannot use this number"));
    }
    let text = value.as_str().ok_or_else(|| wrong("date needs a text or a number"))?.trim();
    let numbers: Result<i64, _> = text.parse();
    if let Ok(number) = numbers {
        return instant(&Value::from(number));
    }
    let time: Timestamp = text.parse().map_err(|_| {
        wrong("date needs a time with its zone, as in 2026-01-31T12:00:00Z; for one without, first say | as_zone(\"+08:00\")")
    })?;
    let shift = text.rfind(['+', '-']).filter(|at| *at > 10).and_then(|at| offset(&text[at..]).ok());
    Ok(time.to_zoned(TimeZone::fixed(shift.unwrap_or(Offset::UTC))))
}

/// A time that says no zone, with the one it is in: `"2015-10-09 11:25:16" | as_zone("+08:00")`.
fn as_zone(text: &str, zone: &str) -> Result<String, Error> {
    let time: DateTime = text
        .trim()
        .parse()
        .map_err(|_| wrong("as_zone needs a date and time without a zone, as in 2015-10-09 11:25:16"))?;
    let zone = TimeZone::fixed(offset(zone)?);
    let zoned = time.to_zoned(zone).map_err(|_| wrong("as_zone cannot use this date"))?;
    strtime::format("%Y-%m-%dT%H:%M:%S%:z", &zoned).map_err(|_| wrong("as_zone cannot use this date"))
}

fn offset(zone: &str) -> Result<Offset, Error> {
    if matches!(zone, "UTC" | "Z" | "z") {
        return Ok(Offset::UTC);
    }
    let wrong_zone = || wrong("a zone is an offset such as \"+08:00\", or \"UTC\"");
    let (sign, digits) = match zone.as_bytes().first() {
        Some(b'+') => (1, &zone[1..]),
        Some(b'-') => (-1, &zone[1..]),
        _ => return Err(wrong_zone()),
    };
    let (hours, minutes) =
        digits.split_once(':').unwrap_or(if digits.len() == 4 { digits.split_at(2) } else { (digits, "0") });
    let hours: i32 = hours.parse().map_err(|_| wrong_zone())?;
    let minutes: i32 = minutes.parse().map_err(|_| wrong_zone())?;
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).map_err(|_| wrong_zone())
}

/// JSON in one line, as text.
fn json(value: &Value) -> Result<String, Error> {
    defined(value)?;
    printed(value)
}

/// The same for a script inside HTML, which it cannot break; with a number, over several lines.
fn tojson(value: &Value, indent: Option<usize>, kwargs: Kwargs) -> Result<Value, Error> {
    let indent = indent.or(kwargs.get("indent")?);
    kwargs.assert_all_used()?;
    defined(value)?;
    let exact = from_engine(value)?.unwrap_or_default();
    let text = match indent {
        Some(width) if width > 16 => return Err(too_much("tojson indents by at most 16")),
        Some(width) => exact.indented(width),
        None => exact.to_string(),
    };
    // Outside of texts JSON has none of these.
    let escapes = [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\'', "\\u0027")];
    let text = escapes.iter().fold(text, |text, (c, escape)| text.replace(*c, escape));
    Ok(Value::from_safe_string(text))
}

/// Without control characters and what else XML cannot carry; line breaks and tabs stay.
fn printable(value: &Value) -> Result<String, Error> {
    defined(value)?;
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None => printed(value)?,
    };
    let keep = |c: &char| (!c.is_control() || "\t\n\r".contains(*c)) && !matches!(c, '\u{fffe}' | '\u{ffff}');
    Ok(text.chars().filter(keep).collect())
}

/// One component. In a URL it is already encoded then, and not encoded again.
fn urlencode(state: &State, value: &Value) -> Result<Value, Error> {
    defined(value)?;
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None => json(value)?,
    };
    let encoded = component(&text);
    let in_url = matches!(state.auto_escape(), AutoEscape::Custom(name) if name == Escape::Url.name());
    Ok(if in_url { Value::from_safe_string(encoded) } else { Value::from(encoded) })
}

fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let hits = text.matches(from).count();
    if hits.saturating_mul(to.len()).saturating_add(text.len()) > limits::TEMPLATE_OUTPUT {
        return Err(too_large("replace"));
    }
    Ok(text.replace(from, to))
}

fn indent(
    text: &str,
    width: Option<usize>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let width = width.or(kwargs.get("width")?).unwrap_or(4);
    let first = first.or(kwargs.get("first")?).unwrap_or(false);
    let blank = blank.or(kwargs.get("blank")?).unwrap_or(false);
    kwargs.assert_all_used()?;
    let lines = text.lines().count();
    if bounded(width)?.saturating_mul(lines) > limits::TEMPLATE_OUTPUT {
        return Err(too_large("indent"));
    }
    let pad = " ".repeat(width);
    let indented = text.lines().enumerate().map(|(number, line)| match (number, line.is_empty()) {
        (0, _) if !first => line.to_owned(),
        (_, true) if !blank => String::new(),
        _ => format!("{pad}{line}"),
    });
    Ok(indented.collect::<Vec<_>>().join("\n"))
}

fn batch(state: &State, value: Value, count: usize, fill: Option<Value>) -> Result<Value, Error> {
    filters::batch(state, value, bounded(count)?, fill)
}

fn slice(state: &State, value: Value, count: usize, fill: Option<Value>) -> Result<Value, Error> {
    filters::slice(state, value, bounded(count)?, fill)
}

fn format(state: &mut State, form: &Value, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let widths = form.as_str().unwrap_or_default();
    // A width may also be an argument (`%*d`), which nobody needs in a message.
    if widths.contains('*') || widths.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 4) {
        return Err(too_much("format takes widths of at most four digits"));
    }
    filters::format(state, form, args)
}

/// The usual `join`, under a name that no template may use.
const JOIN: &str = " join";

fn join(state: &mut State, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = args.into_values();
    let joint = args.iter().skip(1).find_map(|arg| {
        let named =
            Kwargs::try_from(arg.clone()).ok().and_then(|named| named.get::<Option<String>>("d").ok().flatten());
        named.map_or_else(|| arg.as_str().map(str::len), |joint| Some(joint.len()))
    });
    let (mut size, joint) = (0_usize, joint.unwrap_or(0));
    // What is wrong with the value is said by the filter itself.
    for part in args.first().and_then(|list| list.try_iter().ok()).into_iter().flatten() {
        size = size.saturating_add(joint).saturating_add(part.as_str().map_or(1, str::len));
        if size > limits::TEMPLATE_OUTPUT {
            return Err(too_large("join"));
        }
    }
    state.apply_filter(JOIN, &args)
}

fn bounded(number: usize) -> Result<usize, Error> {
    if number <= WIDTH { Ok(number) } else { Err(too_much(format!("{number} is too large: at most {WIDTH}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(text: &str) -> Result<String, String> {
        let mut env = Environment::new();
        add(&mut env);
        env.render_str(text, ()).map_err(|error| error.detail().unwrap_or_default().to_owned())
    }

    #[test]
    fn every_filter_and_test_that_is_offered_exists() {
        let mut env = Environment::new();
        add(&mut env);
        let mut state = env.empty_state();
        for name in FILTERS {
            assert!(state.perform_test("filter", &[Value::from(name)]).unwrap(), "{name}");
        }
        for name in TESTS {
            assert!(state.perform_test("test", &[Value::from(name)]).unwrap(), "{name}");
        }
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(
            eval("{{ '2238036' | filesize }} {{ 0 | filesize }} {{ 1023 | filesize }} {{ 1024 | filesize }}").unwrap(),
            "2.1 MiB 0 B 1023 B 1.0 KiB"
        );
        assert!(eval("{{ 'big' | filesize }}").is_err());
        assert_eq!(eval("{{ '2015-10-09 11:25:16' | as_zone('+08:00') }}").unwrap(), "2015-10-09T11:25:16+08:00");
        assert_eq!(eval("{{ '2015-10-09 11:25:16' | as_zone('+08:00') | date('%H:%M', 'UTC') }}").unwrap(), "03:25");
        assert_eq!(eval("{{ '2015-10-09T11:25:16+08:00' | date('%d.%m.%Y %H:%M') }}").unwrap(), "09.10.2015 11:25");
        assert_eq!(
            eval("{{ 1444361118 | date('%F %T') }} {{ '1444361118000' | date('%F', '-02:30') }}").unwrap(),
            "2015-10-09 03:25:18 2015-10-09"
        );
        assert!(eval("{{ '2015-10-09 11:25:16' | date('%F') }}").unwrap_err().contains("as_zone"));
        assert!(eval("{{ 1 | date('%F', 'Europe/Berlin') }}").unwrap_err().contains("offset"));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(eval("{{ '应用' | truncate_bytes(5) }}{{ 'abc' | truncate_chars(2) }}").unwrap(), "应ab");
    }

    #[test]
    fn no_filter_eats_the_memory() {
        for bomb in [
            "{{ 'x' | indent(2000000000) }}",
            "{{ '%1000000000d' | format(1) }}",
            "{{ '%*d' | format(1000000000, 1) }}",
            "{{ [1] | batch(100000000, 'x') | list | length }}",
            "{{ [1] | slice(1000000000) | list | length }}",
            "{% set s = 'x' | indent(9999, true) %}{{ s | replace(' ', s) }}",
            "{% set s = 'x' | indent(9999, true) %}{{ range(10000) | join(s) }}",
            "{% set s = 'x' | indent(9999, true) %}{{ range(10000) | join(d=s) }}",
            "{{ (['x'] * 100000000) | join }}",
            "{{ [1, [2]] | tojson(1000000000) }}",
            "{{ [1, [2]] | tojson(indent=1000000000) }}",
        ] {
            assert!(eval(bomb).is_err(), "{bomb}");
        }
        assert_eq!(
            eval("{{ [1, 'a'] | join }}{{ ['a', 'b'] | join(', ') }}{{ [1] | tojson(indent=2) }}").unwrap(),
            "1aa, b[\n  1\n]"
        );
        assert_eq!(eval("{{ '%.1f' | format(1.25) }}{{ 'a\nb' | indent(2) }}").unwrap(), "1.2a\n  b");
    }
}
