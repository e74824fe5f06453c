//! Which kind of image set a path is: an archive, or a folder known by the files in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::cifar::{self, Form};
use super::{ImageSet, archive, folder, idx};
use crate::io::progress::Progress;
use crate::{Error, Result};

/// Reads a set: an archive of CIFAR-10 as published; a folder with its batches, or with the
/// archive, or with the four IDX files of MNIST or Fashion-MNIST; a folder of PNG and JPEG files.
pub fn open(path: &Path, progress: Progress) -> Result<ImageSet> {
    let about = fs::metadata(path).map_err(Error::io(
        path,
        "look for images (expected an archive of CIFAR-10, or a folder of batches, IDX files, or \
         PNG and JPEG files)",
    ))?;
    if about.is_file() {
        return read_archive(path, progress);
    }
    for form in Form::ALL {
        for dir in [path.to_owned(), path.join(form.folder())] {
            if form.names().iter().any(|name| dir.join(name).is_file()) {
                return read_batches(&dir, form);
            }
        }
    }
    for dir in [path.to_owned(), path.join("raw")] {
        if idx::is_here(&dir) {
            return idx::read(&dir);
        }
    }
    for form in Form::ALL {
        let archive = path.join(form.published().0);
        if archive.is_file() {
            return read_archive(&archive, progress);
        }
    }
    folder::read(path, progress)
}

/// A whole archive whose checksum is not the published one is read, with a note: gzip's own
/// checksum has told that it is undamaged, so somebody made it that way.
fn read_archive(path: &Path, progress: Progress) -> Result<ImageSet> {
    let archive = archive::read(path, cifar::is_batch)?;
    let set = cifar::read(path, &archive.members)?;
    let name = path.file_name().unwrap_or_default();
    let expected = Form::ALL.map(Form::published).into_iter().find(|(n, _)| name == *n);
    match expected {
        Some((_, md5)) if md5 != archive.md5 => progress.note(&format!(
            "{}: whole, but not the published archive (MD5 {}, published {md5}): read as it is",
            path.display(),
            archive.md5
        )),
        _ => {}
    }
    Ok(set)
}

fn read_batches(dir: &Path, form: Form) -> Result<ImageSet> {
    let mut batches = BTreeMap::new();
    for name in form.names() {
        let path = dir.join(&name);
        if path.is_file() {
            let bytes = fs::read(&path).map_err(Error::io(&path, "read batch"))?;
            batches.insert(name, bytes);
        }
    }
    cifar::read(dir, &batches)
}
