//! JSON Schemas of what people write and of what `--json` prints, from the same tables that the parser reads by.
//!
//! They are in draft 7, which every editor understands. A schema says less than `postrider check`: what it refuses is
//! wrong, and what it lets pass may still be.

mod options;
mod output;

use serde_json::{Map, Value as Json, json};

use crate::rules::platform::Platforms;
use crate::rules::source::SourceScripts;
use crate::words::keys::{self, Key, Shape, Table, Unless};

pub use self::output::output;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";
/// Units as `yaml::reader` knows them.
const UNIT: &str = "(ms|s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)";

/// Whether names that are not known are let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// For everybody: scripts of one's own may have any name.
    Open,
    /// For the machine whose scripts these are.
    Known,
}

/// The schema of a hook file.
pub fn hook(platforms: &Platforms, names: Names) -> Json {
    let mut writer = Writer::default();
    let mut file = writer.object(&keys::HOOK);
    let known: Vec<&str> = platforms.0.keys().map(String::as_str).collect();
    file["properties"]["platform"] = with_about(name_of(&known, names), keys::HOOK.key("platform"));
    let options = platforms.0.values().map(|platform| {
        let specs = &platform.manifest.options;
        let options = options::object(&mut writer, specs, &platform.manifest.pool, None);
        let needed: &[&str] = if specs.iter().any(|spec| spec.required) { &["options"] } else { &[] };
        json!({
            "if": {"properties": {"platform": {"const": platform.name}}, "required": ["platform"]},
            "then": {"properties": {"options": options}, "required": needed},
        })
    });
    file["allOf"] = options.collect();
    writer.finish("A postrider hook", file)
}

/// The schema of the main file.
pub fn main(scripts: &SourceScripts, names: Names) -> Json {
    let mut writer = Writer::default();
    let mut file = writer.object(&keys::MAIN);
    let known: Vec<&str> = scripts.0.keys().map(String::as_str).collect();
    let mut source = writer.object(&keys::SOURCE);
    source["type"] = json!(["object", "null"]);
    source["properties"]["script"] = with_about(name_of(&known, names), keys::SOURCE.key("script"));
    let mut by_name = Map::new();
    let mut by_script = Vec::new();
    for (name, script) in &scripts.0 {
        let specs = &script.manifest.options;
        let options = options::object(&mut writer, specs, &[], Some(&keys::SOURCE_OPTIONS));
        let mut said = json!({"properties": {"options": options}});
        if specs.iter().any(|spec| spec.required) {
            said["type"] = json!("object");
            said["required"] = json!(["options"]);
        }
        let path = format!("source-{name}");
        writer.definitions.insert(path.clone(), said);
        let said = json!({"$ref": format!("#/definitions/{path}")});
        by_script.push(json!({
            "if": {"type": "object", "properties": {"script": {"const": name}}, "required": ["script"]},
            "then": said,
        }));
        by_name.insert(
            name.clone(),
            json!({"allOf": [
                {"$ref": "#/definitions/source"},
                {"if": {"type": "object", "required": ["script"]}, "then": {}, "else": said},
            ]}),
        );
    }
    source["allOf"] = by_script.into();
    writer.definitions.insert("source".to_owned(), source);
    file["properties"]["sources"] = json!({
        "description": keys::MAIN.key("sources").map(|key| key.about),
        "type": "object",
        "properties": by_name,
        "additionalProperties": {"$ref": "#/definitions/source"},
    });
    writer.finish("The main file of postrider", file)
}

fn name_of(known: &[&str], names: Names) -> Json {
    match names {
        Names::Known => json!({"enum": known}),
        Names::Open => json!({"anyOf": [{"enum": known}, {"type": "string", "pattern": "\\S"}]}),
    }
}

fn with_about(mut schema: Json, key: Option<&Key>) -> Json {
    schema["description"] = json!(key.map(|key| key.about));
    schema
}

/// Collects what is used in more than one place.
#[derive(Default)]
struct Writer {
    definitions: Map<String, Json>,
}

impl Writer {
    fn finish(self, title: &str, file: Json) -> Json {
        let mut schema = json!({"$schema": DRAFT, "title": title});
        if let (Some(schema), Json::Object(file)) = (schema.as_object_mut(), file) {
            schema.extend(file);
            schema.insert("definitions".to_owned(), Json::Object(self.definitions));
        }
        schema
    }

    /// A map with these keys and no others.
    fn object(&mut self, table: &Table) -> Json {
        let mut properties = Map::new();
        for key in table.keys {
            properties.insert(key.name.to_owned(), self.key(key));
        }
        let required: Vec<_> =
            table.keys.iter().filter(|key| key.unless == Unless::Required).map(|key| key.name).collect();
        let mut object = json!({"type": "object", "additionalProperties": false, "properties": properties});
        if !required.is_empty() {
            object["required"] = required.into();
        }
        self.together(table, &mut object);
        object
    }

    /// What only makes sense beside something else.
    fn together(&self, table: &Table, object: &mut Json) {
        if std::ptr::eq(table, &keys::RULE) {
            object["oneOf"] = keys::VERDICTS.iter().map(|verdict| json!({"required": [verdict]})).collect();
            object["dependencies"] = json!({"why": ["pause"]});
        } else if std::ptr::eq(table, &keys::TEST) {
            object["anyOf"] = json!([{"required": ["event"]}, {"required": ["response"]}]);
            // A verdict is expected of a response, and only of one.
            let judged = json!({"anyOf": [{"required": ["verdict"]}, {"required": ["why"]}]});
            object["if"] = json!({"required": ["response"]});
            object["then"] = json!({"properties": {"expect": judged}});
            object["else"] = json!({"properties": {"expect": {"not": judged}}});
        } else if std::ptr::eq(table, &keys::TEST_RESPONSE) {
            object["not"] = json!({"required": ["json", "text"]});
        } else if std::ptr::eq(table, &keys::EXPECT) {
            object["minProperties"] = json!(1);
        }
    }

    fn key(&mut self, key: &Key) -> Json {
        let mut schema = self.shape(&key.shape);
        if schema.get("$ref").is_some() {
            // In draft 7 nothing beside a reference counts.
            schema = json!({"allOf": [schema]});
        }
        schema["description"] = key.about.into();
        if let Unless::Default(text) = key.unless {
            schema["default"] = match key.shape {
                Shape::Bool | Shape::Integer(..) | Shape::Any | Shape::Either(_) => {
                    serde_json::from_str(text).unwrap_or_else(|_| text.into())
                }
                _ => text.into(),
            };
        }
        schema
    }

    /// A definition, made when it is used for the first time.
    fn definition(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Json) -> Json {
        if !self.definitions.contains_key(name) {
            self.definitions.insert(name.to_owned(), Json::Null);
            let made = make(self);
            self.definitions.insert(name.to_owned(), made);
        }
        json!({"$ref": format!("#/definitions/{name}")})
    }

    fn table(&mut self, table: &'static Table) -> Json {
        self.definition(table.name, |writer| writer.object(table))
    }

    fn secret(&mut self) -> Json {
        self.definition("secret", |_| {
            json!({
                "description": "A secret by its name: a file in secrets.d, or a credential of the service manager.",
                "type": "object",
                "properties": {"secret": {"type": "string", "pattern": "\\S"}},
                "required": ["secret"],
                "additionalProperties": false,
            })
        })
    }

    fn shape(&mut self, shape: &Shape) -> Json {
        let text = || json!({"type": "string", "pattern": "\\S"});
        match shape {
            Shape::Text | Shape::Template | Shape::Platform | Shape::SourceScript | Shape::Header => text(),
            Shape::AnyText => json!({"type": "string"}),
            Shape::Texts => json!({"anyOf": [text(), {"type": "array", "minItems": 1, "items": text()}]}),
            Shape::Expression => {
                json!({"type": "string", "pattern": "\\S", "not": {"pattern": "^\\s*\\{\\{"}})
            }
            Shape::Bool => json!({"type": "boolean"}),
            Shape::True => json!({"const": true}),
            Shape::Integer(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
            Shape::Duration(..) => json!({"type": "string", "pattern": format!("^\\s*(\\d+\\s*{UNIT}\\s*)+$")}),
            Shape::Size(..) => {
                json!({"type": "string", "pattern": "^\\s*\\d+\\s*[kKmMgGtT]([iI]?[bB])?\\s*$"})
            }
            Shape::Rate => json!({
                "type": "string",
                "pattern": format!("^\\s*0*[1-9]\\d*\\s*/\\s*({UNIT}|(\\d+\\s*{UNIT}\\s*)+)\\s*$"),
            }),
            Shape::Time => json!({"type": "string", "pattern": "^\\s*[-+]?\\d{4,6}-\\d\\d-\\d\\d"}),
            Shape::Address => json!({"type": "string", "pattern": "^([0-9.]+|\\[[0-9a-fA-F:.%]+\\]):\\d{1,5}$"}),
            Shape::Networks => {
                let one = json!({"type": "string", "pattern": "^[0-9a-fA-F.:]+(/\\d{1,3})?$"});
                json!({"anyOf": [one, {"type": "array", "items": one}]})
            }
            Shape::Url => json!({"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://"}),
            Shape::Word(words) => json!({"enum": words}),
            Shape::Words(words) => {
                json!({"anyOf": [{"enum": words}, {"type": "array", "minItems": 1, "items": {"enum": words}}]})
            }
            Shape::Secret => self.secret(),
            Shape::SigningKeys => {
                let one = json!({"anyOf": [self.secret(), text()]});
                json!({"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]})
            }
            Shape::Pairs => {
                json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}})
            }
            Shape::Any => json!({}),
            Shape::Nothing | Shape::NotYet => json!({"type": "null"}),
            // What these hold, their platform or script says.
            Shape::PlatformOptions => json!({"type": "object"}),
            Shape::SourceOptions => json!({"type": ["object", "null"]}),
            Shape::Map(table) => self.table(table),
            Shape::List(table) => {
                let entry = self.table(table);
                let least = u32::from(std::ptr::eq(*table, &keys::RULE));
                json!({"type": "array", "minItems": least, "items": entry})
            }
            Shape::Named(table) => {
                let entry = self.table(table);
                json!({"type": "object", "additionalProperties": entry})
            }
            Shape::Either(shapes) => {
                let shapes: Vec<Json> = shapes.iter().map(|shape| self.shape(shape)).collect();
                json!({"anyOf": shapes})
            }
        }
    }
}
