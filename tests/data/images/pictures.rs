//! Folders of PNG and JPEG files: colours, scaling by area, order and the held-out share.

use std::path::Path;

use hrm::data::images::{IMAGE_ELEMS, SIDE, SetKind, open, sheet};
use hrm::io::progress::Progress::Quiet;
use hrm::rng::{Rng, Stream};
use png::ColorType::{Grayscale, GrayscaleAlpha, Rgb, Rgba};

use super::make;

/// The only picture of a `train` folder.
fn one(bytes: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let test = make::png(1, 1, Grayscale, &[0]);
    make::write(&dir.path().join("test/x.PNG"), &test);
    make::write(&dir.path().join("train/deep/er/y.jpeg"), bytes);
    let set = open(dir.path(), Quiet).unwrap();
    assert_eq!((set.kind, set.train.n, set.test.n), (SetKind::Pictures, 1, 1));
    set.train.pixels
}

fn plane(image: &[u8], c: usize) -> &[u8] {
    &image[c * SIDE * SIDE..][..SIDE * SIDE]
}

#[test]
fn colours_of_every_kind() {
    let uniform = |image: &[u8], rgb: [u8; 3]| {
        (0..3).for_each(|c| assert!(plane(image, c).iter().all(|v| *v == rgb[c]), "{rgb:?}"));
    };
    uniform(&one(&make::png(2, 3, Rgb, &[1, 2, 3].repeat(6))), [1, 2, 3]);
    uniform(&one(&make::png(2, 3, Grayscale, &[200; 6])), [200; 3]);
    // Over white.
    uniform(&one(&make::png(1, 1, Rgba, &[10, 20, 30, 0])), [255; 3]);
    uniform(&one(&make::png(1, 1, Rgba, &[10, 20, 30, 255])), [10, 20, 30]);
    uniform(&one(&make::png(1, 1, GrayscaleAlpha, &[0, 51])), [204; 3]);
    // Red is (Y 76, Cb 85, Cr 255) in JPEG.
    let red = one(&make::jpeg(1, &[[76, 85, 255]]));
    for (c, expected) in [254, 0, 0].into_iter().enumerate() {
        assert!(plane(&red, c).iter().all(|v| v.abs_diff(expected) <= 1), "{:?}", &red[..4]);
    }
}

#[test]
fn a_jpeg_of_blocks_keeps_their_places() {
    let grey: Vec<[u8; 3]> = (0..16).map(|i| [10 * i + 20, 128, 128]).collect();
    let image = one(&make::jpeg(4, &grey));
    for (i, v) in plane(&image, 0).iter().enumerate() {
        let block = i / SIDE / 8 * 4 + i % SIDE / 8;
        assert!(v.abs_diff(10 * block as u8 + 20) <= 1, "pixel {i}: {v}");
    }
}

/// The mean of what a pixel covers, in floating point from its definition.
fn by_area(pixels: &[u8], h: usize, w: usize, y: usize, x: usize, c: usize) -> f64 {
    let (scale_y, scale_x) = (h as f64 / SIDE as f64, w as f64 / SIDE as f64);
    let overlap = |i: usize, scale: f64, s: usize| {
        let (from, to) = (i as f64 * scale, (i + 1) as f64 * scale);
        (to.min(s as f64 + 1.0) - from.max(s as f64)).max(0.0)
    };
    let mut sum = 0.0;
    for sy in 0..h {
        for sx in 0..w {
            let weight = overlap(y, scale_y, sy) * overlap(x, scale_x, sx);
            sum += weight * f64::from(pixels[3 * (sy * w + sx) + c]);
        }
    }
    sum / (scale_y * scale_x)
}

#[test]
fn scaling_is_the_mean_of_the_covered_area() {
    let mut rng = Rng::new(1, Stream::Test, 0);
    for (h, w) in [(32, 32), (64, 96), (7, 45), (33, 31), (100, 3)] {
        let pixels: Vec<u8> = (0..3 * h * w).map(|_| rng.below(256) as u8).collect();
        let image = one(&make::png(w, h, Rgb, &pixels));
        for (y, x, c) in [(0, 0, 0), (31, 31, 2), (13, 7, 1), (20, 30, 0), (5, 16, 2)] {
            let expected = by_area(&pixels, h, w, y, x, c);
            let got = image[(c * SIDE + y) * SIDE + x];
            let error = (f64::from(got) - expected).abs();
            assert!(error <= 0.5 + 1e-9, "{h} x {w} at {y},{x},{c}: {got} {expected}");
        }
    }
}

fn shade(i: usize) -> Vec<u8> {
    make::png(1, 1, Rgb, &[(i % 256) as u8, (i / 256) as u8, 9])
}

#[test]
fn a_tenth_is_held_out_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: String| dir.path().join(name);
    for i in 0..500 {
        make::write(&at(format!("{}/{i:03}.png", i % 7)), &shade(i));
    }
    make::write(&at(".hidden/z.png".into()), b"not read");
    make::write(&at("notes.txt".into()), b"not read");
    let before = open(dir.path(), Quiet).unwrap();
    assert_eq!(before.train.n + before.test.n, 500);
    assert!((25..=75).contains(&before.test.n), "{} of 500", before.test.n);
    // Sorted by path: folder 0 first.
    let first = plane(before.train.image(0), 0)[0] as usize;
    assert!(first.is_multiple_of(7) && before.train.labels.is_empty());
    // A copy lies on the side of its original; a new file moves nobody.
    let held_out = |set: &hrm::data::images::ImageSet| -> std::collections::BTreeSet<Vec<u8>> {
        (0..set.test.n).map(|i| set.test.image(i).to_vec()).collect()
    };
    for i in 0..500 {
        make::write(&at(format!("copies/{i:03}.png")), &shade(i));
    }
    let after = open(dir.path(), Quiet).unwrap();
    assert_eq!((after.train.n, after.test.n), (2 * before.train.n, 2 * before.test.n));
    assert_eq!(held_out(&after), held_out(&before));
}

#[test]
fn few_pictures_still_make_a_split_or_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |i: usize| make::write(&dir.path().join(format!("{i}.png")), &shade(i));
    write(0);
    let error = open(dir.path(), Quiet).unwrap_err().to_string();
    assert!(error.contains("too few different pictures"), "{error}");
    write(1);
    write(2);
    let set = open(dir.path(), Quiet).unwrap();
    assert!(set.test.n >= 1 && set.train.n >= 1, "{set:?}");
}

#[test]
fn a_picture_that_is_none_is_named() {
    let dir = tempfile::tempdir().unwrap();
    make::write(&dir.path().join("a.png"), &shade(1));
    for (bytes, expected) in [
        (&b"GIF89a"[..], "neither a PNG nor a JPEG"),
        (&shade(7)[..40], "damaged PNG"),
        (&make::jpeg(1, &[[1, 2, 3]])[..60], "damaged JPEG"),
    ] {
        make::write(&dir.path().join("b.png"), bytes);
        let error = open(dir.path(), Quiet).unwrap_err().to_string();
        assert!(error.contains("b.png") && error.contains(expected), "{error}");
    }
    let mut wide = make::png(1, 1, Grayscale, &[1]);
    wide[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
    let crc = crc32(&wide[12..29]).to_be_bytes();
    wide[29..33].copy_from_slice(&crc);
    make::write(&dir.path().join("b.png"), &wide);
    let error = open(dir.path(), Quiet).unwrap_err().to_string();
    assert!(error.contains("60000 x 1 pixels are more than we take"), "{error}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8)
            .fold(crc ^ u32::from(*byte), |c, _| c >> 1 ^ if c & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}

fn decoded(path: &Path) -> (usize, usize, Vec<u8>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width as usize, info.height as usize, pixels)
}

#[test]
fn sheets_show_rows_of_images() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sheet.png");
    let (a, b) = (make::images(1, 3), make::images(2, 3));
    sheet::write(&path, &[&a.pixels, &b.pixels]).unwrap();
    let (w, h, pixels) = decoded(&path);
    assert_eq!((w, h), (3 * 68 + 4, 2 * 68 + 4));
    for (i, y, x, c) in [(0, 0, 0, 0), (2, 31, 31, 2), (1, 9, 14, 1)] {
        for (row, images) in [&a, &b].into_iter().enumerate() {
            let at = ((row * 68 + 4 + 2 * y) * w + i * 68 + 4 + 2 * x) * 3 + c;
            assert_eq!(pixels[at], images.image(i)[(c * SIDE + y) * SIDE + x]);
        }
    }
    let short = sheet::write(&path, &[&a.pixels, &b.pixels[..IMAGE_ELEMS]]);
    assert!(short.unwrap_err().to_string().contains("same length"));
}
