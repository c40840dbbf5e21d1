//! What is wrong with a script, and the one thing to do, in words of the person who writes it.

use rhai::{AST, EvalAltResult, LexError, ParseErrorType};

use super::{functions, manual};
use crate::rules::diagnostic::{Diagnostic, TOO_MUCH};
use crate::rules::yaml::reader::nearest;
use crate::words::limits;
use crate::words::plural::count;

const MANUAL: &str = "`man postrider-rhai` lists what is offered";

/// Why a script cannot be read; `after` is its text from the place on.
pub(super) fn syntax(error: &ParseErrorType, after: &str) -> Diagnostic {
    let found = Diagnostic::error("script", syntax_words(error));
    match error {
        ParseErrorType::VariableUndefined(name) if is_key(after, name) => {
            found.help(format!("a map is written with a #: #{{ {name}: … }}"))
        }
        ParseErrorType::VariableUndefined(name) if name.chars().all(|c| c.is_uppercase() || c == '_') => {
            found.help("a function sees its arguments and nothing else: write fn limit() { 100 }, and call limit()")
        }
        ParseErrorType::VariableUndefined(name) => suggest(found, name, ["delivery", "response", "options", "request"]),
        ParseErrorType::UnexpectedEOF => found.help("close what is open: every #{, {, ( and [ has its end"),
        ParseErrorType::MissingToken(token, _) if token == ";" => found.help("end the statement before it with ;"),
        ParseErrorType::Reserved(word) if word == "null" => found.help("nothing is written (): if x == () { … }"),
        ParseErrorType::BadInput(LexError::MalformedChar(text)) => {
            found.help(format!("a text stands in double quotes: \"{text}\""))
        }
        ParseErrorType::BadInput(LexError::UnterminatedString) => found.help("close it with the quote that opened it"),
        ParseErrorType::BadInput(LexError::ImproperSymbol(_, meant)) if meant.contains("'=='") => {
            found.help("write == to compare")
        }
        ParseErrorType::BadInput(_) => found.help(MANUAL),
        _ => found,
    }
}

/// Whether a name is followed by a colon, as a key is.
fn is_key(after: &str, name: &str) -> bool {
    after.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(':'))
}

fn syntax_words(error: &ParseErrorType) -> String {
    match error {
        ParseErrorType::UnexpectedEOF => "the script ends too early: a bracket is never closed".to_owned(),
        ParseErrorType::VariableUndefined(name) => format!("there is no variable `{name}`"),
        ParseErrorType::MissingToken(token, _) if token == ";" => "a ; is missing in front of this".to_owned(),
        ParseErrorType::BadInput(LexError::MalformedChar(text)) => format!("'{text}' is no text"),
        ParseErrorType::BadInput(LexError::UnterminatedString) => "a text begins here and does not end".to_owned(),
        ParseErrorType::BadInput(LexError::ImproperSymbol(_, meant)) if meant.contains("'=='") => {
            "= sets a value, and does not compare".to_owned()
        }
        ParseErrorType::BadInput(word) if word.to_string().ends_with("is disabled") => {
            let word = word.to_string();
            format!("`{}` is not offered to scripts", word.split('\'').nth(1).unwrap_or_default())
        }
        ParseErrorType::Reserved(word) if ["import", "export"].contains(&word.as_str()) => {
            format!("`{word}` is not offered to scripts")
        }
        ParseErrorType::Reserved(word) => {
            format!("`{word}` is a reserved word: choose another name, or write [\"{word}\"]")
        }
        ParseErrorType::ExprTooDeep => "this expression is nested too deep".to_owned(),
        other => lower_first(&other.to_string()),
    }
}

/// Why a script failed, without a place.
pub(super) fn runtime(error: &EvalAltResult, ast: &AST) -> Diagnostic {
    let code = if goes_beyond(error) { TOO_MUCH } else { "script" };
    let found = |what: String| Diagnostic::error(code, what);
    match error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => called(signature, ast),
        EvalAltResult::ErrorPropertyNotFound(name, _) => found(error_words(error))
            .help(format!("a member that may be missing is read with .get(\"{name}\"), which gives () then")),
        EvalAltResult::ErrorDotExpr(said, _) => match property_of(said) {
            Some((name, "()")) => found(format!("`{name}` is looked for in nothing: what stands before it is ()"))
                .help("look first, as in if type_of(response.json) == \"map\" { … }"),
            Some((name, of)) => found(format!("`{name}` is looked for in {}, which has no members", type_words(of)))
                .help("look first, as in if type_of(response.json) == \"map\" { … }"),
            None => found(error_words(error)),
        },
        EvalAltResult::ErrorMismatchDataType(wanted, came, _) => {
            let found = found(format!("{} stands here, and {} is needed", type_words(came), type_words(wanted)));
            match wanted.as_str() {
                "bool" => found.help("compare it with something: x != (), x == \"\", x > 0"),
                _ => found,
            }
        }
        EvalAltResult::ErrorTooManyOperations(_) | EvalAltResult::ErrorTerminated(..) => {
            found(error_words(error)).help("give every loop an end, and let it go over less")
        }
        EvalAltResult::ErrorStackOverflow(_) => {
            found(error_words(error)).help("a function that calls itself needs an end")
        }
        EvalAltResult::ErrorArrayBounds(..) => found(error_words(error)).help("look at list.len() first"),
        EvalAltResult::ErrorArithmetic(said, _) if said.starts_with("Error parsing") => {
            let text = said.split('\'').nth(1).unwrap_or_default();
            found(format!("the text {text:?} is no number"))
                .help("what may be none is read with try { parse_int(x) } catch { 0 }")
        }
        _ => found(error_words(error)),
    }
}

/// A function that does not exist, or not for these arguments.
fn called(signature: &str, ast: &AST) -> Diagnostic {
    let name = signature.split([' ', '(']).next().unwrap_or_default();
    let given: Vec<&str> = signature
        .split_once('(')
        .map_or("", |(_, rest)| rest.strip_suffix(')').unwrap_or(rest))
        .split(", ")
        .filter(|argument| !argument.is_empty())
        .collect();
    let words: Vec<&str> = given.iter().map(|argument| type_word(argument)).collect();
    let arguments = words.join(", ");
    let found = Diagnostic::error("script", format!("there is no function {name}({arguments})"));
    if name == "timestamp" {
        return found.help("scripts have no clock: use delivery.time_s or delivery.time_ms");
    }
    if let Some(usage) = functions::usage(name) {
        return Diagnostic { what: format!("a function is not called so: {name}({arguments})"), ..found }.help(usage);
    }
    if let Some(own) = ast.iter_functions().find(|known| known.name == name) {
        let what = format!(
            "`{name}` is called with {} instead of {}",
            count(given.len() as u64, "argument"),
            own.params.len()
        );
        return Diagnostic { what, ..found }.help(format!("it is fn {name}({})", own.params.join(", ")));
    }
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        let help = match words.as_slice() {
            words if words.contains(&"nothing") => {
                "an option that a hook leaves out, and a member that .get does not find, is (): look first"
            }
            words if words.contains(&"text") => {
                "a number becomes a text with \"\" + n, a text becomes one with parse_int(text)"
            }
            _ => "look at what both are: type_of(x) says it",
        };
        return Diagnostic { what: format!("{name} cannot be used between {}", words.join(" and ")), ..found }
            .help(help);
    }
    if words.first() == Some(&"nothing") {
        return found.help("its first argument is nothing: an option that a hook leaves out, and a member that .get does not find, is (): look first");
    }
    let own = ast.iter_functions().map(|known| known.name);
    let known: Vec<&str> = manual::functions().map(|function| function.name).chain(own).collect();
    match nearest(name, &known) {
        Some(near) => found.help(format!("did you mean `{near}`?")),
        None => found.help(format!("scripts reach nothing outside; {MANUAL}")),
    }
}

/// The name of a member and the type that has none, of the engine's complaint.
fn property_of(said: &str) -> Option<(&str, &str)> {
    let name = said.split('\'').nth(1)?;
    let of = said.rsplit('\'').nth(1).filter(|_| said.contains("for type '"))?;
    Some((name, of))
}

/// How the language calls a type, in words: `text`.
fn type_word(name: &str) -> &str {
    match name {
        "&str | ImmutableString | String" | "string" => "text",
        "i64" => "integer",
        "f64" => "number",
        "bool" => "true or false",
        "()" => "nothing",
        other => other,
    }
}

/// The same with its article.
fn type_words(name: &str) -> String {
    match type_word(name) {
        "integer" => "an integer".to_owned(),
        "array" => "an array".to_owned(),
        word @ ("nothing" | "true or false") => word.to_owned(),
        word => format!("a {word}"),
    }
}

/// Whether it is about a bound.
fn goes_beyond(error: &EvalAltResult) -> bool {
    matches!(
        error,
        EvalAltResult::ErrorTooManyOperations(_)
            | EvalAltResult::ErrorTerminated(..)
            | EvalAltResult::ErrorStackOverflow(_)
            | EvalAltResult::ErrorDataTooLarge(..)
    )
}

/// What the engine says, in our words.
pub(super) fn error_words(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorRuntime(value, _) => match value.clone().into_string() {
            Ok(text) => text,
            Err(_) => "the script threw something that is no text".to_owned(),
        },
        EvalAltResult::ErrorPropertyNotFound(name, _) => format!("the map has no member `{name}`"),
        EvalAltResult::ErrorTooManyOperations(_) => {
            format!("the script takes more than {} steps", limits::SCRIPT_OPERATIONS)
        }
        EvalAltResult::ErrorTerminated(..) => {
            format!("the script takes more than {} ms of processor time", limits::SCRIPT_PROCESSOR_TIME.as_millis())
        }
        EvalAltResult::ErrorStackOverflow(_) => "functions call each other too deeply".to_owned(),
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            format!("the script builds something too large: {}", lower_first(what))
        }
        other => {
            let text = other.to_string();
            let text = text.rfind(" (line ").map_or(text.as_str(), |at| &text[..at]);
            lower_first(text)
        }
    }
}

/// What is wrong with a script before there is an event has one thing to do.
pub(super) fn helped(mut found: Diagnostic) -> Diagnostic {
    found.help.get_or_insert_with(|| "correct it; `man postrider-rhai` shows whole scripts".to_owned());
    found
}

fn suggest<'a>(found: Diagnostic, name: &str, known: impl IntoIterator<Item = &'a str>) -> Diagnostic {
    match nearest(name, &known.into_iter().collect::<Vec<_>>()) {
        Some(near) => found.help(format!("did you mean `{near}`?")),
        None => found,
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
