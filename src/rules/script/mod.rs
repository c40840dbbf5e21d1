//! The one Rhai engine: what a script may do, how long, and where its errors are.
//!
//! A script maps a value to a value: it has no clock, network, files, environment or memory between calls. The engine is
//! shared by all threads, each call has a fresh scope.

mod functions;
pub mod manual;
mod mistakes;
mod replies;
pub mod shelf;
mod value;

use std::cell::Cell;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use rhai::packages::{
    BasicArrayPackage, BasicBlobPackage, BasicMapPackage, BasicMathPackage, BitFieldPackage, CorePackage, LogicPackage,
    MoreStringPackage, Package,
};
use rhai::{
    AST, Caches, CallFnOptions, Dynamic, Engine, EvalAltResult, EvalContext, Map, Module, ParseErrorType, Position,
    Scope,
};

use crate::rules::diagnostic::{Diagnostic, Place, Source, Span};
use crate::words::limits;

pub(crate) use self::functions::form;
use self::mistakes::helped;
pub(crate) use self::replies::{Refuse, Respond};
pub use self::value::Signer;
pub(crate) use self::value::{Opaque, blob, from_exact, from_json, json_text, to_json, type_word};

static ENGINE: LazyLock<Engine> = LazyLock::new(engine);

/// What a function gave, in the words of the language.
type Called = Result<Dynamic, Box<EvalAltResult>>;

/// A compiled script.
pub(crate) struct Script {
    ast: AST,
    source: Source,
    /// Whether anything stands outside of its functions.
    has_statements: bool,
    /// Which function each call in the script means: found once, then used again by whoever calls next. A value of it
    /// is with one call at a time, so there are as many as threads have met here.
    resolved: Mutex<Vec<Caches>>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Script({})", self.source.name)
    }
}

impl Script {
    /// Compiles a script.
    ///
    /// # Errors
    /// It is too large or cannot be read.
    pub(crate) fn compile(source: &Source) -> Result<Self, Diagnostic> {
        if source.text.len() > limits::SCRIPT_FILE {
            return Err(Diagnostic::error(
                "script",
                format!("the script is larger than {} bytes", limits::SCRIPT_FILE),
            )
            .at(source.place(Span::default())));
        }
        let ast = ENGINE.compile(&*source.text).map_err(|error| {
            let text = source.text.trim_end();
            // What is missed behind the last line is missed because something before is open.
            let kind = match error.position().line() {
                Some(line) if line > text.lines().count() => &ParseErrorType::UnexpectedEOF,
                _ => error.err_type(),
            };
            let after = &source.text[offset(source, error.position())..];
            let found = mistakes::syntax(kind, after);
            let found = match kind {
                ParseErrorType::UnexpectedEOF => {
                    let last = text.char_indices().next_back().map_or(0, |(at, _)| at);
                    found.at(source.place(Span { start: last, end: text.len() }))
                }
                _ => placed(found, source, error.position()),
            };
            helped(found)
        })?;
        let has_statements = ast.iter_literal_variables(true, true).next().is_some();
        Ok(Self { ast, source: source.clone(), has_statements, resolved: Mutex::default() })
    }

    /// How many parameters a function of this name takes.
    pub(crate) fn parameters(&self, function: &str) -> Option<usize> {
        self.ast.iter_functions().find(|known| known.name == function).map(|known| known.params.len())
    }

    /// Compiles a script of which `fn manifest()` and `main` are called, and the optional functions where they are there.
    /// Says which of those are, and what `fn manifest()` gave.
    ///
    /// # Errors
    /// What is wrong with the script, with its place.
    pub(crate) fn declaring<const N: usize>(
        source: &Source,
        main: (&str, &[&str]),
        optional: [(&str, &[&str]); N],
    ) -> Result<(Self, [bool; N], Dynamic), Vec<Diagnostic>> {
        let script = Self::compile(source).map_err(|found| vec![found])?;
        let mut found: Vec<_> = [("manifest", &[][..]), main]
            .iter()
            .filter_map(|(function, parameters)| script.expect(function, parameters).err())
            .collect();
        let there = optional.map(|(function, parameters)| {
            let exists = script.parameters(function).is_some();
            if exists {
                found.extend(script.expect(function, parameters).err());
            }
            exists
        });
        if !found.is_empty() {
            return Err(found);
        }
        let declared = script.call("manifest", []).map_err(|found| match found.place {
            Some(_) => vec![helped(*found)],
            None => script.in_manifest(vec![helped(*found)]),
        })?;
        Ok((script, there, declared))
    }

    /// What is wrong with a manifest, placed where the script declares it.
    pub(crate) fn in_manifest(&self, found: Vec<Diagnostic>) -> Vec<Diagnostic> {
        let at = self.source.text.find("fn manifest").unwrap_or(0);
        let span = Span { start: at, end: at + "fn manifest".len() };
        found.into_iter().map(|finding| finding.at(self.source.place(span))).collect()
    }

    /// Checks that a function exists with exactly these parameters.
    ///
    /// # Errors
    /// It does not; the signature is in the help.
    fn expect(&self, function: &str, parameters: &[&str]) -> Result<(), Diagnostic> {
        let signature = format!("fn {function}({})", parameters.join(", "));
        let found = match self.parameters(function) {
            Some(count) if count == parameters.len() => return Ok(()),
            Some(count) => Diagnostic::error(
                "script",
                format!("`{function}` takes {count} arguments instead of {}", parameters.len()),
            ),
            None => Diagnostic::error("script", format!("the script has no `{function}`")),
        };
        let start = self.source.text.find(&format!("fn {function}")).unwrap_or(0);
        let end = self.source.text[start..].find(['{', '\n']).map_or(start, |length| start + length);
        Err(found.at(self.source.place(Span { start, end })).help(format!("write {signature} {{ … }}")))
    }

    /// Calls a function in a fresh scope.
    ///
    /// # Errors
    /// It failed; the place is in the script.
    pub(crate) fn call<const N: usize>(
        &self,
        function: &str,
        arguments: [Dynamic; N],
    ) -> Result<Dynamic, Box<Diagnostic>> {
        self.run(function, arguments).map_err(|error| Box::new(self.diagnose(function, &error)))
    }

    /// The same where nobody but the script's author can do anything: what it throws has a place too.
    ///
    /// # Errors
    /// It failed; the place is in the script.
    pub(crate) fn call_placed<const N: usize>(
        &self,
        function: &str,
        arguments: [Dynamic; N],
    ) -> Result<Dynamic, Box<Diagnostic>> {
        self.run(function, arguments).map_err(|error| {
            let found = self.diagnose(function, &error);
            let position = error.unwrap_inner().position();
            Box::new(if found.place.is_some() { found } else { placed(found, &self.source, position) })
        })
    }

    fn run<const N: usize>(&self, function: &str, arguments: [Dynamic; N]) -> Called {
        bounded(|| {
            if self.has_statements { self.call_whole(function, arguments) } else { self.call_one(function, arguments) }
        })
    }

    /// Evaluates what stands outside of the functions first.
    fn call_whole<const N: usize>(&self, function: &str, arguments: [Dynamic; N]) -> Called {
        let (options, arguments) = (CallFnOptions::new().eval_ast(true), Vec::from(arguments));
        ENGINE.call_fn_with_options(options, &mut Scope::new(), &self.ast, function, arguments)
    }

    /// As `Engine::call_fn` does, which resolves every function anew: what it resolved does not survive a call.
    fn call_one<const N: usize>(&self, function: &str, mut arguments: [Dynamic; N]) -> Called {
        let kept = self.resolved().pop();
        let (mut resolved, mut scope) = (kept.unwrap_or_default(), Scope::new());
        let mut state = ENGINE.new_global_runtime_state();
        state.lib.push(self.ast.shared_lib().clone());
        let mut context = EvalContext::new(&ENGINE, &mut state, &mut resolved, &mut scope, None);
        let result = context.call_fn_raw(function, false, false, &mut arguments.each_mut());
        self.resolved().push(resolved);
        result.map_err(|error| match *error {
            EvalAltResult::ErrorInFunctionCall(name, _, inner, _) if name == function => inner,
            _ => error,
        })
    }

    fn resolved(&self) -> std::sync::MutexGuard<'_, Vec<Caches>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the script reads a member of this name, outside of its line comments: however it does, it writes `.name`,
    /// `"name"` or `name:`. It may say yes too often, never too seldom.
    pub(crate) fn reads(&self, member: &str) -> bool {
        let code = self.source.text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let mut uses = code.flat_map(|line| line.match_indices(member).map(move |(at, _)| line.split_at(at)));
        uses.any(|(before, from)| {
            let after = from[member.len()..].chars().next();
            let whole = !after.is_some_and(is_word);
            whole && (before.ends_with(['.', '"']) || after == Some(':'))
        })
    }

    /// Whether a function does nothing with its one argument but what these texts say, written right behind its name. It
    /// may say no too often (a comment is enough), never too seldom.
    pub(crate) fn reads_only(&self, function: &str, uses: &[&str]) -> bool {
        let Some(known) = self.ast.iter_functions().find(|known| known.name == function) else { return false };
        let [parameter] = known.params.as_slice() else { return false };
        let text = &*self.source.text;
        let head = format!("fn {function}(");
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        text.match_indices(parameter).all(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + parameter.len()..]);
            let other_word = before.ends_with(is_word) || after.starts_with(is_word);
            let said = || uses.iter().filter_map(|known| after.strip_prefix(known));
            other_word || before.ends_with(&head) || said().any(|rest| !rest.starts_with(is_word))
        })
    }

    fn diagnose(&self, function: &str, error: &EvalAltResult) -> Diagnostic {
        let inner = error.unwrap_inner();
        if let EvalAltResult::ErrorRuntime(said, _) = inner
            && said.is_string()
        {
            // `throw "…"` is the script's word to the hook's author, who has no use for a place in the script.
            return Diagnostic::error("refused", mistakes::error_words(inner));
        }
        let found = mistakes::runtime(inner, &self.ast);
        // Limits carry no place of their own: the innermost call that does is the best there is, else what was called.
        match [inner.position(), error.position()].into_iter().find(|position| !position.is_none()) {
            Some(position) => placed(found, &self.source, position),
            None => found.at(self.place_of(function)),
        }
    }

    /// Where a function begins.
    pub(crate) fn place_of(&self, function: &str) -> Place {
        let head = format!("fn {function}");
        let start = self.source.text.find(&head).unwrap_or(0);
        let length = if self.source.text[start..].starts_with(&head) { head.len() } else { 0 };
        self.source.place(Span { start, end: start + length })
    }
}

fn engine() -> Engine {
    let mut engine = Engine::new_raw();
    // Everything but BasicTimePackage: a script has no clock. In one module and registered at once, because a call
    // resolves every function anew: through eight lazy modules that took ten times as long as the script itself.
    let mut standard = Module::new();
    CorePackage::init(&mut standard);
    BitFieldPackage::init(&mut standard);
    LogicPackage::init(&mut standard);
    BasicMathPackage::init(&mut standard);
    BasicArrayPackage::init(&mut standard);
    BasicBlobPackage::init(&mut standard);
    BasicMapPackage::init(&mut standard);
    MoreStringPackage::init(&mut standard);
    standard.register_lazy_functions().build_index();
    engine.register_global_module(standard.into());
    engine
        .set_module_resolver(rhai::module_resolvers::DummyModuleResolver::new())
        .set_max_operations(limits::SCRIPT_OPERATIONS)
        // The call from outside counts as one.
        .set_max_call_levels(limits::SCRIPT_CALL_LEVELS + 1)
        .set_max_expr_depths(limits::SCRIPT_EXPRESSION_DEPTH, limits::SCRIPT_EXPRESSION_DEPTH)
        .set_max_string_size(limits::SCRIPT_STRING)
        .set_max_array_size(limits::SCRIPT_ARRAY)
        .set_max_map_size(limits::SCRIPT_MAP)
        // The interner is one lock for all threads, and made two of them slower than one.
        .set_max_strings_interned(0)
        // A misspelt member is an error instead of ().
        .set_fail_on_invalid_map_property(true)
        .set_strict_variables(true)
        .on_progress(|operations| {
            // Looking at the clock costs more than an operation.
            let look = operations % 256 == 0;
            (look && spent_since_first_look() > limits::SCRIPT_PROCESSOR_TIME).then(|| "processor time".into())
        });
    for symbol in ["eval", "import", "export", "print", "debug"] {
        engine.disable_symbol(symbol);
    }
    functions::register(&mut engine);
    replies::register(&mut engine);
    value::register(&mut engine);
    engine
}

thread_local! {
    static FIRST_LOOK: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// Runs a call under the bound of processor time. The time is a bound, not an input: no script can see it, and a busy
/// machine that lets the thread wait does not use it up.
fn bounded<T>(call: impl FnOnce() -> T) -> T {
    let outer = FIRST_LOOK.take();
    let result = call();
    FIRST_LOOK.set(outer);
    result
}

/// Processor time of this thread since the call first looked, a few hundred operations in: most calls never look.
fn spent_since_first_look() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let now = Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0));
    let first = FIRST_LOOK.get().unwrap_or(now);
    FIRST_LOOK.set(Some(first));
    now.saturating_sub(first)
}

fn placed(found: Diagnostic, source: &Source, position: Position) -> Diagnostic {
    if position.line().is_none() {
        return found.at(source.place(Span::default()));
    }
    let at = offset(source, position);
    let word =
        source.text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum::<usize>();
    found.at(source.place(Span { start: at, end: at + word.max(1) }))
}

fn offset(source: &Source, position: Position) -> usize {
    let Some(line) = position.line() else { return 0 };
    let start: usize = source.text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let text = source.text[start..].lines().next().unwrap_or_default();
    let column = position.position().unwrap_or(1).saturating_sub(1);
    start + text.char_indices().nth(column).map_or(text.len(), |(at, _)| at)
}

/// A map from its members.
pub(crate) fn map<const N: usize>(members: [(&str, Dynamic); N]) -> Map {
    members.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

#[cfg(test)]
mod tests;
