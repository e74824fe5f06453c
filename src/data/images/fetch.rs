//! Gets published image sets to `data/raw/<name>`: Fashion-MNIST as the Debian package
//! `dataset-fashion-mnist` through apt, or from a copy of its files; CIFAR-10, which no package
//! client has, from its archive. Everything is read and checked before it is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cifar::{self, Form, TRAIN_BATCHES};
use super::{IMAGE_ELEMS, ImageSet, SetKind, idx, open};
use crate::data::fetch::{MARKER, run};
use crate::data::output::{put_in_place, stage};
use crate::io::file;
use crate::io::progress::Progress;
use crate::{Error, Result};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageSource {
    Cifar10,
    FashionMnist,
}

const PACKAGE: &str = "dataset-fashion-mnist";
/// Where the package puts the files.
const IN_PACKAGE: &str = "usr/share/datasets/fashion-mnist";

impl ImageSource {
    pub const ALL: [ImageSource; 2] = [ImageSource::Cifar10, ImageSource::FashionMnist];

    pub fn name(self) -> &'static str {
        match self {
            ImageSource::Cifar10 => "cifar10",
            ImageSource::FashionMnist => "fashion-mnist",
        }
    }

    /// Training images of the published set.
    pub fn train_images(self) -> usize {
        match self {
            ImageSource::Cifar10 => 50_000,
            ImageSource::FashionMnist => 60_000,
        }
    }
}

/// The set under `<data_dir>/raw`, fetched if it is not there and a package client has it.
pub fn ensure(data_dir: &Path, source: ImageSource, progress: Progress) -> Result<ImageSet> {
    let raw_dir = data_dir.join("raw");
    let dir = raw_dir.join(source.name());
    let marker = dir.join(MARKER);
    if !file::exists(&marker)? {
        fetch(source, None, &raw_dir, progress)?;
    }
    let set = open(&dir, progress)?;
    let text = fs::read(&marker).map_err(Error::io(&marker, "read"))?;
    let about: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|e| Error::corrupt(&marker, format!("{e}: fetch the set again")))?;
    if about["digest"] != set.digest().as_str() {
        let what = "its files are not those that were fetched (another digest): fetch it again";
        return Err(Error::corrupt(&dir, what));
    }
    Ok(set)
}

/// Returns the folder, `<raw_dir>/cifar10` or `fashion-mnist`.
pub fn fetch(
    source: ImageSource,
    from: Option<&Path>,
    raw_dir: &Path,
    progress: Progress,
) -> Result<PathBuf> {
    let scratch =
        tempfile::tempdir().map_err(Error::io(std::env::temp_dir(), "create temporary folder"))?;
    let target = raw_dir.join(source.name());
    let staging = stage(&target, MARKER, "folder of fetched images")?;
    let dir = staging.path();
    match source {
        ImageSource::Cifar10 => keep_batches(&open(published(from)?, progress)?, from, dir)?,
        ImageSource::FashionMnist => keep_idx(from, scratch.path(), dir, progress)?,
    }
    let set = open(dir, progress)?;
    let origin = from.map_or(PACKAGE.into(), |path| path.display().to_string());
    let about = serde_json::json!({
        "source": source.name(), "from": origin,
        "train": set.train.n, "test": set.test.n, "digest": set.digest(),
    });
    let path = dir.join(MARKER);
    fs::write(&path, format!("{about:#}\n")).map_err(Error::io(&path, "write (disk full?)"))?;
    put_in_place(staging)?;
    let (train, test) = (set.train.n, set.test.n);
    progress.note(&format!("{}: {train} training and {test} test images", target.display()));
    Ok(target)
}

/// The path that the user must give for CIFAR-10.
fn published(from: Option<&Path>) -> Result<&Path> {
    let [(binary, _), (python, _)] = Form::ALL.map(Form::published);
    from.ok_or_else(|| {
        Error::invalid(format!(
            "CIFAR-10 comes in no package: download {binary} (or {python}) from the CIFAR page of \
             the University of Toronto, then run `hrm data fetch cifar10 --from {binary}`, or give \
             that file as --dataset"
        ))
    })
}

/// Unpacked: six binary batches, whatever form they came in.
fn keep_batches(set: &ImageSet, from: Option<&Path>, dir: &Path) -> Result<()> {
    if set.kind != SetKind::Cifar10 {
        let what = "is another image set, not CIFAR-10: give it to `hrm distill --dataset` itself";
        return Err(Error::corrupt(from.unwrap_or(dir), what));
    }
    let names = Form::Binary.names();
    let share = set.train.n.div_ceil(TRAIN_BATCHES);
    let cuts = |i: usize| (i * share).min(set.train.n)..((i + 1) * share).min(set.train.n);
    for (i, name) in names.iter().enumerate() {
        let (images, cut) = match i < TRAIN_BATCHES {
            true => (&set.train, cuts(i)),
            false => (&set.test, 0..set.test.n),
        };
        let pixels = &images.pixels[cut.start * IMAGE_ELEMS..cut.end * IMAGE_ELEMS];
        let path = dir.join(name);
        fs::write(&path, cifar::write_binary(pixels, &images.labels[cut]))
            .map_err(Error::io(&path, "write (disk full?)"))?;
    }
    Ok(())
}

/// The four files as they are.
fn keep_idx(from: Option<&Path>, scratch: &Path, dir: &Path, progress: Progress) -> Result<()> {
    let unpacked = scratch.join("package");
    let folder = match from {
        Some(path) if path.is_dir() => path,
        Some(path) => unpack(path, &unpacked)?,
        None => {
            progress.note(&format!("fetching Fashion-MNIST (package {PACKAGE}, through apt-get)"));
            unpack(&download(scratch)?, &unpacked)?
        }
    };
    let places = [folder.to_owned(), folder.join("raw"), folder.join(IN_PACKAGE)];
    let place = places.iter().find(|place| idx::is_here(place)).unwrap_or(&places[0]);
    for file in idx::files(place)? {
        let to = dir.join(file.file_name().unwrap_or_default());
        fs::copy(&file, &to).map_err(Error::io(&file, "copy (disk full?)"))?;
    }
    Ok(())
}

fn unpack<'a>(package: &Path, to: &'a Path) -> Result<&'a Path> {
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("-x").arg(package).arg(to);
    let advice = format!(
        "--from takes the package {PACKAGE} (a .deb file; dpkg-deb unpacks it) or a folder with \
         its four files"
    );
    run(dpkg, "dpkg-deb -x", &advice)?;
    Ok(to)
}

/// With the system's package lists; where they are missing or old, with fresh ones of our own.
fn download(into: &Path) -> Result<PathBuf> {
    let (lists, cache) = (into.join("lists"), into.join("cache"));
    let apt = |own_lists: bool, args: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(into).args(["-q", "-o", "APT::Sandbox::User="]);
        if own_lists {
            apt.arg("-o").arg(format!("Dir::State::lists={}", lists.display()));
            apt.arg("-o").arg(format!("Dir::Cache={}", cache.display()));
        }
        apt.args(args);
        apt
    };
    let advice = format!(
        "it needs Debian or a relative of it and its package servers; or give --from the package \
         {PACKAGE} (.deb) or a folder with the four files of Fashion-MNIST"
    );
    let get = ["download", PACKAGE];
    let what = format!("apt-get download {PACKAGE}");
    if run(apt(false, &get), &what, &advice).is_err() {
        for dir in [lists.join("partial"), cache.join("archives/partial")] {
            file::create_dir(&dir)?;
        }
        run(apt(true, &["update"]), "apt-get update", &advice)?;
        run(apt(true, &get), &what, &advice)?;
    }
    let files = fs::read_dir(into).map_err(Error::io(into, "read"))?;
    let package =
        files.filter_map(|e| Some(e.ok()?.path())).find(|p| p.extension() == Some("deb".as_ref()));
    package.ok_or_else(|| Error::invalid(format!("{what} left no file: {advice}")))
}
