//! The published forms, archives and folders, hold the same images.

use std::path::Path;

use hrm::data::images::{
    self, IMAGE_ELEMS, ImageSet, ImageSource, Images, SIDE, SetKind, fetch, open,
};
use hrm::io::progress::Progress::Quiet;

use super::make::{self, Form};

fn refusal(path: &Path) -> String {
    open(path, Quiet).expect_err("refused").to_string()
}

fn set(n: usize) -> (Images, Images) {
    (make::images(3, n), make::images(4, n / 2))
}

#[test]
fn cifar10_reads_alike_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = set(60);
    let expected = ImageSet { kind: SetKind::Cifar10, train, test };
    for form in [Form::Binary, Form::Python] {
        let members = make::batches(form, &expected.train, &expected.test);
        let at = |name: &str| dir.path().join(format!("{form:?}-{name}"));
        make::write(&at("plain.tar"), &make::tar(&members));
        make::write(&at("zipped"), &make::gzip(&make::tar(&members)));
        // The published name with another checksum: read, with a note.
        let published = format!("cifar-10-{}.tar.gz", format!("{form:?}").to_lowercase());
        make::write(&at("data").join(published), &make::gzip(&make::tar(&members)));
        for (path, content) in &members {
            make::write(&at("unpacked").join(path), content);
        }
        let inner = std::fs::read_dir(at("unpacked")).unwrap().next().unwrap().unwrap().path();
        for path in [at("plain.tar"), at("zipped"), at("data"), at("unpacked"), inner] {
            let found = open(&path, Quiet).unwrap();
            assert!(found == expected, "{}", path.display());
            assert_eq!(found.digest(), expected.digest());
        }
    }
    let mut other = expected.clone();
    other.test.pixels[77] ^= 1;
    assert_ne!(other.digest(), expected.digest());
}

#[test]
fn long_python_batches_use_the_wide_opcodes() {
    let dir = tempfile::tempdir().unwrap();
    let (train, test) = set(5 * 300);
    let members = make::batches(Form::Python, &train, &test);
    make::write(&dir.path().join("a"), &make::tar(&members));
    let found = open(&dir.path().join("a"), Quiet).unwrap();
    assert!(found.train == train && found.test == test);
}

#[test]
fn idx_images_get_a_border_and_three_channels() {
    let dir = tempfile::tempdir().unwrap();
    let grey: Vec<u8> = (0..3 * 28 * 28).map(|i| (i % 251) as u8).collect();
    let images = make::idx_images(3, 28, 28, &grey);
    let labels = make::idx_labels(&[7, 0, 9]);
    let names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
    for (name, content) in names.iter().zip([&images, &labels, &images, &labels]) {
        let plain = dir.path().join(format!("plain/{name}-ubyte"));
        make::write(&plain, content);
        make::write(&dir.path().join(format!("gz/raw/{name}-ubyte.gz")), &make::gzip(content));
    }
    let plain = open(&dir.path().join("plain"), Quiet).unwrap();
    assert!(open(&dir.path().join("gz"), Quiet).unwrap() == plain);
    assert_eq!(
        (plain.kind, plain.train.n, &plain.test.labels[..]),
        (SetKind::Idx, 3, &[7, 0, 9][..])
    );
    for i in 0..3 * IMAGE_ELEMS {
        let (image, y, x) = (i / IMAGE_ELEMS, i / SIDE % SIDE, i % SIDE);
        let inside = (2..30).contains(&y) && (2..30).contains(&x);
        let expected = if inside { grey[image * 784 + (y - 2) * 28 + x - 2] } else { 0 };
        assert_eq!(plain.train.pixels[i], expected, "image {image} row {y} column {x}");
    }
}

#[test]
fn fetched_sets_are_kept_with_their_digest() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("raw");
    let (train, test) = set(58);
    let archive = dir.path().join("cifar-10-python.tar.gz");
    let members = make::batches(Form::Python, &train, &test);
    make::write(&archive, &make::gzip(&make::tar(&members)));
    let none = fetch(ImageSource::Cifar10, None, &raw, Quiet).unwrap_err().to_string();
    assert!(none.contains("cifar-10-binary.tar.gz") && none.contains("--from"), "{none}");
    let kept = fetch(ImageSource::Cifar10, Some(&archive), &raw, Quiet).unwrap();
    let found = images::ensure(dir.path(), ImageSource::Cifar10, Quiet).unwrap();
    assert_eq!(found.digest(), open(&archive, Quiet).unwrap().digest());
    let about = std::fs::read_to_string(kept.join("source.json")).unwrap();
    assert!(about.contains(&found.digest()), "{about}");
    // Changed afterwards: well formed, but not what was fetched.
    let batch = kept.join("data_batch_2.bin");
    let mut bytes = std::fs::read(&batch).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&batch, bytes).unwrap();
    let error = images::ensure(dir.path(), ImageSource::Cifar10, Quiet).unwrap_err().to_string();
    assert!(error.contains("fetch it again"), "{error}");
    // Another kind of set under this name.
    let grey = make::idx_images(1, 28, 28, &[9; 784]);
    for split in ["train", "t10k"] {
        let path = dir.path().join(format!("idx/{split}"));
        let named = |rest: &str| format!("{}-{rest}-ubyte", path.display());
        make::write(named("images-idx3").as_ref(), &grey);
        make::write(named("labels-idx1").as_ref(), &make::idx_labels(&[1]));
    }
    let idx = dir.path().join("idx");
    let error = fetch(ImageSource::Cifar10, Some(&idx), &raw, Quiet).unwrap_err().to_string();
    assert!(error.contains("not CIFAR-10"), "{error}");
    fetch(ImageSource::FashionMnist, Some(&idx), &raw, Quiet).unwrap();
    let found = images::ensure(dir.path(), ImageSource::FashionMnist, Quiet).unwrap();
    assert_eq!(found, open(&idx, Quiet).unwrap());
    let error = fetch(ImageSource::FashionMnist, Some(&archive), &raw, Quiet).unwrap_err();
    assert!(error.to_string().contains("dataset-fashion-mnist"), "{error}");
}

#[test]
fn what_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refusal(&dir.path().join("none")).contains("look for images"));
    assert!(refusal(dir.path()).contains("holds no images"));
    make::write(&dir.path().join("a/train-images-idx3-ubyte"), &[0]);
    let error = refusal(&dir.path().join("a"));
    assert!(error.contains("lacks train-labels-idx1-ubyte"), "{error}");
}
