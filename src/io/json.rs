//! JSON as people and other programs write it: a byte order mark before it is skipped, and what is
//! described as an object has to be one.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::file;

/// A whole text as `T`.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(file::without_bom(text))
}

/// A struct that is written as an object: serde alone also takes a list of its fields.
#[derive(Clone, Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }
        from.deserialize_map(Fields(PhantomData)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Point {
        x: i64,
        y: Option<i64>,
    }

    #[test]
    fn an_object_is_no_list_of_its_fields() {
        let read = |text: &str| parse::<Vec<Object<Point>>>(text.as_bytes());
        let points = read("\u{feff}[{\"y\": 2, \"x\": 1}, {\"x\": 3}]").unwrap();
        assert_eq!(points.iter().map(|p| p.0.x).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(points.iter().map(|p| p.0.y).collect::<Vec<_>>(), [Some(2), None]);
        assert!(serde_json::from_str::<Point>("[1, 2]").is_ok(), "what this is for");
        for (text, words) in [
            ("[[1, 2]]", "invalid type: sequence, expected an object at line 1"),
            ("[null]", "invalid type: null, expected an object"),
            ("[{\"y\": 1}]", "missing field `x` at line 1"),
            ("[{\"x\": 1, \"z\": 1}]", "unknown field `z`, expected `x` or `y`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }
}
