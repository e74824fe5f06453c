//! A data set by name or path.

use std::path::Path;

use crate::config::DistillData;
use crate::data::images::{self, ImageSet, ImageSource};
use crate::io::file;
use crate::io::progress::Progress;
use crate::{Error, Result};

const DATA: &str = "data";

/// The published set of a name.
pub fn by_name(dataset: &str) -> Option<ImageSource> {
    ImageSource::ALL.into_iter().find(|source| source.name() == dataset)
}

/// A known name is looked for under `data/raw` and fetched where a package client has it; anything
/// else is a path.
pub fn read(data: &DistillData, progress: Progress) -> Result<ImageSet> {
    let set = match by_name(&data.dataset) {
        Some(source) => images::ensure(Path::new(DATA), source, progress)?,
        None => images::open(Path::new(&data.dataset), progress)?,
    };
    let limit = |n: usize| if n == 0 { usize::MAX } else { n };
    Ok(set.first(limit(data.train_images), limit(data.test_images)))
}

/// A name as it is, a path from the root.
pub fn absolute(dataset: &str) -> Result<String> {
    if by_name(dataset).is_some() {
        return Ok(dataset.to_owned());
    }
    let path = Path::new(dataset);
    if !file::exists(path)? {
        let names = ImageSource::ALL.map(ImageSource::name).join(", ");
        return Err(Error::invalid(format!(
            "--dataset {dataset}: no such file or folder, and the sets known by name are {names}"
        )));
    }
    let path = path.canonicalize().map_err(Error::io(path, "resolve the path"))?;
    let text = path.to_str().ok_or_else(|| Error::corrupt(&path, "its path is not UTF-8"))?;
    Ok(text.to_owned())
}
