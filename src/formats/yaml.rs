//! YAML as the official programs write it, flat: each scalar by its path.

use saphyr_parser::{Event, Parser};

/// Containers within each other; settings have three.
const MAX_DEPTH: usize = 32;

/// A container that is open.
enum Open {
    /// With the key whose value comes next.
    Mapping(Option<String>),
    /// With the number of the item that comes next.
    Sequence(usize),
}

/// The scalars of the first document in their order, with paths such as `arch.loss.name`; an item
/// of a list has its number in place of a key.
///
/// # Errors
/// What is no YAML, aliases, and keys that are not text.
pub fn scalars(text: &str) -> Result<Vec<(String, String)>, String> {
    let (mut open, mut found): (Vec<Open>, _) = (vec![], vec![]);
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|e| format!("is not YAML: {e}"))?;
        match event {
            Event::Scalar(value, ..) => {
                if let Some(Open::Mapping(key @ None)) = open.last_mut() {
                    *key = Some(value.into_owned());
                    continue;
                }
                found.push((path(&open), value.into_owned()));
                next(&mut open);
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if open.len() == MAX_DEPTH {
                    return Err(format!("has more than {MAX_DEPTH} levels"));
                }
                if let Some(Open::Mapping(None)) = open.last() {
                    return Err("has a key that is no text".into());
                }
                open.push(match event {
                    Event::MappingStart(..) => Open::Mapping(None),
                    _ => Open::Sequence(0),
                });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                next(&mut open);
            }
            Event::Alias(_) => return Err("has aliases, which no settings need".into()),
            Event::DocumentEnd => break,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
    }
    Ok(found)
}

fn path(open: &[Open]) -> String {
    let part = |open: &Open| match open {
        Open::Mapping(key) => key.clone().unwrap_or_default(),
        Open::Sequence(item) => item.to_string(),
    };
    open.iter().map(part).collect::<Vec<_>>().join(".")
}

/// A value is complete: what comes next in the container around it?
fn next(open: &mut [Open]) {
    match open.last_mut() {
        Some(Open::Mapping(key)) => *key = None,
        Some(Open::Sequence(item)) => *item += 1,
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_have_paths() {
        let text = "arch:\n  H_cycles: 2\n  loss: {name: 'a: b', kinds: [x, {y: z}]}\n  n: null\n\
                    paths:\n- p/q r\n  s\n- \"\\u00e4\"\nlast: 1.0e-04\n";
        let want = [
            ("arch.H_cycles", "2"),
            ("arch.loss.name", "a: b"),
            ("arch.loss.kinds.0", "x"),
            ("arch.loss.kinds.1.y", "z"),
            ("arch.n", "null"),
            ("paths.0", "p/q r s"),
            ("paths.1", "\u{e4}"),
            ("last", "1.0e-04"),
        ];
        let found = scalars(text).unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(k, v)| (&k[..], &v[..])).collect();
        assert_eq!(found, want);
    }

    #[test]
    fn what_is_no_settings_is_refused() {
        for (text, word) in [
            ("a: [", "is not YAML"),
            ("a: &x 1\nb: *x\n", "aliases"),
            ("? [a]\n: 1\n", "key that is no text"),
            (&"[".repeat(40), "levels"),
        ] {
            let error = scalars(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
