//! What somebody meant by a name that is unknown here: a key of the official HRM and TRM programs,
//! or a slip of the pen.

/// Their key, and what to write instead.
const HINTS: [(&str, &str); 31] = [
    ("data_path", "name the folder with --data DIR"),
    ("data_paths", "name the folder with --data DIR"),
    ("data_paths_test", "a data set has its test split in itself: --data DIR"),
    ("global_batch_size", "train.batch_size"),
    ("load_checkpoint", "hrm import FILE PRESET, then --init CHECKPOINT to train from its weights"),
    ("checkpoint_path", "the run folder: --run-dir DIR"),
    ("run_name", "the run folder: --run-dir DIR"),
    ("project_name", "W&B takes it when you sync: wandb sync --project NAME"),
    ("seed", "train.seed (data.seed is of the data set)"),
    ("epochs", "train.epochs"),
    ("eval_interval", "train.eval_every, in steps"),
    ("min_eval_interval", "train.eval_every, in steps"),
    ("checkpoint_every_eval", "train.checkpoint_every, in steps"),
    ("lr", "train.lr"),
    ("lr_min_ratio", "train.lr_min_ratio"),
    ("lr_warmup_steps", "train.warmup_steps"),
    ("weight_decay", "train.weight_decay"),
    ("beta1", "train.beta1"),
    ("beta2", "train.beta2"),
    ("puzzle_emb_lr", "train.puzzle_emb_lr"),
    ("puzzle_emb_weight_decay", "train.puzzle_emb_weight_decay"),
    ("ema", "train.ema, which is the rate here: train.ema=0.999 for ema=True, 0 for none"),
    ("ema_rate", "train.ema"),
    ("forward_dtype", "train.precision=bf16 or f32"),
    ("no_ACT_continue", "model.q_continue=false for no_ACT_continue=True"),
    ("H_cycles", "model.h_cycles"),
    ("L_cycles", "model.l_cycles"),
    ("H_layers", "model.h_layers"),
    ("L_layers", "model.l_layers"),
    ("loss_type", "model.loss=stablemax or softmax"),
    ("halt_exploration_prob", "model.halt_exploration_prob"),
];

/// What to write instead of a key of theirs, whichever section (`arch.`, `arch.loss.`) it stands
/// in.
pub fn hint(key: &str) -> Option<&'static str> {
    let name = key.trim_start_matches('+');
    let name = name.strip_prefix("arch.").unwrap_or(name);
    let name = name.strip_prefix("loss.").unwrap_or(name);
    HINTS.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
}

/// `; did you mean NAME?`, or nothing if no name is near. Sections count little: who misspells a
/// key, or leaves its section out, means the key.
pub(super) fn did_you_mean<'a>(got: &str, names: impl Iterator<Item = &'a str>) -> String {
    let near = |name: &str| {
        let ((section_a, a), (section_b, b)) = (split_key(got), split_key(name));
        strsim::jaro_winkler(a, b) + if section_a == section_b { 0.01 } else { 0.0 }
    };
    names
        .map(|name| (near(name), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(String::new(), |(_, name)| format!("; did you mean {name}?"))
}

fn split_key(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

#[cfg(test)]
mod tests {
    use crate::config::{Layer, Merged, Settings};

    #[test]
    fn keys_of_the_official_programs_are_answered_with_ours() {
        for (theirs, ours) in [
            ("data_path=data/arc", "--data DIR"),
            ("global_batch_size=768", "train.batch_size"),
            ("+load_checkpoint=x", "--init CHECKPOINT"),
            ("arch.forward_dtype=float32", "train.precision"),
            ("arch.loss.loss_type=x", "model.loss"),
            ("no_ACT_continue=True", "model.q_continue=false"),
            ("ema=True", "train.ema=0.999"),
            ("seed=1", "train.seed"),
        ] {
            let layer = Layer::command_line(&[theirs.to_owned()]).unwrap();
            let merged = Merged::<Settings>::of(None, None, &layer);
            let error = merged.unwrap_err().to_string();
            let line = error.lines().next().unwrap();
            assert!(line.contains("official programs") && line.contains(ours), "{line}");
        }
    }

    #[test]
    fn every_key_that_is_named_exists() {
        let merged = Merged::<Settings>::new(None).unwrap();
        let mut named = 0;
        for (theirs, ours) in super::HINTS {
            let words = ours.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_'));
            for key in words.filter(|w| w.starts_with("train.") || w.starts_with("model.")) {
                assert!(merged.value(key).is_some(), "{theirs}: {key}");
                named += 1;
            }
        }
        assert!(named > 5, "{named} keys were found");
    }
}
