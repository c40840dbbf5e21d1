//! What of a hook's options is the same for every event, and therefore made ready once.

use std::sync::{Arc, OnceLock};

use crate::rules::hook::Hook;
use crate::rules::platform::{Given, Made, Options, Platform, RenderError};
use crate::rules::template::Tree;
use crate::words::json::Members;

/// The options that are the same for every event, as the platform's script is given them.
#[derive(Debug)]
pub struct Prepared {
    pub(super) options: OnceLock<Box<Options>>,
    /// Whether no option depends on the event.
    pub(super) constant: bool,
    /// Set once the platform has seen constant options and had nothing against them.
    pub(super) checked: OnceLock<()>,
    /// Whether what the platform's script makes of one delivery holds for the next one: but for keys, all is known.
    pub(super) repeats: bool,
    /// What it made, then.
    pub(super) made: OnceLock<Box<Made>>,
}

impl Prepared {
    pub(super) fn new(platform: &Platform, trees: &[(String, Arc<Tree>)]) -> Self {
        let constant = trees.iter().all(|(_, tree)| tree.is_constant());
        let mut varying = trees.iter().filter(|(_, tree)| varies(tree));
        let signed_at_most =
            varying.next().is_none_or(|(_, tree)| tree.outline().is_some()) && varying.next().is_none();
        let repeats = constant && signed_at_most && platform.repeats();
        let (options, checked, made) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { options, constant, checked, repeats, made }
    }
}

/// Whether an option must be rendered for each attempt: it depends on the event, or on a secret that may change.
pub(super) fn varies(tree: &Tree) -> bool {
    !tree.is_constant() || !tree.secrets().is_empty() || tree.outline().is_some()
}

/// What stands in the file as it is: no template is rendered before the hook was proven.
pub(super) fn fixed_options(platform: &Platform, trees: &[(String, Arc<Tree>)]) -> Options {
    let fixed = trees.iter().filter_map(|(name, tree)| Some((name.clone(), tree.fixed()?.clone())));
    signed_options(platform, trees, &fixed.collect())
}

/// Those of these members. Of a signature all but the keys is known.
fn signed_options(platform: &Platform, trees: &[(String, Arc<Tree>)], known: &Members) -> Options {
    let mut options = platform.options(known);
    for (name, tree) in trees {
        if let Some(signer) = tree.outline() {
            options.sign(name, signer);
        }
    }
    options
}

/// Sets an option to what it is for one attempt.
pub(crate) fn render_option(
    platform: &Platform,
    options: &mut Options,
    (name, tree): &(String, Arc<Tree>),
    given: &Given<'_>,
) -> Result<(), RenderError> {
    match tree.signer(given)? {
        Some(signer) => options.sign(name, signer),
        None => platform.set_option(options, name, tree.render(given)?),
    }
    Ok(())
}

impl Hook {
    /// The options as they are for one attempt.
    pub(super) fn options_for(&self, given: &Given<'_>) -> Result<Options, RenderError> {
        let mut options = self.known_options(given)?;
        for option in self.options.iter().filter(|(_, tree)| varies(tree)) {
            render_option(&self.platform, &mut options, option, given)?;
        }
        options.checked = self.prepared.checked.get().is_some();
        Ok(options)
    }

    /// Those of them that are the same for every attempt.
    pub(super) fn known_options(&self, given: &Given<'_>) -> Result<Options, RenderError> {
        if let Some(known) = self.prepared.options.get() {
            return Ok(Options::clone(known));
        }
        let known = self.options.iter().filter(|(_, tree)| !varies(tree));
        let known: Members =
            known.map(|(name, tree)| Ok((name.clone(), tree.render(given)?))).collect::<Result<_, _>>()?;
        let known = signed_options(&self.platform, &self.options, &known);
        Ok(Options::clone(self.prepared.options.get_or_init(|| Box::new(known))))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::rules::diagnostic::Source;
    use crate::rules::platform::Platforms;
    use crate::rules::settings::Defaults;
    use crate::words::event::Event;
    use crate::words::secret::Secrets;

    #[test]
    fn an_option_that_always_fails_is_not_left_out() {
        // Without its text a webhook would pass on the event as it came.
        let text = "events: [t]\nplatform: webhook\noptions: {url: https://h.example/, text: \"{{ 7 % 0 }}\"}\n";
        let (hook, found) = Hook::parse(&Source::new("h.yaml", text), &Platforms::built_in(), &Defaults::default());
        let hook = hook.unwrap_or_else(|| panic!("{found:?}"));
        let (event, secrets) = (Event::new("t", None, "{\"n\":1}", Timestamp::UNIX_EPOCH), Secrets::default());
        let given =
            Given { id: "j-1", attempt: 1, now: Timestamp::UNIX_EPOCH, hook: "h", event: &event, secrets: &secrets };
        for _ in 0..2 {
            let Err(RenderError::Wrong(found)) = hook.render(&given) else { panic!("it has no text") };
            assert_eq!((found.code, found.place.as_ref().map(|place| place.line)), ("render", Some(3)), "{found:?}");
        }
    }

    #[test]
    fn what_a_script_made_once_is_made_for_each_delivery_anew() {
        use crate::words::secret::Secret;
        let hook = |options: &str| {
            let text =
                format!("events: [t]\nplatform: webhook\noptions:\n  url: https://user:pw@h.example/x\n{options}");
            let (hook, found) = Hook::parse(&Source::new("h.yaml", text), &Platforms::built_in(), &Defaults::default());
            hook.unwrap_or_else(|| panic!("{options}: {found:?}"))
        };
        let mut compared = 0;
        for options in [
            "",
            "  sign: {preset: standard-webhooks, key: {secret: s}}\n",
            "  headers: {Webhook-Id: mine, x-a: b}\n",
            "  headers: {x-n: \"{{ data.n }}\"}\n",
            "  json: {a: 1}\n  sign: {preset: github, key: {secret: s}}\n",
            "  json: {n: \"{{ data.n }}\"}\n",
            "  method: GET\n",
            "  headers: {authorization: {secret: s}}\n",
        ] {
            let used = hook(options);
            for (id, key, raw, second) in [("j-1", "a2V5MQ==", "{\"n\":1}", 1), ("j-2", "a2V5Mg==", "{\"n\":2}", 99)] {
                let mut event = Event::new("t", Some(id.to_owned()), raw, Timestamp::UNIX_EPOCH);
                event.content_type = format!("application/json; n={second}");
                let mut secrets = Secrets::default();
                secrets.insert("s", Ok(Secret::new(key)));
                let now = Timestamp::from_second(1_800_000_000 + second).unwrap();
                let given = Given { id, attempt: 1, now, hook: "h", event: &event, secrets: &secrets };
                let [used, fresh] =
                    [&used, &hook(options)].map(|hook| hook.render(&given).map_err(|error| error.to_string()));
                assert_eq!(format!("{used:?}"), format!("{fresh:?}"), "{options} {id}");
                let made = used.unwrap_or_else(|error| panic!("{options}: {error}"));
                assert_eq!(made.headers["webhook-id"], if options.contains("mine") { "mine" } else { id }, "{options}");
                compared += 1;
            }
        }
        assert_eq!(compared, 16);
    }
}
