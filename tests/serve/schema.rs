//! Whether a JSON value is what a schema of the OpenAPI document says, nothing missing and nothing
//! beyond it: the part of JSON Schema that the document uses.

use serde_json::{Value, json};

/// Where `value` is not what `schema` says; `at` is its place.
pub fn faults(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(path) = schema["$ref"].as_str() {
        let schema = document.pointer(path.trim_start_matches('#'));
        let schema = schema.unwrap_or_else(|| panic!("{path} is nowhere in the document"));
        return faults(document, schema, value, at);
    }
    if let Some(ways) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let all: Vec<_> = ways.iter().map(|way| faults(document, way, value, at)).collect();
        return match all.iter().any(Vec::is_empty) {
            true => vec![],
            false => all.concat(),
        };
    }
    let mut found = vec![];
    let mut expect = |holds: bool, what: String| {
        if !holds {
            found.push(format!("{at}: {what}, not {value}"));
        }
    };
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect::<Vec<_>>(),
    };
    expect(types.is_empty() || types.iter().any(|of| is(value, of)), format!("{types:?}"));
    if let Some(only) = schema.get("const") {
        expect(value == only, only.to_string());
    }
    if let Some(choices) = schema["enum"].as_array() {
        expect(choices.contains(value), format!("{choices:?}"));
    }
    if let Some(number) = value.as_f64() {
        let least = schema["minimum"].as_f64().unwrap_or(f64::NEG_INFINITY);
        let most = schema["maximum"].as_f64().unwrap_or(f64::INFINITY);
        expect((least..=most).contains(&number), format!("{least} to {most}"));
    }
    if let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        for name in schema["required"].as_array().into_iter().flatten() {
            expect(fields.contains_key(name.as_str().unwrap()), format!("an object with {name}"));
        }
        for (name, field) in fields {
            match properties.get(name) {
                Some(schema) => {
                    found.extend(faults(document, schema, field, &format!("{at}.{name}")))
                }
                None => found.push(format!("{at}.{name}: is not described")),
            }
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (i, item) in items.iter().enumerate() {
            found.extend(faults(document, schema, item, &format!("{at}[{i}]")));
        }
    }
    found
}

fn is(value: &Value, of: &str) -> bool {
    match of {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    }
}

#[test]
fn what_a_schema_does_not_say_is_found() {
    let document = json!({
        "Share": {
            "type": "object",
            "properties": {
                "right": { "type": "integer", "minimum": 0 },
                "way": { "oneOf": [{ "const": "a" }, { "type": "null" }] },
            },
            "required": ["right"],
        },
        "list": { "type": "array", "items": { "$ref": "#/Share" } },
    });
    let faults = |value: Value| faults(&document, &document["list"], &value, "x");
    assert_eq!(faults(json!([{ "right": 1, "way": null }, { "right": 2, "way": "a" }])), [""; 0]);
    for (value, at) in [
        (json!({ "right": 1 }), "x: [\"array\"]"),
        (json!([{ "right": -1 }]), "x[0].right: 0"),
        (json!([{ "right": 1.5 }]), "x[0].right: [\"integer\"]"),
        (json!([{ "way": "a" }]), "x[0]: an object with \"right\""),
        (json!([{ "right": 1, "way": "b" }]), "x[0].way: \"a\""),
        (json!([{ "right": 1, "of": 2 }]), "x[0].of: is not described"),
    ] {
        assert!(faults(value).iter().any(|fault| fault.starts_with(at)), "{at}");
    }
}
