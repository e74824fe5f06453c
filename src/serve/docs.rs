//! The OpenAPI document as a page to read. It shows what the document says and knows nothing else, so
//! that both stay true together.

use std::fmt::Write;

use serde_json::{Map, Value};

const HEAD: &str = r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><link rel="stylesheet" href="page.css">
<title>hrm serve: the interface</title></head><body class="docs">
"#;

/// `document`: of `openapi::document`.
pub fn html(document: &Value) -> String {
    let mut out = String::from(HEAD);
    let info = &document["info"];
    let _ = write!(
        out,
        "<header><h1>{}</h1><p>{}</p><nav><a href=\"./\">Page</a> · <a href=\"openapi.json\">OpenAPI \
         {}</a></nav></header>\n<main><section aria-labelledby=\"operations\"><h2 id=\"operations\">\
         Operations</h2>\n",
        text(&info["title"]),
        text(&info["description"]),
        text(&document["openapi"]),
    );
    for (path, operations) in fields(&document["paths"]) {
        for (method, operation) in fields(operations) {
            self::operation(&mut out, method, path, operation);
        }
    }
    out += "</section>\n<section aria-labelledby=\"schemas\"><h2 id=\"schemas\">Schemas</h2>\n";
    for (name, schema) in fields(&document["components"]["schemas"]) {
        self::schema(&mut out, name, schema);
    }
    out += "</section></main></body></html>\n";
    out
}

fn operation(out: &mut String, method: &str, path: &str, operation: &Value) {
    let _ = write!(
        out,
        "<article><h3><code>{} {}</code></h3><p>{}</p><ul>",
        method.to_uppercase(),
        escape(path),
        text(&operation["summary"]),
    );
    if let Some(body) = operation.get("requestBody") {
        let _ = write!(out, "<li>takes {}</li>", content(&body["content"]));
    }
    let mut refusals = vec![];
    for (status, response) in fields(&operation["responses"]) {
        match status.starts_with('2') {
            true => {
                let _ = write!(out, "<li>{status}: {}</li>", content(&response["content"]));
            }
            false => refusals.push(status.as_str()),
        }
    }
    refusals.sort_unstable();
    refusals.dedup();
    let _ = writeln!(
        out,
        "<li>refuses with {}: <a href=\"#Problem\">Problem</a></li></ul></article>",
        refusals.join(", ")
    );
}

/// What a body holds, by media type.
fn content(content: &Value) -> String {
    let each = fields(content).map(|(kind, body)| match body["schema"]["$ref"].as_str() {
        Some(_) => format!("{} ({kind})", of_type(&body["schema"])),
        None => escape(kind),
    });
    each.collect::<Vec<_>>().join(" or ")
}

fn schema(out: &mut String, name: &str, schema: &Value) {
    let _ = writeln!(out, "<article id=\"{0}\"><h3><code>{0}</code></h3>", escape(name));
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if schema.get("properties").is_some() {
        *out += "<div class=\"scroll\"><table><thead><tr><th>field</th><th>type</th><th></th></tr></thead>\n";
        for (field, of) in fields(&schema["properties"]) {
            let optional = if required.contains(&field.as_str()) { "" } else { "optional. " };
            let _ = writeln!(
                out,
                "<tr><td><code>{}</code></td><td>{}</td><td>{optional}{}</td></tr>",
                escape(field),
                of_type(of),
                text(&of["description"]),
            );
        }
        *out += "</table></div>";
    }
    *out += "</article>\n";
}

/// A schema in a few words.
fn of_type(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#{0}\">{0}</a>", escape(name));
    }
    if let Some(choices) = schema["enum"].as_array() {
        return choices.iter().map(|c| escape(&c.to_string())).collect::<Vec<_>>().join(" or ");
    }
    let name = match &schema["type"] {
        Value::Array(all) => {
            let names: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            names.join(" or ")
        }
        Value::String(name) if name == "array" => {
            return format!("list of {}", of_type(&schema["items"]));
        }
        name => name.as_str().unwrap_or("anything").to_owned(),
    };
    let end = |name: &str| schema.get(name).map(Value::to_string);
    match (end("minimum"), end("maximum")) {
        (Some(min), Some(max)) => format!("{name}, {min} to {max}"),
        (Some(min), None) => format!("{name}, at least {min}"),
        (None, Some(max)) => format!("{name}, at most {max}"),
        (None, None) => name,
    }
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// A string of the document, escaped; nothing where there is none.
fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn what_the_document_says_is_text_and_never_markup() {
        let evil = "<script>\"&";
        let document = json!({
            "info": { "title": evil, "description": evil },
            "paths": { evil: { "get": { "summary": evil, "responses": { "200": {
                "content": { evil: { "schema": { "type": "string" } } } } } } } },
            "components": { "schemas": { evil: { "properties": { evil: { "description": evil,
                "enum": [evil] } } } } },
        });
        let page = super::html(&document);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.matches("&lt;script&gt;&quot;&amp;").count() >= 8, "{page}");
    }
}
