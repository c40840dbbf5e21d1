//! Trees of templated leaves: a leaf that is exactly one `{{ expression }}` keeps its type, every other stays text.

use crate::rules::diagnostic::{Diagnostic, Place, Source};
use crate::rules::manifest::Kind;
use crate::rules::platform::{Given, RenderError};
use crate::rules::yaml::Node;
use crate::words::event::Event;

#[derive(Debug)]
pub struct Tree {}
impl Tree {
    pub fn compile(_source: &Source, _node: &Node, _kind: &Kind) -> Result<Self, Vec<Diagnostic>> {
        todo!()
    }
    pub fn compile_default(
        _platform: &str,
        _option: &str,
        _value: &serde_json::Value,
        _kind: &Kind,
    ) -> Result<Self, Vec<Diagnostic>> {
        todo!()
    }
    pub fn render(&self, _given: &Given<'_>) -> Result<serde_json::Value, RenderError> {
        todo!()
    }
    pub fn is_constant(&self) -> bool {
        todo!()
    }
    pub fn secrets(&self) -> &[(String, Place)] {
        todo!()
    }
}
#[derive(Debug)]
pub struct Condition {}
impl Condition {
    pub fn compile(_source: &Source, _node: &Node) -> Result<Self, Vec<Diagnostic>> {
        todo!()
    }
    pub fn holds(&self, _event: &Event, _hook: &str) -> Result<bool, String> {
        todo!()
    }
}
