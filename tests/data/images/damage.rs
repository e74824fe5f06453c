//! Damaged and hostile files are refused with their name; nothing panics on any of them.

use std::path::Path;

use hrm::data::images::open;
use hrm::io::progress::Progress::Quiet;
use hrm::rng::{Rng, Stream};

use super::make::{self, Form, Members};

fn refused(path: &Path, bytes: &[u8]) -> String {
    make::write(path, bytes);
    let error = open(path, Quiet).expect_err("refused").to_string();
    assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "no path: {error}");
    error
}

fn members(form: Form) -> Members {
    make::batches(form, &make::images(1, 10), &make::images(2, 3))
}

#[test]
fn archives_are_refused_by_name_and_entry() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cifar.tar.gz");
    let good = make::gzip(&make::tar(&members(Form::Binary)));
    let error = refused(&path, &good[..good.len() / 2]);
    assert!(error.contains("truncated") && error.contains("163 MB"), "{error}");
    // Within gzip's trailer: only its checksum tells.
    let mut flipped = good.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    assert!(refused(&path, &flipped).contains("damaged"));
    let change = |form: Form, change: &dyn Fn(&mut Members)| {
        let mut members = members(form);
        change(&mut members);
        refused(&path, &make::tar(&members))
    };
    let error = change(Form::Binary, &|m| drop(m.remove(3)));
    assert!(error.contains("lacks data_batch_3.bin"), "{error}");
    let error = change(Form::Binary, &|m| m[2].1.truncate(3072));
    assert!(
        error.contains("data_batch_2.bin") && error.contains("3072 bytes of another"),
        "{error}"
    );
    let error = change(Form::Binary, &|m| m[6].1[3073] = 10);
    assert!(error.contains("test_batch.bin: image 1 has label 10"), "{error}");
    let error = change(Form::Binary, &|m| m.push(m[1].clone()));
    assert!(error.contains("there twice"), "{error}");
    let error = change(Form::Binary, &|m| m[1].0 = "../../etc/data_batch_1.bin".into());
    assert!(error.contains("leads out of the archive"), "{error}");
    let error = change(Form::Binary, &|m| m[0].0 = "/etc/passwd".into());
    assert!(error.contains("leads out of the archive"), "{error}");
    let error = change(Form::Binary, &|m| m.truncate(1));
    assert!(error.contains("holds no data_batch_1.bin"), "{error}");
    assert!(refused(&path, b"not an archive").contains("tar"));
    assert!(refused(&path, &[]).contains("holds no data_batch_1.bin"));
}

#[test]
fn links_and_bombs_in_archives_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cifar.tar.gz");
    let mut tar = tar::Builder::new(vec![]);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "data_batch_1.bin", "/etc/passwd").unwrap();
    let error = refused(&path, &tar.into_inner().unwrap());
    assert!(error.contains("no regular file"), "{error}");
    // A size that no file behind it has.
    let mut tar = make::tar(&[("data_batch_1.bin".into(), vec![0; 600])]);
    let mut header = tar::Header::new_gnu();
    header.set_path("data_batch_1.bin").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    tar[..512].copy_from_slice(header.as_bytes());
    assert!(refused(&path, &tar).contains("claims 1099511627776 bytes"));
    header.set_size(3073 * 9);
    header.set_cksum();
    tar[..512].copy_from_slice(header.as_bytes());
    let error = refused(&path, &tar);
    assert!(error.contains("truncated") || error.contains("damaged"), "{error}");
}

#[test]
fn pickles_with_anything_else_in_them_are_refused_and_do_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cifar");
    let refusal = |batch: Vec<u8>| {
        let mut members = members(Form::Python);
        members[1].1 = batch;
        refused(&path, &make::tar(&members))
    };
    let witness = dir.path().join("witness");
    let code = format!("cos\nsystem\n(U\x20touch {:026}tR.", 0)
        .replace("touch 00000000000000000000000000", &format!("touch {}", witness.display()));
    let error = refusal([b"\x80\x02", code.as_bytes()].concat());
    assert!(error.contains("data_batch_1") && error.contains("os.system"), "{error}");
    assert!(error.contains("refused") && !witness.exists(), "{error}");
    for (pickle, expected) in [
        (&b"\x80\x02}."[..], "`data`"),
        (b"\x80\x02N.", "`data`"),
        (b"\x80\x01}.", "protocol 2 to 5"),
        (b"(dp0\n.", "protocol 2 to 5"),
        (b"", "ends too early"),
        (b"\x80\x02.", "not there"),
        (b"\x80\x02(0.", "opcode"),
        (b"\x80\x02h\x07.", "recalls"),
        (b"\x80\x02U\xffabc", "ends too early"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "ends too early"),
        (b"\x80\x02}K\x01e.", "not begun"),
        (b"\x80\x02K\x01(K\x02e.", "appends"),
        (b"\x80\x02cnumpy\nndarray\n)R.", "Ndarray"),
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
        (b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0utf-8\x86R.", "Encode"),
    ] {
        let error = refusal(pickle.to_vec());
        assert!(error.contains(expected), "{pickle:?}: {error}");
    }
    // Nested deeper than any stack, and one text made bytes a thousand times.
    let deep = [&b"\x80\x02)"[..], &vec![0x85; 1_000_000], b"."].concat();
    assert!(refusal(deep).contains("`data`"));
    let text = [&b"X\0\x10\0\0"[..], &[b'a'; 4096], b"q\x01"].concat();
    let again = b"c_codecs\nencode\nh\x01X\x06\0\0\0latin1\x86R".repeat(1000);
    assert!(refusal([b"\x80\x02", &text[..], &again, b"."].concat()).contains("again and again"));
    assert!(refusal([&b"\x80\x02"[..], &vec![b'N'; 3_000_000]].concat()).contains("opcodes"));
    let good = make::python_batch(&make::images(1, 2));
    let changed = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|w| w == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    assert!(refusal(changed(b"U\x02u1", b"U\x02f4")).contains("expected u1"));
    assert!(refusal(changed(b"M\x02\0M\0\x0c", b"M\x03\0M\0\x0c")).contains("bytes, not 3 x 3072"));
    assert!(refusal(changed(b"M\0\x0c\x86", b"M\0\x04\x86")).contains("[2, 1024]"));
    assert!(refusal(changed(b"U\x06labels", b"U\x06colors")).contains("`labels`"));
}

#[test]
fn idx_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let [images, labels] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
    let at = |name: &str| dir.path().join(name);
    make::write(&at("t10k-images-idx3-ubyte"), &make::idx_images(1, 28, 28, &[1; 784]));
    make::write(&at("t10k-labels-idx1-ubyte"), &make::idx_labels(&[1]));
    let refusal = |i: Vec<u8>, l: Vec<u8>| {
        make::write(&at(images), &i);
        make::write(&at(labels), &l);
        open(dir.path(), Quiet).expect_err("refused").to_string()
    };
    let (good_i, good_l) = (make::idx_images(2, 28, 28, &[7; 1568]), make::idx_labels(&[3, 4]));
    let error = refusal(good_i[..good_i.len() - 1].to_vec(), good_l.clone());
    assert!(error.contains(images) && error.contains("1567 bytes after the header"), "{error}");
    let error = refusal(good_l.clone(), good_l.clone());
    assert!(error.contains("starts with 0x00000801"), "{error}");
    let error = refusal(good_i.clone(), make::idx_labels(&[3]));
    assert!(error.contains(labels) && error.contains("1 labels, but 2 images"), "{error}");
    assert!(refusal(make::idx_images(2, 33, 28, &[7; 1848]), good_l.clone()).contains("33 x 28"));
    assert!(
        refusal(make::idx_images(usize::MAX, 28, 28, &[]), good_l.clone()).contains("announces")
    );
    assert!(refusal(good_i[..9].to_vec(), good_l.clone()).contains("within its header"));
    assert!(refusal(vec![0, 0], good_l.clone()).contains("within its header"));
    let gz = make::gzip(&good_i);
    assert!(refusal(gz[..gz.len() - 9].to_vec(), good_l).contains("truncated"));
}

#[test]
fn random_damage_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let small = |form| make::batches(form, &make::images(1, 5), &make::images(2, 1));
    let mut rng = Rng::new(5, Stream::Test, 0);
    let noise: Vec<u8> = (0..40 * 30 * 4).map(|_| rng.below(256) as u8).collect();
    let blocks: Vec<[u8; 3]> = noise.chunks_exact(3).take(30).map(|c| [c[0], c[1], c[2]]).collect();
    let python = make::python_batch(&make::images(1, 2));
    let files = [
        ("a.tar", make::tar(&small(Form::Binary)), 60),
        ("b.tar", make::tar(&small(Form::Python)), 60),
        ("c.tar.gz", make::gzip(&make::tar(&small(Form::Python))), 60),
        ("pickle", python[..600].to_vec(), 1500),
        ("e.png", make::png(40, 30, png::ColorType::Rgba, &noise), 400),
        ("f.jpg", make::jpeg(5, &blocks), 1500),
        ("train-images-idx3-ubyte", make::idx_images(1, 2, 2, &[1; 4]), 300),
    ];
    let (mut read, mut refused) = (0, 0);
    for (name, good, rounds) in &files {
        for round in 0..*rounds {
            let mut bytes = good.clone();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len() as u32) as usize;
                bytes[at] = rng.below(256) as u8;
            }
            if round % 3 == 0 {
                bytes.truncate(rng.below(bytes.len() as u32) as usize);
            }
            let folder = dir.path().join(name.replace('.', "-"));
            let path = match *name {
                // As a batch among whole ones.
                "pickle" => {
                    bytes.extend(&python[bytes.len().min(600)..]);
                    let mut members = small(Form::Python);
                    members[1].1 = bytes;
                    bytes = make::tar(&members);
                    folder.join("batches.tar")
                }
                name => folder.join(name),
            };
            make::write(&path, &bytes);
            let is_set = name.contains("tar") || *name == "pickle";
            match open(if is_set { &path } else { &folder }, Quiet) {
                Ok(_) => read += 1,
                Err(e) => {
                    assert!(!e.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(read > 0 && refused > 1000, "{read} read, {refused} refused");
}
