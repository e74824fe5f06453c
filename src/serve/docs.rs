//! The OpenAPI document as a page to read. It shows what the document says and knows nothing else,
//! so that both stay true together.

use maud::{DOCTYPE, Markup, html};
use serde_json::{Map, Value};

/// `document`: of `openapi::document`.
pub fn page(document: &Value) -> String {
    let info = &document["info"];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                link rel="stylesheet" href="page.css";
                title { (text(&info["title"])) ": the interface" }
            }
            body.docs {
                header {
                    h1 { (text(&info["title"])) }
                    p { (text(&info["description"])) }
                    nav {
                        a href="./" { "Page" } " · "
                        a href="openapi.json" { "OpenAPI " (text(&document["openapi"])) }
                    }
                }
                main {
                    section aria-labelledby="operations" {
                        h2 #operations { "Operations" }
                        @for (path, operations) in fields(&document["paths"]) {
                            @for (method, of) in fields(operations) {
                                (operation(method, path, of))
                            }
                        }
                    }
                    section aria-labelledby="schemas" {
                        h2 #schemas { "Schemas" }
                        @for (name, of) in fields(&document["components"]["schemas"]) {
                            (schema(name, of))
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn operation(method: &str, path: &str, of: &Value) -> Markup {
    let (answers, mut refusals): (Vec<_>, Vec<_>) =
        fields(&of["responses"]).partition(|(status, _)| status.starts_with('2'));
    refusals.sort_by_key(|(status, _)| *status);
    let refusals: Vec<&str> = refusals.into_iter().map(|(status, _)| status.as_str()).collect();
    html! {
        article {
            h3 { code { (method.to_uppercase()) " " (path) } }
            p { (text(&of["summary"])) }
            ul {
                @if let Some(body) = of.get("requestBody") {
                    li { "takes " (content(&body["content"])) }
                }
                @for (status, answer) in answers {
                    li { (status) ": " (content(&answer["content"])) }
                }
                li { "refuses with " (refusals.join(", ")) ": " a href="#Problem" { "Problem" } }
            }
        }
    }
}

/// What a body holds, by media type.
fn content(content: &Value) -> Markup {
    html! {
        @for (i, (kind, body)) in fields(content).enumerate() {
            @if i > 0 { " or " }
            @if body["schema"]["$ref"].is_string() { (of_type(&body["schema"])) " (" (kind) ")" }
            @else { (kind) }
        }
    }
}

fn schema(name: &str, of: &Value) -> Markup {
    let required = |field: &str| {
        of["required"].as_array().is_some_and(|all| all.iter().any(|name| *name == field))
    };
    html! {
        article id=(name) {
            h3 { code { (name) } }
            @if of.get("properties").is_some() {
                div.scroll { table {
                    thead { tr { th { "field" } th { "type" } th { "meaning" } } }
                    tbody {
                        @for (field, of) in fields(&of["properties"]) {
                            tr {
                                td { code { (field) } }
                                td { (of_type(of)) }
                                td {
                                    @if !required(field) { "optional. " }
                                    (text(&of["description"]))
                                }
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// A schema in a few words.
fn of_type(schema: &Value) -> Markup {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return html! { a href={ "#" (name) } { (name) } };
    }
    if let Some(ways) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        return html! {
            @for (i, way) in ways.iter().enumerate() { @if i > 0 { " or " } (of_type(way)) }
        };
    }
    if let Some(only) = schema.get("const") {
        return html! { (only.to_string()) };
    }
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
        return html! { (choices.join(" or ")) };
    }
    let name = match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        name if name == "array" => return html! { "list of " (of_type(&schema["items"])) },
        name => name.as_str().unwrap_or("anything").to_owned(),
    };
    let end = |name: &str| schema.get(name).map(Value::to_string);
    html! {
        (name)
        @match (end("minimum"), end("maximum")) {
            (Some(min), Some(max)) => { ", " (min) " to " (max) }
            (Some(min), None) => { ", at least " (min) }
            (None, Some(max)) => { ", at most " (max) }
            (None, None) => {}
        }
    }
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// Nothing where there is no string.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
