//! Files in the published formats, written from their descriptions: CIFAR-10 batches as Python 2
//! pickled them, IDX, PNG, and a JPEG whose blocks have one colour each.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use hrm::data::images::{IMAGE_ELEMS, Images};
use hrm::rng::{Rng, Stream};

pub fn images(seed: u64, n: usize) -> Images {
    let mut rng = Rng::new(seed, Stream::Test, 0);
    let pixels = (0..n * IMAGE_ELEMS).map(|_| rng.below(256) as u8).collect();
    Images::new(pixels, (0..n).map(|_| rng.below(10) as u8).collect())
}

pub fn binary_batch(images: &Images) -> Vec<u8> {
    (0..images.n).flat_map(|i| [&[images.labels[i]], images.image(i)].concat()).collect()
}

/// What `pickletools.dis` shows of a published batch, opcode by opcode.
pub fn python_batch(images: &Images) -> Vec<u8> {
    let text = |s: &str| [b"U", &[s.len() as u8][..], s.as_bytes()].concat();
    let mut memo = 0;
    let mut put = || {
        memo += 1;
        match u8::try_from(memo) {
            Ok(memo) => vec![b'q', memo],
            Err(_) => [&b"r"[..], &(memo as u32).to_le_bytes()].concat(),
        }
    };
    let mut out = b"\x80\x02}".to_vec();
    out.extend(put());
    out.extend(b"(");
    out.extend([text("batch_label"), put(), text("training batch 1 of 5"), put()].concat());
    out.extend([text("labels"), put(), b"]".to_vec(), put(), b"(".to_vec()].concat());
    out.extend(images.labels.iter().flat_map(|label| [b'K', *label]));
    out.extend(b"e");
    out.extend([text("data"), put()].concat());
    out.extend(b"cnumpy.core.multiarray\n_reconstruct\n");
    out.extend([put(), b"cnumpy\nndarray\n".to_vec(), put(), b"K\0\x85".to_vec(), put()].concat());
    out.extend([text("b"), b"\x87".to_vec(), put(), b"R".to_vec(), put(), b"(".to_vec()].concat());
    out.extend(b"K\x01M");
    out.extend((images.n as u16).to_le_bytes());
    out.extend([&b"M\0\x0c\x86"[..], &put(), b"cnumpy\ndtype\n", &put()].concat());
    out.extend([text("u1"), put(), b"K\0K\x01\x87".to_vec(), put(), b"R".to_vec(), put()].concat());
    out.extend(
        [&b"(K\x03"[..], &text("|"), &put(), b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"].concat(),
    );
    out.extend([&b"K\0t"[..], &put(), b"b\x89T"].concat());
    out.extend((images.pixels.len() as u32).to_le_bytes());
    out.extend(&images.pixels);
    out.extend([put(), b"t".to_vec(), put(), b"b".to_vec()].concat());
    out.extend([text("filenames"), put(), b"]".to_vec(), put(), b"(".to_vec()].concat());
    for i in 0..images.n {
        out.extend([text(&format!("leptodactylus_s_{i:06}.png")), put()].concat());
    }
    out.extend(b"eu.");
    out
}

/// Path and content, in the order of the archive.
pub type Members = Vec<(String, Vec<u8>)>;

pub fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(vec![]);
    for (path, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Not through `set_path`, which refuses what the tests want refused by the reader.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, &content[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Form {
    Binary,
    Python,
}

/// Batches as they lie in a published archive: five of `train`, one of `test`.
pub fn batches(form: Form, train: &Images, test: &Images) -> Members {
    let share = train.n / 5;
    let part = |i: usize| {
        let range = i * share..(i + 1) * share;
        let pixels = &train.pixels[range.start * IMAGE_ELEMS..range.end * IMAGE_ELEMS];
        Images::new(pixels.to_vec(), train.labels[range].to_vec())
    };
    let (folder, suffix) = match form {
        Form::Binary => ("cifar-10-batches-bin", ".bin"),
        Form::Python => ("cifar-10-batches-py", ""),
    };
    let write = |images: &Images| match form {
        Form::Binary => binary_batch(images),
        Form::Python => python_batch(images),
    };
    let mut members = vec![(format!("{folder}/readme.html"), b"<a>".to_vec())];
    for i in 0..5 {
        members.push((format!("{folder}/data_batch_{}{suffix}", i + 1), write(&part(i))));
    }
    members.push((format!("{folder}/test_batch{suffix}"), write(test)));
    members
}

pub fn idx_images(n: usize, h: usize, w: usize, grey: &[u8]) -> Vec<u8> {
    let words = [0x0803, n as u32, h as u32, w as u32];
    [&words.map(u32::to_be_bytes).concat()[..], grey].concat()
}

pub fn idx_labels(labels: &[u8]) -> Vec<u8> {
    [&[0x0801, labels.len() as u32].map(u32::to_be_bytes).concat()[..], labels].concat()
}

pub fn png(w: usize, h: usize, colour: png::ColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, w as u32, h as u32);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(pixels).unwrap();
    writer.finish().unwrap();
    bytes
}

/// A baseline JPEG of three components, 8 x 8 blocks of one colour (Y, Cb, Cr) each, `columns` to a
/// row.
pub fn jpeg(columns: usize, blocks: &[[u8; 3]]) -> Vec<u8> {
    let side = |blocks: usize| (8 * blocks as u16).to_be_bytes();
    let (h, w) = (side(blocks.len() / columns), side(columns));
    let segment = |marker: u8, body: &[u8]| {
        [&[0xff, marker][..], &(body.len() as u16 + 2).to_be_bytes(), body].concat()
    };
    let frame = [&[8][..], &h, &w, &[3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]].concat();
    // Twelve codes of four bits for the size of a step, one of one bit for "no more".
    let sizes: Vec<u8> = (0..12).collect();
    let steps = [&[0, 0, 0, 0, 12][..], &[0; 12], &sizes].concat();
    let rest = [&[0x10, 1][..], &[0; 15], &[0]].concat();
    let (mut bits, mut last) = (vec![], [0; 3]);
    for block in blocks {
        for c in 0..3 {
            let level = 8 * (i32::from(block[c]) - 128);
            let step = level - last[c];
            last[c] = level;
            let size = 32 - step.unsigned_abs().leading_zeros();
            bits.extend((0..4).rev().map(|i| size >> i & 1 == 1));
            let coded = if step < 0 { step + (1 << size) - 1 } else { step };
            bits.extend((0..size).rev().map(|i| coded >> i & 1 == 1));
            bits.push(false);
        }
    }
    let mut scan = vec![];
    for byte in bits.chunks(8) {
        let value = (0..8).fold(0, |v, i| v << 1 | u8::from(*byte.get(i).unwrap_or(&true)));
        scan.push(value);
        if value == 0xff {
            scan.push(0);
        }
    }
    [
        vec![0xff, 0xd8],
        segment(0xdb, &[&[0][..], &[1; 64]].concat()),
        segment(0xc0, &frame),
        segment(0xc4, &steps),
        segment(0xc4, &rest),
        segment(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]),
        scan,
        vec![0xff, 0xd9],
    ]
    .concat()
}

pub fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}
