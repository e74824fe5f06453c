use std::path::Path;
use std::process::Command;

use crate::{refusal, stdout, text, tool};

/// All of a visit on the GPU simulator, with the programs of this build.
#[test]
fn a_rehearsal_answers_every_question() {
    if cfg!(not(feature = "cuda")) {
        return println!("skipped: rehearsal of first contact (built without feature cuda)");
    }
    let hrm = Path::new(env!("CARGO_BIN_EXE_hrm"));
    let built = |name: &str| {
        let programs = std::fs::read_dir(hrm.with_file_name("deps")).unwrap();
        let mut names = programs.map(|file| text(file.unwrap().file_name().as_encoded_bytes()));
        names.any(|file| file.starts_with(&format!("{name}-")) && !file.contains('.'))
    };
    if !built("ops") || !built("models") {
        return println!("skipped: rehearsal of first contact (no test programs ops and models)");
    }
    let output = Command::new(tool("first-contact"))
        .args(["--rehearse", "--hrm"])
        .arg(hrm)
        .output()
        .unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("rehearsed: 9 ok, 0 red, 0 dropped"), "{said}");
}

#[test]
fn help_teaches_and_what_is_no_pack_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let help = stdout("first-contact", &["--help"], dir.path());
    for word in ["--pack", "run PACK", "ab PACK", "--rehearse", "dropped", "tools/on-gpu"] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
    for words in [&["run", "nowhere", "--out", "out"][..], &["ab", "nowhere", "--out", "out", "x"]]
    {
        let error = refusal("first-contact", words, dir.path());
        assert!(error.contains("is no pack"), "{error}");
    }
    let error = refusal("first-contact", &["run", "nowhere", "--out", "out", "x"], dir.path());
    assert!(error.contains("unknown: x"), "{error}");
    let error = refusal("first-contact", &["--pack"], dir.path());
    assert!(error.contains("strip is missing"), "{error}");
    let error = refusal("first-contact", &[], dir.path());
    assert!(error.contains("nothing to do"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}
