//! What the headers of a request say about its body. Media types, parameters' names, charsets and
//! codings are compared without regard to case (RFC 9110, 8.3 and 8.4).

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::problem::Problem;

const JSON: &str = "application/json";
/// Names of the encoding that JSON has (RFC 8259, 8.1), and of the part of it that is ASCII.
const CHARSETS: [&str; 3] = ["utf-8", "utf8", "us-ascii"];

/// Refuses a body that does not call itself plain JSON.
pub fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |what: String| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what);
    if let Some(coding) = coding(headers) {
        return Err(refused(format!(
            "the body has Content-Encoding: {coding}, which this server does not decode; send it plain"
        ))
        .wrong_coding());
    }
    let kind = value(headers, header::CONTENT_TYPE);
    let (media, parameters) = kind.split_once(';').unwrap_or((&kind, ""));
    if !media.trim().eq_ignore_ascii_case(JSON) {
        let sent = if kind.is_empty() { "there is none" } else { &kind };
        return Err(refused(format!(
            "the body must be JSON, with the header Content-Type: {JSON}; {sent}"
        )));
    }
    match charset(parameters).filter(|name| !is_one_of(name, &CHARSETS)) {
        None => Ok(()),
        Some(name) => Err(refused(format!("the body is in charset {name}; send it as UTF-8"))),
    }
}

/// The codings of the body, if there are any.
fn coding(headers: &HeaderMap) -> Option<String> {
    let all = value(headers, header::CONTENT_ENCODING);
    let tokens = all.split(',').map(str::trim).filter(|token| !token.is_empty());
    let codings: Vec<&str> = tokens.filter(|token| !is_one_of(token, &["identity"])).collect();
    (!codings.is_empty()).then(|| codings.join(", "))
}

/// The charset among the parameters of a media type, without quotes.
fn charset(parameters: &str) -> Option<&str> {
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    })
}

/// All lines of a header as one list.
fn value(headers: &HeaderMap, name: HeaderName) -> String {
    let lines = headers.get_all(name);
    let lines = lines.iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    lines.collect::<Vec<_>>().join(", ")
}

fn is_one_of(word: &str, known: &[&str]) -> bool {
    known.iter().any(|known| word.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(lines: &[(HeaderName, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        check_json(&headers).err().map(|problem| format!("{problem:?}"))
    }

    #[test]
    fn media_types_and_charsets_are_compared_without_case() {
        for kind in [
            "application/json",
            "Application/JSON",
            " application/JSON ; Charset=\"UTF-8\"",
            "application/json;",
            "application/json; version=1; charset=utf8",
        ] {
            assert_eq!(refusal(&[(header::CONTENT_TYPE, kind)]), None, "{kind}");
        }
        for (kind, word) in [
            ("text/plain", "text/plain"),
            ("application/jsonx", "application/jsonx"),
            ("\"application/json\"", "\"application/json"),
            ("application/json, application/json", "application/json, application/json"),
            ("application/json; charset=utf-16", "charset utf-16"),
            ("application/json; CHARSET=\"Latin1\"", "charset Latin1"),
            ("", "there is none"),
        ] {
            let refusal = refusal(&[(header::CONTENT_TYPE, kind)]).unwrap();
            assert!(
                refusal.contains("415") && refusal.replace('\\', "").contains(word),
                "{refusal}"
            );
        }
    }

    #[test]
    fn codings_are_named_and_identity_is_none() {
        let json = (header::CONTENT_TYPE, JSON);
        let encoded = |codings: &[&'static str]| {
            let lines = codings.iter().map(|coding| (header::CONTENT_ENCODING, *coding));
            refusal(&lines.chain([json.clone()]).collect::<Vec<_>>())
        };
        for codings in [&["identity"][..], &["Identity, IDENTITY"], &[""], &[]] {
            assert_eq!(encoded(codings), None, "{codings:?}");
        }
        for (codings, word) in [
            (&["GZip"][..], "Content-Encoding: GZip,"),
            (&["identity, br"], "Content-Encoding: br,"),
            (&["gzip", "zstd"], "Content-Encoding: gzip, zstd,"),
        ] {
            let refusal = encoded(codings).unwrap();
            assert!(refusal.contains("415") && refusal.contains(word), "{refusal}");
        }
    }
}
