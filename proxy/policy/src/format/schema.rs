//! The table of keys as a JSON Schema, for editors.

use serde_json::{Map, Value, json};

use super::{FILE, Key, Shape};

/// The JSON Schema of a policy file, as text with a newline at its end.
#[must_use]
pub fn schema() -> String {
    let mut root = of(&FILE);
    if let Value::Object(object) = &mut root {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("title".to_owned(), json!("Pointsman policy"));
    }
    format!("{root:#}\n")
}

fn of(shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string", "minLength": 1}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Count => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Shape::Integer => json!({"type": "integer"}),
        Shape::Leaf(leaf) => {
            let mut value = json!({"type": "string", "title": leaf.name, "description": leaf.expected});
            if let Some(pattern) = leaf.pattern {
                value["pattern"] = json!(pattern);
            }
            value
        }
        Shape::Words([word]) => json!({"const": word}),
        Shape::Words(words) => json!({"enum": words}),
        Shape::List(inner) => {
            json!({"anyOf": [of(inner), {"type": "array", "minItems": 1, "items": of(inner)}]})
        }
        Shape::Sequence(inner) => json!({"type": "array", "minItems": 1, "items": of(inner)}),
        Shape::Map(keys) => map(keys),
        Shape::Names(leaf, inner) => {
            let mut value = json!({"type": "object", "minProperties": 1, "additionalProperties": of(inner)});
            if let Some(pattern) = leaf.and_then(|leaf| leaf.pattern) {
                value["propertyNames"] = json!({"pattern": pattern});
            }
            value
        }
        Shape::Or(shapes) => json!({"anyOf": shapes.iter().map(of).collect::<Vec<_>>()}),
    }
}

fn map(keys: &[Key]) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let mut value = of(&key.shape);
        value["description"] = json!(key.doc);
        properties.insert(key.name.to_owned(), value);
    }
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required})
}
