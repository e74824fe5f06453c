//! A key of a configuration means the same in the TOML file that explains it and on its field.

use std::collections::BTreeMap;
use std::fs;

use super::root;

/// Section and the name of its struct.
type Struct = (&'static str, &'static str);

/// A file of all keys, the Rust file of its structs, and which struct is which section.
const SECTIONS: [(&str, &str, &[Struct]); 2] = [
    ("presets/base.toml", "src/config/mod.rs", &[("train", "TrainConfig"), ("data", "DataConfig")]),
    (
        "presets/distill/base.toml",
        "src/config/distill.rs",
        &[
            ("model", "DistillModel"),
            ("loss", "DistillLoss"),
            ("train", "DistillTrain"),
            ("data", "DistillData"),
        ],
    ),
];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a readable file")
}

/// `section.key` and its comment, which may go on below it.
fn of_toml(text: &str) -> BTreeMap<String, String> {
    let (mut found, mut section, mut key) = (BTreeMap::<String, String>::new(), "", String::new());
    for line in text.lines() {
        let (code, comment) = line.split_once('#').unwrap_or((line, ""));
        if let Some(name) = code.trim().strip_prefix('[').and_then(|code| code.strip_suffix(']')) {
            (section, key) = (name, String::new());
        } else if let Some((name, _)) = code.split_once('=') {
            key = format!("{section}.{}", name.trim());
            found.insert(key.clone(), comment.trim().to_owned());
        } else if let Some(known) = found.get_mut(&key).filter(|_| !comment.is_empty()) {
            *known = format!("{known} {}", comment.trim());
        }
    }
    found
}

/// Public fields of a struct and their doc comments.
fn of_struct(text: &str, name: &str) -> BTreeMap<String, String> {
    let (_, body) = text.split_once(&format!("pub struct {name} {{\n")).expect("the struct");
    let (body, _) = body.split_once("\n}").expect("its end");
    let (mut found, mut doc) = (BTreeMap::new(), vec![]);
    for line in body.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            doc.push(words.trim());
        } else if let Some((field, _)) = line.strip_prefix("pub ").and_then(|l| l.split_once(':')) {
            found.insert(field.to_owned(), doc.join(" "));
            doc.clear();
        }
    }
    found
}

#[test]
fn fields_say_what_the_file_of_all_keys_says() {
    for (file, source, sections) in SECTIONS {
        let (keys, source) = (of_toml(&read(file)), read(source));
        for (section, name) in sections {
            let prefix = format!("{section}.");
            let of_file: BTreeMap<&str, &str> = keys
                .iter()
                .filter_map(|(key, words)| Some((key.strip_prefix(&prefix)?, &words[..])))
                .collect();
            let fields = of_struct(&source, name);
            let of_fields: BTreeMap<&str, &str> =
                fields.iter().map(|(field, doc)| (&field[..], doc.trim_end_matches('.'))).collect();
            assert!(of_file.len() > 2, "{file}: [{section}]");
            assert_eq!(of_file, of_fields, "{file} [{section}] and {name}");
        }
    }
}

#[test]
fn every_key_of_a_model_is_explained() {
    let keys = of_toml(&read("presets/base.toml"));
    let silent: Vec<_> = keys.iter().filter(|(_, words)| words.is_empty()).collect();
    assert!(silent.is_empty(), "{silent:?}");
    let folders = fs::read_dir(root().join("src/models")).unwrap().map(|entry| entry.unwrap());
    let configs =
        folders.map(|folder| folder.path().join("config.rs")).filter(|path| path.exists());
    let configs: Vec<_> = configs.collect();
    assert!(configs.len() >= 4, "{configs:?}");
    for path in configs {
        let fields = of_struct(&fs::read_to_string(&path).unwrap(), "Config");
        assert!(fields.len() > 3, "{path:?}: {fields:?}");
        let silent: Vec<_> = fields.iter().filter(|(_, doc)| doc.is_empty()).collect();
        assert!(silent.is_empty(), "{path:?}: {silent:?}");
    }
}
