//! The templates of a tree one by one, for whoever tries what an event could do to each.

use super::scope::Root;
use super::{Part, Tree, secret};
use crate::rules::diagnostic::Place;
use crate::rules::manifest::Kind;
use crate::rules::platform::{Given, RenderError};
use crate::rules::yaml;
use crate::words::json::Exact;

/// One template of a tree.
#[derive(Clone, Copy)]
pub struct LeafView<'t> {
    tree: &'t Tree,
    part: &'t Part,
}

impl LeafView<'_> {
    /// The kind of its option.
    pub fn kind(&self) -> &Kind {
        &self.tree.kind
    }

    /// The template as it was written.
    pub fn written(&self) -> &str {
        match self.part {
            Part::Leaf(_, node) => match &node.value {
                yaml::Value::String(text) => text,
                _ => "",
            },
            _ => "",
        }
    }

    /// The event's fields that it names.
    pub fn variables(&self) -> Vec<String> {
        match self.part {
            Part::Leaf(leaf, _) => leaf.variables().collect(),
            _ => Vec::new(),
        }
    }

    /// Its value, as a part of the whole.
    ///
    /// # Errors
    /// As `Tree::render`.
    pub fn render(&self, given: &Given<'_>) -> Result<Option<Exact>, RenderError> {
        let tree = self.tree;
        let secrets = tree.secrets.iter().filter_map(|(name, _)| Some((name.clone(), secret(given, name).ok()?)));
        let root = Root::value(given.event, given.hook, Some(given.attempt), &tree.needs, secrets.collect());
        tree.part(self.part, &root, given)
    }

    /// Where it stands in the hook file: the braces that name a variable, else its beginning.
    pub fn place(&self, variable: Option<&str>) -> Option<Place> {
        let Part::Leaf(_, node) = self.part else { return None };
        let text = self.written();
        let braces = |at: usize| Some(at..at + text[at..].find("}}")? + 2);
        let mut tags = text.match_indices("{{").filter_map(|(at, _)| braces(at));
        let tag = variable.and_then(|name| tags.find(|at| text[at.clone()].contains(name)));
        self.tree.origin.place(node, tag)
    }
}

impl Tree {
    /// Its templates, one by one.
    pub fn leaves(&self) -> Vec<LeafView<'_>> {
        let mut found = Vec::new();
        self.root.leaf_parts(&mut found);
        found.into_iter().map(|part| LeafView { tree: self, part }).collect()
    }

    /// Whether it is just this word.
    pub fn says(&self, word: &str) -> bool {
        matches!(&self.root, Part::Fixed(value) if value.as_str() == Some(word))
    }
}

impl Part {
    fn leaf_parts<'p>(&'p self, found: &mut Vec<&'p Self>) {
        match self {
            Self::Fixed(_) | Self::Secret(..) => {}
            Self::Leaf(..) => found.push(self),
            Self::List(parts) => parts.iter().for_each(|part| part.leaf_parts(found)),
            Self::Map(parts) => parts.iter().for_each(|(_, part)| part.leaf_parts(found)),
        }
    }
}
