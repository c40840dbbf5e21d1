//! What stands under `options:`, from the manifest of a platform or of a source.

use serde_json::{Map, Value as Json, json};

use super::Writer;
use crate::rules::manifest::{Kind, OptionSpec, texts};
use crate::words::keys::{self, Table};
use crate::words::limits;

/// A map with these options, of which those in `pool` may be one for each of several robots, and for a source those that
/// every source has.
pub(super) fn object(
    writer: &mut Writer,
    specs: &[OptionSpec],
    pool: &[String],
    common: Option<&'static Table>,
) -> Json {
    let is_source = common.is_some();
    let mut properties = Map::new();
    for spec in specs {
        let mut schema = if is_source { setting(writer, &spec.kind) } else { option(writer, &spec.kind) };
        if pool.contains(&spec.name) {
            let one = schema;
            let robot = if spec.required { one.clone() } else { json!({"anyOf": [one, {"type": "null"}]}) };
            let robots = json!({"type": "array", "minItems": 1, "maxItems": limits::ROBOTS, "items": robot});
            schema = json!({"anyOf": [one, robots]});
        }
        if schema.get("$ref").is_some() {
            schema = json!({"allOf": [schema]});
        }
        schema["description"] = spec.about.as_str().into();
        if !spec.default.is_null() {
            schema["default"] = spec.default.clone();
        }
        properties.insert(spec.name.clone(), schema);
    }
    for key in common.iter().flat_map(|table| table.keys) {
        let shape = writer.key(key);
        properties.insert(key.name.to_owned(), if key.name == "token" { several(shape) } else { shape });
    }
    let mut object = json!({"type": "object", "additionalProperties": false, "properties": properties});
    let required: Vec<_> = specs.iter().filter(|spec| spec.required).map(|spec| spec.name.as_str()).collect();
    if is_source && required.is_empty() {
        object["type"] = json!(["object", "null"]);
    }
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

/// One of these, or a list of them.
fn several(one: Json) -> Json {
    let about = one["description"].clone();
    json!({"description": about, "anyOf": [one, {"type": "array", "minItems": 1, "items": one}]})
}

fn scalar(writer: &mut Writer) -> Json {
    writer.definition("text", |writer| {
        json!({
            "description": "A text, with {{ }} where it depends on the event, or a secret.",
            "anyOf": [{"type": ["string", "number", "boolean"]}, writer.secret()],
        })
    })
}

/// A text in which a template stands.
fn template() -> Json {
    json!({"type": "string", "pattern": "\\{[{%]"})
}

/// In a hook: texts are templates.
fn option(writer: &mut Writer, kind: &Kind) -> Json {
    match kind {
        texts!() => scalar(writer),
        Kind::Secret => scalar(writer),
        Kind::Xml => json!({"anyOf": [scalar(writer), {"type": "object"}]}),
        Kind::Url => json!({
            "anyOf": [{"type": "string", "pattern": "^([hH][tT][tT][pP][sS]?://|\\{[{%])"}, writer.secret()],
        }),
        Kind::Headers => json!({"type": "object", "additionalProperties": scalar(writer)}),
        Kind::List => json!({"anyOf": [scalar(writer), {"type": "array", "items": scalar(writer)}]}),
        Kind::Bool => json!({"anyOf": [{"enum": [true, false, "true", "false"]}, template(), writer.secret()]}),
        Kind::Integer => json!({
            "anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^\\s*[-+]?\\d+\\s*$"}, template(), writer.secret()],
        }),
        Kind::Choice(words) => json!({"anyOf": [{"enum": words}, template(), writer.secret()]}),
        Kind::Sign => writer.table(&keys::SIGN),
        Kind::Tree | Kind::TreeOf(_) => json!({}),
    }
}

/// In the main file: texts are as they are, and secrets may stand anywhere.
fn setting(writer: &mut Writer, kind: &Kind) -> Json {
    let text = json!({"type": "string", "pattern": "\\S"});
    let plain = match kind {
        texts!() | Kind::Xml => text,
        Kind::Url => json!({"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Integer => json!({"type": "integer"}),
        Kind::Choice(words) => json!({"enum": words}),
        Kind::Secret => return several(writer.secret()),
        Kind::List => {
            let entry = json!({"anyOf": [text, writer.secret()]});
            json!({"anyOf": [text, {"type": "array", "items": entry}]})
        }
        Kind::Headers => json!({"type": "object"}),
        Kind::Tree | Kind::TreeOf(_) | Kind::Sign => return json!({}),
    };
    json!({"anyOf": [plain, writer.secret()]})
}
