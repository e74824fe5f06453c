//! Values that cannot be meant are refused with a sentence, before anything is read or allocated.

use super::Settings;
use crate::data::RowLayout;
use crate::models::{ARCHITECTURES, RowForm};
use crate::{Error, Result};

pub(super) fn check(config: &Settings) -> Result<()> {
    let Settings { train: t, data: d, .. } = config;
    let at_least_1 = [
        ("train.batch_size", t.batch_size as u64),
        ("train.grad_accum", t.grad_accum as u64),
        ("train.log_every", t.log_every),
        ("train.keep", t.keep as u64),
        ("data.canvas", d.canvas as u64),
        ("data.train_puzzles", d.train_puzzles as u64),
        ("data.test_puzzles", d.test_puzzles as u64),
    ];
    for (key, value) in at_least_1 {
        require(value >= 1, key, value, "must be at least 1")?;
        require(value < 1 << 31, key, value, "is absurdly large")?;
    }
    for (key, lr) in [("train.lr", t.lr), ("train.muon_lr", t.muon_lr)] {
        require(lr.is_finite(), key, lr, "must be a finite number")?;
        require(lr > 0.0, key, lr, "must be positive")?;
    }
    let not_negative = [
        ("train.puzzle_emb_lr", t.puzzle_emb_lr),
        ("train.weight_decay", t.weight_decay),
        ("train.puzzle_emb_weight_decay", t.puzzle_emb_weight_decay),
        ("train.clip", t.clip),
    ];
    for (key, value) in not_negative {
        require(value.is_finite(), key, value, "must be a finite number")?;
        require(value >= 0.0, key, value, "must be 0 or more")?;
    }
    for (key, share) in
        [("train.lr_min_ratio", t.lr_min_ratio), ("train.decay_share", t.decay_share)]
    {
        require((0.0..=1.0).contains(&share), key, share, "must be between 0 and 1")?;
    }
    let below_one = [
        ("train.ema", t.ema),
        ("train.beta1", t.beta1),
        ("train.beta2", t.beta2),
        ("train.muon_momentum", t.muon_momentum),
        ("train.muon_beta2", t.muon_beta2),
    ];
    for (key, value) in below_one {
        require((0.0..1.0).contains(&value), key, value, "must be at least 0 and below 1")?;
    }
    if t.max_steps == 0 && t.epochs == 0 {
        return Err(Error::invalid(
            "train.max_steps and train.epochs are both 0: set one, for example train.epochs=10",
        ));
    }
    let arch = config.model.arch();
    if !arch.recomputations().contains(&t.recompute) {
        let others = ARCHITECTURES.iter().filter(|a| a.recomputations().contains(&t.recompute));
        let others: Vec<&str> = others.map(|a| a.word()).collect();
        let words: Vec<&str> = arch.recomputations().iter().map(|r| r.word()).collect();
        return Err(Error::invalid(format!(
            "train.recompute={}: only {} has such; {} has {}",
            t.recompute.word(),
            others.join(", "),
            arch.word(),
            words.join(", ")
        )));
    }
    config.model.validate()?;
    let takes: &[RowLayout] = match config.model.form() {
        RowForm::Canvas => &[RowLayout::Padded],
        RowForm::Cells => &[RowLayout::Padded, RowLayout::Packed],
        RowForm::Sequence => &[RowLayout::Sequence],
    };
    if !takes.contains(&d.layout) {
        let words: Vec<&str> = takes.iter().map(|layout| layout.word()).collect();
        return Err(Error::invalid(format!(
            "data.layout={}: {} takes {} rows, as it is configured",
            d.layout.word(),
            arch.word(),
            words.join(" or ")
        )));
    }
    Ok(())
}

pub(super) fn require(
    holds: bool,
    key: &str,
    value: impl std::fmt::Display,
    what: &str,
) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::invalid(format!("{key}={value} {what}"))),
    }
}
