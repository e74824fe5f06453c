//! What a run does, validated: configuration, data, device, threads. Made once, printed, stored as
//! `plan.toml` in the run folder and inside every checkpoint.

use std::path::PathBuf;

use toml::{Table, Value};

use crate::config::{Diff, RunConfig, Settings, diff, flatten};
use crate::{Error, Result};

/// Keys that do not change what is computed: a run goes on under the same plan without them.
const COSMETIC: &[&str] = &[
    "train.log_every",
    "train.checkpoint_every",
    "train.keep",
    "train.best",
    "train.write_pt",
    "train.recompute",
    "run.threads",
    // A run may move between devices; from there on its bits are another device's.
    "run.device",
    "run.products",
];

#[derive(Clone, Debug, PartialEq)]
pub struct Plan<C = Settings> {
    pub config: C,
    /// The data set's folder or file, absolute.
    pub data_dir: PathBuf,
    /// `cpu`, `cuda:0`, ...
    pub device: String,
    pub threads: usize,
    /// Who computes matrix products ([`Device::products`](crate::backend::Device::products)); empty
    /// in plans that did not say.
    pub products: String,
    /// The checkpoint whose weights the run starts from, absolute; else they are random.
    pub init: Option<PathBuf>,
}

impl<C: RunConfig> Plan<C> {
    pub fn table(&self) -> Result<Table> {
        let mut table = Table::try_from(&self.config)
            .map_err(|e| Error::invalid(format!("configuration: {e}")))?;
        let run = [
            ("data_dir", Value::String(self.data_dir.display().to_string())),
            ("device", Value::String(self.device.clone())),
            ("threads", Value::Integer(self.threads as i64)),
        ];
        let mut run: Table = run.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        if let Some(init) = &self.init {
            run.insert("init".into(), Value::String(init.display().to_string()));
        }
        if !self.products.is_empty() {
            run.insert("products".into(), Value::String(self.products.clone()));
        }
        table.insert("run".into(), Value::Table(run));
        Ok(table)
    }

    pub fn to_toml(&self) -> Result<String> {
        Ok(self.table()?.to_string())
    }

    /// The inverse of [`to_toml`](Self::to_toml).
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |what: String| Error::invalid(format!("stored plan: {what}"));
        let mut table: Table = text.parse().map_err(|e: toml::de::Error| bad(e.to_string()))?;
        let run = table.remove("run").unwrap_or(Value::Boolean(false));
        let text = |key: &str| run.get(key).and_then(Value::as_str);
        let missing = |key: &str| bad(format!("run.{key} is missing"));
        let data_dir = text("data_dir").ok_or_else(|| missing("data_dir"))?.into();
        let device = text("device").ok_or_else(|| missing("device"))?.to_owned();
        let threads = run.get("threads").and_then(Value::as_integer);
        let threads = threads.and_then(|n| n.try_into().ok()).ok_or_else(|| missing("threads"))?;
        let init = text("init").map(PathBuf::from);
        let products = text("products").unwrap_or_default().to_owned();
        C::settle(&mut table, |_| false).map_err(|e| bad(e.to_string()))?;
        let config = table.try_into().map_err(|e| bad(e.to_string()))?;
        Ok(Self { config, data_dir, device, threads, products, init })
    }

    /// What this plan computes differently from a stored one; empty: the same run. A key that there
    /// was not when the plan was stored has the value that stands for what was done then.
    pub fn differences(&self, stored: &str) -> Result<Vec<Diff>> {
        let stored = match Self::parse(stored) {
            Ok(plan) => plan.table()?,
            // Of another kind of run: whatever there is of it differs.
            Err(_) => {
                let bad = |e: toml::de::Error| Error::invalid(format!("stored plan: {e}"));
                let mut stored: Table = stored.parse().map_err(bad)?;
                C::settle(&mut stored, |_| false)?;
                stored
            }
        };
        let mut all = diff(&stored, &self.table()?);
        all.retain(|d| !COSMETIC.contains(&d.key.as_str()));
        Ok(all)
    }

    /// Take the values that a stored plan has for `keys`, as far as this kind of run has them.
    pub fn keep(&mut self, keys: &[&str], stored: &str) -> Result<()> {
        let bad = |e: toml::de::Error| Error::invalid(format!("stored plan: {e}"));
        let stored: Table = stored.parse().map_err(bad)?;
        let mut table = self.table()?;
        table.remove("run");
        for key in keys {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            let kept = stored.get(section).and_then(|section| section.get(name));
            if let (Some(kept), Some(Value::Table(section))) = (kept, table.get_mut(section)) {
                section.insert(name.to_owned(), kept.clone());
            }
        }
        self.config = table.try_into().map_err(bad)?;
        Ok(())
    }

    /// One line per section, wrapped: what is printed at the start.
    pub fn summary(&self) -> Result<String> {
        const WIDTH: usize = 100;
        let mut text = String::new();
        let mut section = String::new();
        let mut column = WIDTH;
        for (key, value) in flatten(&self.table()?) {
            let (head, name) = key.split_once('.').unwrap_or(("plan", &key));
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let item = format!("  {name}={value}");
            if head != section || column + item.len() > WIDTH {
                let label = if head == section { "" } else { head };
                text += &format!("{}{label:6}", if text.is_empty() { "" } else { "\n" });
                (section, column) = (head.to_owned(), 6);
            }
            column += item.len();
            text += &item;
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(overrides: &[&str]) -> Plan {
        let overrides: Vec<String> = overrides.iter().map(|o| o.to_string()).collect();
        let config = Settings::load(None, None, &overrides).unwrap();
        let (data_dir, products) = ("/data/x".into(), "own kernels (avx2)".into());
        Plan { config, data_dir, device: "cpu".into(), threads: 2, products, init: None }
    }

    #[test]
    fn same_run_ignores_what_changes_no_result() {
        let stored = plan(&[]).to_toml().unwrap();
        assert_eq!(plan(&["train.log_every=3", "train.keep=9"]).differences(&stored).unwrap(), []);
        let other = Plan { threads: 1, products: "x".into(), ..plan(&["train.lr=0.5"]) };
        let differences = other.differences(&stored).unwrap();
        let lines: Vec<String> = differences.iter().map(Diff::to_string).collect();
        assert_eq!(lines, ["train.lr: 0.001 -> 0.5"]);
    }

    #[test]
    fn what_was_left_open_is_kept_as_stored() {
        let stored = plan(&["train.precision=bf16", "train.lr=0.5"]).to_toml().unwrap();
        let mut now = plan(&["train.precision=f32"]);
        now.keep(&[], &stored).unwrap();
        assert_eq!(now, plan(&["train.precision=f32"]));
        now.keep(&["train.precision"], &stored).unwrap();
        assert_eq!(now, plan(&["train.precision=bf16"]));
        assert!(now.keep(&["train.precision"], "[train]\nprecision = \"auto\"").is_err());
    }

    #[test]
    fn stored_plans_are_read_back() {
        for (init, products) in [(None, "".into()), (Some("/a/b".into()), "own kernels".into())] {
            let plan = Plan { init, products, ..plan(&["train.lr=0.5"]) };
            assert_eq!(Plan::parse(&plan.to_toml().unwrap()).unwrap(), plan);
        }
        assert!(<Plan>::parse("preset = 3").is_err());
    }

    /// Plans once held every key of every kind of model.
    #[test]
    fn old_plans_open_and_are_the_same_run() {
        let halting = "halt_max_steps = 2\nhalt_exploration_prob = 0.1\nloss = \"stablemax\"\n\
                       puzzle_emb_ndim = 128\npos_encodings = \"rope\"\ndropout = 0.0\n\
                       max_cycles = 0\nmlp_t = false\n";
        let encoder = "puzzle_emb_ndim = 0\npuzzle_emb_len = 0\npos_encodings = \"sinusoidal\"\n\
                       mlp_t = false\nloss = \"softmax\"\nhalt_max_steps = 1\n\
                       halt_exploration_prob = 0.0\nq_continue = false\nh_cycles = 2\n\
                       l_cycles = 2\nh_layers = 4\n";
        let trm = halting.replace("halt_max_steps = 2", "halt_max_steps = 8");
        for (preset, widths, others) in [
            (
                "arc-small",
                [128, 4],
                format!(
                    "{halting}h_layers = 2\nl_layers = 2\nh_cycles = 2\n\
                l_cycles = 2\npuzzle_emb_len = 0\nq_continue = false\narch = \"hrm\"\n"
                ),
            ),
            (
                "trm-sudoku-mini",
                [128, 4],
                format!(
                    "{trm}h_layers = 0\nl_layers = 2\n\
                h_cycles = 2\nl_cycles = 3\npuzzle_emb_len = 0\nq_continue = false\n\
                arch = \"trm\"\n"
                ),
            ),
            (
                "arc-full",
                [256, 8],
                format!(
                    "{}l_layers = 3\nmax_cycles = 8\ndropout = 0.1\n\
                arch = \"hrm_seed\"\n",
                    encoder
                ),
            ),
            (
                "arc-simple",
                [256, 8],
                format!(
                    "{}l_layers = 4\nmax_cycles = 0\ndropout = 0.1\n\
                arch = \"transformer\"\n",
                    encoder
                ),
            ),
        ] {
            let config = Settings::load(Some(preset), None, &[]).unwrap();
            let [c, heads] = widths;
            let old = format!("hidden_size = {c}\nnum_heads = {heads}\nexpansion = 4.0\n{others}");
            let old: Table = old.parse().unwrap();
            assert_eq!(old.len(), 18, "{preset}: the keys that there were");
            let now = Plan { config, ..plan(&[]) };
            let mut table = now.table().unwrap();
            assert!(table["model"].as_table().unwrap().len() < 18, "{preset}");
            table.insert("model".into(), Value::Table(old));
            let stored = table.to_string();
            assert_eq!(Plan::parse(&stored).unwrap(), now, "{preset}");
            assert_eq!(now.differences(&stored).unwrap(), [], "{preset}");
        }
    }

    /// Keys that came later are filled in.
    #[test]
    fn plans_without_a_later_key_are_the_same_run() {
        // What these keys are where they are missing.
        let as_before = [
            "train.best=loss",
            "train.schedule=cosine",
            "train.decay_share=0.2",
            "train.muon_lr=0.02",
        ];
        let now = plan(&as_before);
        let mut table = now.table().unwrap();
        let train = table["train"].as_table_mut().unwrap();
        for key in ["schedule", "best", "decay_share", "muon_lr", "muon_momentum", "muon_beta2"] {
            assert!(train.remove(key).is_some(), "{key}");
        }
        let stored = table.to_string();
        assert_eq!(Plan::parse(&stored).unwrap(), now);
        assert_eq!(now.differences(&stored).unwrap(), []);
        let mut other = as_before;
        other[1] = "train.schedule=wsd";
        let other = plan(&other).differences(&stored).unwrap();
        let lines: Vec<String> = other.iter().map(Diff::to_string).collect();
        assert_eq!(lines, ["train.schedule: \"cosine\" -> \"wsd\""]);
    }

    #[test]
    fn summary_names_every_key_within_the_width() {
        let text = plan(&[]).summary().unwrap();
        assert!(text.lines().all(|l| l.len() <= 100), "{text}");
        for (key, _) in flatten(&plan(&[]).table().unwrap()) {
            let name = key.rsplit('.').next().unwrap();
            assert!(text.contains(&format!("  {name}=")), "{key} is missing:\n{text}");
        }
    }
}
