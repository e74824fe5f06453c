//! TOML tables read as lists of `section.key`.

use toml::{Table, Value};

use crate::{Error, Result};

/// The table that `text` is; `name` stands before an error.
pub(super) fn parse(name: &str, text: &str) -> Result<Table> {
    text.parse().map_err(|e: toml::de::Error| Error::invalid(format!("{name}: {e}")))
}

/// `section.key` and value, in the table's order.
pub fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut flat = vec![];
    for (section, value) in table {
        match value {
            Value::Table(inner) => flat.extend(
                flatten(inner).into_iter().map(|(key, value)| (format!("{section}.{key}"), value)),
            ),
            other => flat.push((section.clone(), other.clone())),
        }
    }
    flat
}

/// One key that two tables disagree on; `None`: not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Diff {
    /// `section.key`.
    pub key: String,
    /// Value in the first table.
    pub old: Option<Value>,
    /// Value in the second table.
    pub new: Option<Value>,
}

impl std::fmt::Display for Diff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |v: &Option<Value>| v.as_ref().map_or("absent".into(), Value::to_string);
        write!(f, "{}: {} -> {}", self.key, text(&self.old), text(&self.new))
    }
}

/// Keys that two tables disagree on, in the order of `new`, then those that only `old` has.
pub fn diff(old: &Table, new: &Table) -> Vec<Diff> {
    let (old, new) = (flatten(old), flatten(new));
    let find = |flat: &[(String, Value)], key: &str| {
        flat.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone())
    };
    let gone = old.iter().filter(|(k, _)| find(&new, k).is_none());
    new.iter()
        .chain(gone)
        .map(|(key, _)| Diff { key: key.clone(), old: find(&old, key), new: find(&new, key) })
        .filter(|d| d.old != d.new)
        .collect()
}
