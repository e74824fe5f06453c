//! A kind of model as the rest of the house sees it. A folder of `src/models` says all that there
//! is to say of its kind: [`Architecture`] by the unit struct `Kind`, [`Configuration`] by its
//! `Config`. The list below is the one place that names the kinds.

use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, de};
use toml::{Table, Value};

use super::foreign::{Names, Shapes, Shown};
use super::{Dims, Model, check, hrm, hrm_seed, transformer, trm};
use crate::backend::Device;
use crate::dtype::DType;
use crate::formats::Program;
use crate::formats::onnx::Graph;
use crate::nn::level::Recompute;
use crate::{Error, Result};

/// What a model takes from the data set and the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub batch_size: usize, // B
    pub seq_len: usize,    // S
    pub vocab_size: usize, // V
    /// NP, the blank one included.
    pub num_puzzle_ids: usize,
}

/// How a model computes; none of it changes what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    /// What forward and backward compute in: f32 or bf16.
    pub dtype: DType,
    pub recompute: Recompute,
    /// Seed of the initial values.
    pub seed: u64,
}

/// Weights in f32, nothing computed again: what a file holds.
impl Default for Compute {
    fn default() -> Self {
        Self { dtype: DType::F32, recompute: Recompute::None, seed: 0 }
    }
}

/// A key of `[model]` that an architecture does not have.
pub struct Absent {
    pub key: &'static str,
    /// The value that says as much, as TOML; such a setting is let through.
    pub neutral: &'static str,
    pub why: &'static str,
}

impl Absent {
    pub const fn new(key: &'static str, neutral: &'static str, why: &'static str) -> Self {
        Self { key, neutral, why }
    }

    fn is_neutral(&self, value: &Value) -> bool {
        match value {
            Value::String(word) => word == self.neutral,
            Value::Float(x) => self.neutral.parse() == Ok(*x),
            value => value.to_string() == self.neutral,
        }
    }
}

/// What is known of a kind of model without any configuration of it.
pub trait Architecture {
    /// `model.arch`, and `arch` in an ONNX file's metadata.
    fn word(&self) -> &'static str;

    /// Keys that other kinds have and this one does not.
    fn absent(&self) -> &'static [Absent];

    /// What official checkpoints put before each name.
    fn name_prefix(&self) -> &'static str {
        ""
    }

    /// Official name, without the prefix, of the embedding with a row for each token.
    fn token_table(&self) -> &'static str;

    /// Whether official files hold a table of positions that is a formula here.
    fn has_position_table(&self) -> bool {
        false
    }

    /// The official program that has this kind of model, and `arch.name` of its settings there: the
    /// first is what is written.
    fn official(&self) -> Option<(Program, &'static [&'static str])> {
        None
    }

    /// The values of `train.recompute`.
    fn recomputations(&self) -> &'static [Recompute] {
        &[Recompute::None, Recompute::Layer]
    }

    /// The names by which a foreign file is told to hold such a model.
    fn marks(&self) -> String;

    /// What stands before the names of a foreign file, if it holds such a model.
    fn recognise(&self, names: &Names) -> Option<String>;

    /// What an ONNX file says about its use.
    fn onnx_doc(&self) -> &'static str;

    /// What the shapes of a foreign file's tensors tell. Errors follow the file's name.
    fn infer(&self, shapes: &Shapes) -> std::result::Result<Shown, String>;
}

/// A model's configuration: its shape and behaviour, whatever the data and the batch.
pub trait Configuration {
    /// Refuse values that cannot be meant.
    fn validate(&self) -> Result<()>;

    fn dims(&self, sizes: Sizes) -> Dims;

    /// Memory and initial values.
    fn build(&self, device: &Device, sizes: Sizes, compute: Compute) -> Result<Box<dyn Model>>;

    /// What the model computes, as a graph.
    fn onnx(&self, graph: &mut Graph, dims: &Dims) -> std::result::Result<(), String>;
}

macro_rules! architectures {
    ($($kind:ident in $folder:ident),+ $(,)?) => {
        /// The word for a kind of model, and all that is known of it: see [`Architecture`].
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Arch { $($kind),+ }

        pub const ARCHITECTURES: &[Arch] = &[$(Arch::$kind),+];

        /// `[model]` of a configuration: `arch` picks what other keys there are.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "arch", rename_all = "snake_case")]
        pub enum ModelConfig { $($kind($folder::Config)),+ }

        impl ModelConfig {
            pub fn arch(&self) -> Arch {
                match self { $(Self::$kind(_) => Arch::$kind),+ }
            }

            fn parse(arch: Arch, table: Table) -> std::result::Result<Self, toml::de::Error> {
                match arch {
                    $(Arch::$kind => section::<$folder::Config>(table).map(Self::$kind)),+
                }
            }
        }

        impl Deref for Arch {
            type Target = dyn Architecture;

            fn deref(&self) -> &Self::Target {
                match self { $(Self::$kind => &$folder::Kind),+ }
            }
        }

        impl Deref for ModelConfig {
            type Target = dyn Configuration;

            fn deref(&self) -> &Self::Target {
                match self { $(Self::$kind(config) => config),+ }
            }
        }

        $(impl From<$folder::Config> for ModelConfig {
            fn from(config: $folder::Config) -> Self {
                Self::$kind(config)
            }
        })+
    };
}

architectures! {
    Hrm in hrm,
    Trm in trm,
    HrmSeed in hrm_seed,
    Transformer in transformer,
}

/// `table` as section `model` of a file, so that errors name keys as the user knows them.
fn section<C: de::DeserializeOwned>(table: Table) -> std::result::Result<C, toml::de::Error> {
    #[derive(Deserialize)]
    struct File<C> {
        model: C,
    }
    let file = Table::from_iter([("model".to_owned(), Value::Table(table))]);
    file.try_into().map(|File { model }| model)
}

impl Arch {
    /// The kind that section `model` names.
    pub fn of(model: &Table) -> Result<Self> {
        #[derive(Deserialize)]
        struct Named {
            arch: Arch,
        }
        let named = section::<Named>(model.clone());
        named.map(|Named { arch }| arch).map_err(|e| Error::invalid(e.to_string()))
    }

    /// Take the keys that this kind does not have out of section `model`. A value that means
    /// something is refused with the reason, where `is_meant` says that somebody meant it for this
    /// kind.
    pub fn settle(self, model: &mut Table, is_meant: impl Fn(&str) -> bool) -> Result<()> {
        for absent in self.absent() {
            let Some(value) = model.remove(absent.key) else { continue };
            if is_meant(absent.key) && !absent.is_neutral(&value) {
                return Err(Error::invalid(format!(
                    "model.{}={}: {}",
                    absent.key,
                    value.as_str().map_or_else(|| value.to_string(), str::to_owned),
                    absent.why
                )));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let mut table = Table::deserialize(from)?;
        let arch = Arch::of(&table).map_err(de::Error::custom)?;
        table.remove("arch");
        Self::parse(arch, table).map_err(de::Error::custom)
    }
}

/// A configuration for given sizes: the shape of every tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelShape {
    pub config: ModelConfig,
    pub sizes: Sizes,
}

impl ModelShape {
    pub fn new(config: impl Into<ModelConfig>, sizes: Sizes) -> Self {
        Self { config: config.into(), sizes }
    }

    pub fn dims(&self) -> Dims {
        self.config.dims(self.sizes)
    }

    /// Memory and initial values.
    ///
    /// # Errors
    /// Sizes and settings that no model can have, by key; memory that is not there.
    pub fn build(&self, device: &Device, compute: Compute) -> Result<Box<dyn Model>> {
        let Sizes { batch_size, seq_len, vocab_size, num_puzzle_ids } = self.sizes;
        check::positive(&[
            ("batch_size", batch_size),
            ("seq_len", seq_len),
            ("vocab_size", vocab_size),
            ("num_puzzle_ids", num_puzzle_ids),
        ])?;
        self.config.build(device, self.sizes, compute)
    }
}
