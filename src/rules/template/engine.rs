//! The one template engine: its filters, how values are printed and escaped, and what it refuses before it runs.

use std::sync::LazyLock;

use minijinja::machinery::{Instruction, Instructions, get_compiled_template};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Template, UndefinedBehavior};

use super::escape::Escape;
use super::filters::{self, FILTERS, TESTS};
use super::value::printed;
use crate::rules::xml;
use crate::rules::yaml::reader::nearest;
use crate::words::limits;

/// For texts: an undefined field is an error unless it has a default or stands in an `if`.
pub(super) static TEXTS: LazyLock<Environment<'static>> = LazyLock::new(|| environment(UndefinedBehavior::SemiStrict));

/// For `when`: a missing field is false, however deep.
pub(super) static CONDITIONS: LazyLock<Environment<'static>> =
    LazyLock::new(|| environment(UndefinedBehavior::Chainable));

/// The function that reads a secret.
pub(super) const SECRET: &str = "secret";

/// The name of what is left out: `{{ field | default(omit) }}`.
pub(super) const OMIT: &str = "omit";

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut env = Environment::new();
    filters::add(&mut env);
    // It prints every variable, secrets too.
    env.remove_global("debug");
    env.set_undefined_behavior(undefined);
    env.set_syntax(syntax());
    env.set_fuel(Some(limits::TEMPLATE_FUEL));
    // Errors then name the undefined field. What else it collects (the values of variables) is never printed.
    env.set_debug(true);
    // A template is named for what it is used in.
    env.set_auto_escape_callback(|name| match Escape::ALL.iter().find(|escape| escape.name() == name) {
        None | Some(Escape::Text) => AutoEscape::None,
        Some(escape) => AutoEscape::Custom(escape.name().into()),
    });
    env.set_formatter(print);
    env
}

/// What the author wrote stays, also a line break at the end.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

/// Prints a value as JSON prints it, escaped for where it stands.
fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        // `{{ x if y }}` without else; every other undefined value was refused before.
        return Ok(());
    }
    let escape = match state.auto_escape() {
        AutoEscape::Custom(name) => Escape::ALL.into_iter().find(|escape| escape.name() == name),
        AutoEscape::Html => Some(Escape::Html),
        _ => None,
    };
    let text = match value.as_str() {
        Some(text) => text.into(),
        None => std::borrow::Cow::Owned(printed(value)?),
    };
    if escape == Some(Escape::Xml) {
        xml::check_text(&text).map_err(|why| Error::new(ErrorKind::InvalidOperation, why))?;
    }
    match escape {
        Some(escape) if !value.is_safe() => out.write_str(&escape.apply(&text))?,
        _ => out.write_str(&text)?,
    }
    Ok(())
}

/// What is wrong with a template although it compiles, or what it says about itself.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    /// Each with the bytes of the template it is about.
    pub(super) problems: Vec<Problem>,
    /// Names given to `secret(…)`, each with its bytes.
    pub(super) secrets: Vec<(String, std::ops::Range<usize>)>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) at: std::ops::Range<usize>,
    pub(super) what: String,
    pub(super) help: Option<String>,
}

/// Reads the compiled instructions: an unknown filter would otherwise show only when an event comes.
pub(super) fn inspect(template: &Template<'_, '_>) -> Inspection {
    let compiled = get_compiled_template(template);
    let mut inspection = Inspection::default();
    let streams: Vec<_> = std::iter::once(&compiled.instructions).chain(compiled.blocks.values()).collect();
    let own: Vec<&str> = streams.iter().flat_map(|stream| stored_names(stream)).collect();
    for stream in streams {
        for (index, instruction) in numbered(stream) {
            let at = stream.get_span(index).map(|span| span.start_offset as usize..span.end_offset as usize);
            let at = at.unwrap_or_else(|| line_of(stream, index));
            look_at(instruction, index, at, stream, &own, &mut inspection);
        }
    }
    inspection
}

/// The line of an instruction without a place of its own.
fn line_of(stream: &Instructions<'_>, index: u32) -> std::ops::Range<usize> {
    let line = stream.get_line(index).unwrap_or(1);
    let start = stream.source().split_inclusive('\n').take(line - 1).map(str::len).sum();
    let length = stream.source()[start..].lines().next().map_or(0, str::len);
    start..start + length
}

fn look_at(
    instruction: &Instruction<'_>,
    index: u32,
    at: std::ops::Range<usize>,
    stream: &Instructions<'_>,
    own: &[&str],
    inspection: &mut Inspection,
) {
    let problem = match instruction {
        Instruction::ApplyFilter(name, ..) if !FILTERS.contains(name) => unknown("filter", name, &FILTERS),
        Instruction::PerformTest(name, ..) if !TESTS.contains(name) && !exists_test(name) => {
            unknown("test", name, &TESTS)
        }
        Instruction::CallFunction(name, arguments) if *name == SECRET => {
            match literal_argument(index, *arguments, stream) {
                Some(secret) => {
                    inspection.secrets.push((secret, at));
                    return;
                }
                None => (
                    "secret(…) takes the name of one secret in quotes".to_owned(),
                    Some("write secret('NAME'): the name must stand in the file, so that it can be checked".to_owned()),
                ),
            }
        }
        Instruction::Lookup(name) if *name == SECRET => {
            ("secret is a function".to_owned(), Some("write secret('NAME')".to_owned()))
        }
        Instruction::CallFunction(name, _) if !known_function(name, own) => {
            let functions: Vec<_> = own.iter().copied().chain(FUNCTIONS).collect();
            unknown("function", name, &functions)
        }
        Instruction::Include(_) | Instruction::LoadBlocks | Instruction::CallBlock(_) | Instruction::ExportLocals => (
            "templates stand alone: extends, include, import and block are not offered".to_owned(),
            Some("write the text out here".to_owned()),
        ),
        _ => return,
    };
    inspection.problems.push(Problem { at, what: problem.0, help: problem.1 });
}

const FUNCTIONS: [&str; 4] = ["dict", "namespace", "range", SECRET];

fn known_function(name: &str, own: &[&str]) -> bool {
    FUNCTIONS.contains(&name) || own.contains(&name) || ["loop", "caller"].contains(&name)
}

/// Operators such as `==` are tests too.
fn exists_test(name: &str) -> bool {
    TEXTS.empty_state().perform_test("test", &[Value::from(name)]).unwrap_or(false)
}

fn unknown(what: &str, name: &str, known: &[&str]) -> (String, Option<String>) {
    let help = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the {what}s are {}", known.join(" ")),
    };
    (format!("there is no {what} `{name}`"), Some(help))
}

/// The literal that a call with one argument is given. A jump to the call means that the literal before it is only one
/// of several.
fn literal_argument(call: u32, arguments: Option<u16>, stream: &Instructions<'_>) -> Option<String> {
    if arguments != Some(1) || numbered(stream).any(|(_, instruction)| jump_target(instruction) == Some(call)) {
        return None;
    }
    match stream.get(call.checked_sub(1)?)? {
        Instruction::LoadConst(value) => value.as_str().filter(|name| !name.is_empty()).map(str::to_owned),
        _ => None,
    }
}

fn jump_target(instruction: &Instruction<'_>) -> Option<u32> {
    match instruction {
        Instruction::Jump(target)
        | Instruction::JumpIfFalse(target)
        | Instruction::JumpIfFalseOrPop(target)
        | Instruction::JumpIfTrueOrPop(target)
        | Instruction::Iterate(target) => Some(*target),
        _ => None,
    }
}

fn stored_names<'a>(stream: &'a Instructions<'_>) -> Vec<&'a str> {
    let names = numbered(stream).filter_map(|(_, instruction)| match instruction {
        Instruction::StoreLocal(name) => Some(*name),
        _ => None,
    });
    names.collect()
}

fn numbered<'a, 's>(stream: &'a Instructions<'s>) -> impl Iterator<Item = (u32, &'a Instruction<'s>)> {
    (0..).map_while(|index| stream.get(index).map(|instruction| (index, instruction)))
}
