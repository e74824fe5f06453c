//! The list of architectures, the one place that names the folders; and what is the same for each.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de};
use toml::{Table, Value};

use super::architecture::{Architecture, Compute, Configuration, Sizes};
use super::{Dims, Model, check, grid_lm, hrm, hrm_seed, transformer, trm};
use crate::backend::Device;
use crate::lengths::Lengths;
use crate::{Error, Result};

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
    GridLm in grid_lm,
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
    /// How long the rows of training are, where they are packed.
    pub lengths: Option<Arc<Lengths>>,
}

impl ModelShape {
    pub fn new(config: impl Into<ModelConfig>, sizes: Sizes) -> Self {
        Self { config: config.into(), sizes, lengths: None }
    }

    /// For packed rows of such lengths, or for padded ones.
    pub fn with_lengths(self, lengths: Option<Arc<Lengths>>) -> Self {
        Self { lengths, ..self }
    }

    /// Cells of each slot of a packed batch.
    pub fn slots(&self) -> Option<Vec<usize>> {
        self.lengths.as_ref().map(|lengths| lengths.slots(self.sizes.batch_size))
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
