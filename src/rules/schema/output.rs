//! What `--json` prints.

use serde_json::{Map, Value as Json, json};

use super::DRAFT;
use crate::words::rows::{COMMANDS, Field, Holds, Row};

/// The schema of one line that a command prints, or of a line of any command. `None` for a command that prints none.
pub fn output(command: Option<&str>) -> Option<Json> {
    let rows: Vec<&'static Row> = match command {
        Some(name) => COMMANDS.iter().find(|(command, _)| *command == name)?.1.to_vec(),
        None => COMMANDS.iter().flat_map(|(_, rows)| rows.iter().copied()).collect(),
    };
    let mut definitions = Map::new();
    let mut lines: Vec<Json> = rows.into_iter().map(|row| reference(row, &mut definitions)).collect();
    let title = match command {
        Some(name) => format!("A line of postrider {name} --json"),
        None => "A line of any postrider command with --json".to_owned(),
    };
    let mut schema = json!({"$schema": DRAFT, "title": title});
    match lines.len() {
        1 => schema["allOf"] = lines.into(),
        _ => {
            lines.dedup();
            schema["anyOf"] = lines.into();
        }
    }
    if command.is_none() {
        let of = |(name, rows): &(&str, &[&'static Row])| {
            let rows: Vec<Json> = rows.iter().map(|row| json!({"$ref": path(row)})).collect();
            (format!("postrider {name}"), json!({"anyOf": rows}))
        };
        let commands: Vec<_> = COMMANDS.iter().map(of).collect();
        definitions.extend(commands);
    }
    schema["definitions"] = definitions.into();
    Some(schema)
}

fn path(row: &Row) -> String {
    format!("#/definitions/{}", row.name)
}

/// A row of a later version may have more members, so nothing is said of those.
fn reference(row: &'static Row, definitions: &mut Map<String, Json>) -> Json {
    if !definitions.contains_key(row.name) {
        definitions.insert(row.name.to_owned(), Json::Null);
        let mut properties = Map::new();
        for field in row.fields {
            let mut schema = holds(&field.holds, definitions);
            if schema.get("$ref").is_some() {
                schema = json!({"allOf": [schema]});
            }
            schema["description"] = field.about.into();
            properties.insert(field.name.to_owned(), schema);
        }
        let is_required = |field: &&Field| !matches!(field.holds, Holds::Maybe(_));
        let required: Vec<_> = row.fields.iter().filter(is_required).map(|field| field.name).collect();
        let object =
            json!({"description": row.about, "type": "object", "properties": properties, "required": required});
        definitions.insert(row.name.to_owned(), object);
    }
    json!({"$ref": path(row)})
}

fn holds(what: &Holds, definitions: &mut Map<String, Json>) -> Json {
    match what {
        Holds::Text => json!({"type": "string"}),
        Holds::Word(words) => json!({"enum": words}),
        Holds::Count => json!({"type": "integer", "minimum": 0}),
        Holds::Whole => json!({"type": "integer"}),
        Holds::Bool => json!({"type": "boolean"}),
        Holds::Time => json!({"type": "string", "format": "date-time"}),
        Holds::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Holds::Pairs => json!({
            "type": "array",
            "items": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
        }),
        Holds::Map => json!({"type": "object", "additionalProperties": {"type": ["string", "array"]}}),
        Holds::Counts => json!({"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}}),
        Holds::Any => json!({}),
        Holds::One(row) => reference(row, definitions),
        Holds::Many(row) => {
            let row = reference(row, definitions);
            json!({"type": "array", "items": row})
        }
        Holds::OrNull(one) => {
            let one = holds(one, definitions);
            json!({"anyOf": [one, {"type": "null"}]})
        }
        Holds::Maybe(one) => holds(one, definitions),
    }
}
