//! The kind `sign`: a map in the grammar of `rules::signature`, of which only the key may vary.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Map;

use super::kinds::Compiler;
use super::leaf::is_template;
use super::{Part, Tree};
use crate::rules::diagnostic::{Diagnostic, Place};
use crate::rules::platform::{Given, RenderError, Signer};
use crate::rules::signature::{Fault, Outline, Scheme};
use crate::rules::yaml::{Key, Node, Style, Value};
use crate::words::json::Exact;
use crate::words::keys::SIGN;
use crate::words::secret::Secret;

/// How a request is signed. The root of its tree is the list of its keys.
pub(super) struct Signing {
    outline: Arc<Outline>,
    /// The keys of the last attempt, made ready: reading them costs more than a signature.
    latest: RwLock<Option<(Vec<Secret>, Arc<Scheme>)>>,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.outline)
    }
}

impl Compiler<'_> {
    /// Everything but the key is literal, and is checked now.
    pub(super) fn sign(&mut self, node: &Node) -> Part {
        let Value::Map(entries) = &node.value else {
            let what = format!("a signature is a map, not {}", node.describe());
            self.wrong(node, None, what, "write it as in {preset: standard-webhooks, key: {secret: NAME}}");
            return Part::Fixed(Exact::Null);
        };
        let mut literal = Map::new();
        for (key, node) in entries.iter().filter(|(key, _)| key.name != "key") {
            let value = node.to_json();
            if value.as_str().is_some_and(is_template) {
                let what = format!("`{}` must be literal: of a signature only the key may hold {{{{ }}}}", key.name);
                self.wrong(node, None, what, "write the word itself");
            } else {
                literal.insert(key.name.clone(), value);
            }
        }
        let outline = match Outline::read_to_sign(&literal) {
            _ if !self.found.is_empty() => None,
            Ok(outline) => Some(Arc::new(outline)),
            Err(faults) => {
                faults.into_iter().for_each(|fault| self.fault(node, entries, fault));
                None
            }
        };
        let Some((_, key)) = entries.iter().find(|(key, _)| key.name == "key") else {
            let misspelt = self.found.iter().any(|found| found.help.as_deref() == Some("did you mean `key`?"));
            if !misspelt {
                self.wrong(node, None, "a signature needs a key", "add `key: {secret: NAME}`");
            }
            return Part::Fixed(Exact::Null);
        };
        let nodes = match &key.value {
            Value::List(nodes) if nodes.is_empty() => {
                self.wrong(key, None, "a signature needs a key", "write `key: {secret: NAME}`");
                return Part::Fixed(Exact::Null);
            }
            Value::List(nodes) => nodes.iter().collect(),
            _ => vec![key],
        };
        let is_public = literal.get("preset").is_some_and(|preset| preset == "pushpushgo");
        let keys = nodes.iter().map(|node| self.key(node, outline.as_ref(), is_public)).collect();
        self.hide(&nodes);
        self.signing = outline.map(|outline| Signing { outline, latest: RwLock::default() });
        Part::List(keys)
    }

    fn key(&mut self, node: &Node, outline: Option<&Arc<Outline>>, is_public: bool) -> Part {
        let part = self.scalar(node);
        if let Part::Fixed(Exact::String(text)) = &part {
            self.literal_key(text, node, outline, is_public);
        }
        part
    }

    /// Takes the keys out of the lines that are shown, whatever is said about these lines.
    fn hide(&mut self, keys: &[&Node]) {
        let places: Vec<_> = keys
            .iter()
            .filter(|node| !matches!(node.value, Value::Map(_)))
            .filter_map(|node| self.origin.place(node, None))
            .collect();
        for finding in self.found.iter_mut().chain(&mut self.warnings) {
            let Some(place) = finding.place.take() else { continue };
            let key = places.iter().filter(|key| key.line == place.line).min_by_key(|key| key.column);
            finding.place = Some(match key {
                Some(key) if key.column <= place.column => key.clone().masked(),
                Some(key) => Place { text: key.clone().masked().text, ..place },
                None => place,
            });
        }
    }

    /// A key that everybody can read who can read the file. The key of PushPushGo is the id of a project, and no secret.
    fn literal_key(&mut self, text: &str, node: &Node, outline: Option<&Arc<Outline>>, is_public: bool) {
        if let Some(outline) = outline {
            let scheme = Scheme::new(outline.clone(), &[Secret::new(text)]);
            if let Err(fault) = scheme.and_then(|scheme| scheme.can_sign()) {
                return self.wrong(node, None, fault.what, fault.help);
            }
        }
        if !is_public {
            let warning =
                Diagnostic::warning("key-in-file", "the key stands in the file, for everybody who can read it")
                    .help("put it into a file in secrets.d, and write `key: {secret: NAME}`");
            let place = self.origin.place(node, None);
            self.warnings.push(self.origin.finish(warning, place));
        }
    }

    fn fault(&mut self, node: &Node, entries: &[(Key, Node)], fault: Fault) {
        let entry = fault.field.as_deref().and_then(|field| entries.iter().find(|(key, _)| key.name == field));
        match entry {
            Some((key, _)) if SIGN.key(&key.name).is_none() => {
                let at = Node { span: key.span, value: Value::Null, style: Style::Plain };
                self.wrong(&at, None, fault.what, fault.help);
            }
            Some((_, node)) => self.wrong(node, None, fault.what, fault.help),
            None => self.wrong(node, None, fault.what, fault.help),
        }
    }
}

impl Signing {
    pub(super) fn outline(&self) -> Signer {
        Signer { outline: self.outline.clone(), scheme: None }
    }

    pub(super) fn outline_of(&self) -> &Arc<Outline> {
        &self.outline
    }

    pub(super) fn outline_mut(&mut self) -> &mut Arc<Outline> {
        &mut self.outline
    }

    /// With the keys of one attempt, which are the same as for the last one unless they come from the event or a secret
    /// was changed.
    pub(super) fn with_keys(&self, tree: &Tree, given: &Given<'_>) -> Result<Signer, RenderError> {
        let keys = keys(tree, given)?;
        let ready = |scheme: &Arc<Scheme>| Signer { outline: self.outline.clone(), scheme: Some(scheme.clone()) };
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, scheme)) = &*latest
            && *of == keys
        {
            return Ok(ready(scheme));
        }
        drop(latest);
        let scheme = Scheme::new(self.outline.clone(), &keys);
        let scheme = scheme.and_then(|scheme| scheme.can_sign().map(|()| scheme));
        let scheme = Arc::new(scheme.map_err(|fault| self.unusable(tree, given, &keys, fault))?);
        let signer = ready(&scheme);
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Some((keys, scheme));
        Ok(signer)
    }

    pub(super) fn try_key(&self, key: &Secret) -> Result<(), Fault> {
        Scheme::new(self.outline.clone(), std::slice::from_ref(key)).and_then(|scheme| scheme.can_sign())
    }

    /// A key that cannot be used. The delivery waits for a secret to be mended, as it waits for one that is missing.
    fn unusable(&self, tree: &Tree, given: &Given<'_>, keys: &[Secret], fault: Fault) -> RenderError {
        let broken = keys.iter().position(|key| self.try_key(key).is_err());
        match broken.and_then(|broken| tree.root.list().get(broken)) {
            Some(Part::Secret(name, _)) => RenderError::Secret { name: name.clone(), why: fault.what },
            _ => {
                let place = tree.first_place().map(Place::without_text);
                tree.wrong(given, place, fault.what, Some(fault.help))
            }
        }
    }
}

/// The keys of one attempt. Most are secrets as they are, and need no template.
fn keys(tree: &Tree, given: &Given<'_>) -> Result<Vec<Secret>, RenderError> {
    let parts = tree.root.list();
    let name = |part: &Part| if let Part::Secret(name, _) = part { Some(name.clone()) } else { None };
    match parts.iter().map(name).collect::<Option<Vec<_>>>() {
        Some(names) if !names.is_empty() => names.iter().map(|name| super::secret(given, name)).collect(),
        _ => Ok(match tree.render(given)? {
            Exact::List(keys) => keys.iter().filter_map(Exact::as_str).map(Secret::new).collect(),
            _ => Vec::new(),
        }),
    }
}
