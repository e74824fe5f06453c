//! MSE, PSNR, SSIM, principal components and code statistics against their definitions.

use hrm::data::images::{IMAGE_ELEMS, ImageSet, Images, SIDE, SetKind};
use hrm::eval::images::report::Coder;
use hrm::eval::images::{Codes, Pca, Quality, bytes, pixels, report};
use hrm::io::progress::Progress::Quiet;
use hrm::rng::{Rng, Stream};

fn uniform(rng: &mut Rng) -> f64 {
    f64::from(rng.below(1 << 24)) / f64::from(1 << 24)
}

/// Smooth images: each a mix of `waves` of the same few waves, and a little noise.
fn waves(seed: u64, n: usize, waves: usize) -> Images {
    let mut rng = Rng::new(seed, Stream::Test, 0);
    let mut pixels = vec![];
    for _ in 0..n {
        let amounts: Vec<f64> = (0..waves).map(|_| uniform(&mut rng) - 0.5).collect();
        for i in 0..IMAGE_ELEMS {
            let (c, y, x) = (i / (SIDE * SIDE), i / SIDE % SIDE, i % SIDE);
            let wave =
                |k: usize| ((k + 1) as f64 * (0.07 * y as f64 + 0.11 * x as f64) + c as f64).sin();
            let v: f64 = (0..waves).map(|k| amounts[k] * wave(k) / (k + 1) as f64).sum();
            let noise = 0.02 * uniform(&mut rng);
            pixels.push((128.0 + 100.0 * (v + noise)).clamp(0.0, 255.0) as u8);
        }
    }
    Images::new(pixels, vec![])
}

fn noisy(x: &[f32], seed: u64, amount: f64) -> Vec<f32> {
    let mut rng = Rng::new(seed, Stream::Test, 1);
    x.iter().map(|v| v + (amount * (uniform(&mut rng) - 0.5)) as f32).collect()
}

/// One window at a time, straight from Wang et al., "Image quality assessment: from error
/// visibility to structural similarity" (2004).
fn ssim_by_definition(x: &[f32], y: &[f32]) -> f64 {
    let weight = |i: usize, j: usize| {
        let (i, j) = (i as f64 - 5.0, j as f64 - 5.0);
        (-(i * i + j * j) / (2.0 * 1.5 * 1.5)).exp()
    };
    let whole: f64 = (0..121).map(|i| weight(i / 11, i % 11)).sum();
    let (mut sum, mut windows) = (0.0, 0);
    for plane in 0..x.len() / (SIDE * SIDE) {
        for (top, left) in (0..22).flat_map(|top| (0..22).map(move |left| (top, left))) {
            let at = |a: &[f32], k: usize| {
                f64::from(a[plane * SIDE * SIDE + (top + k / 11) * SIDE + left + k % 11])
            };
            let mean = |f: &dyn Fn(usize) -> f64| -> f64 {
                (0..121).map(|k| weight(k / 11, k % 11) / whole * f(k)).sum()
            };
            let (mx, my) = (mean(&|k| at(x, k)), mean(&|k| at(y, k)));
            let vx = mean(&|k| (at(x, k) - mx).powi(2));
            let vy = mean(&|k| (at(y, k) - my).powi(2));
            let both = mean(&|k| (at(x, k) - mx) * (at(y, k) - my));
            let (c1, c2) = (1e-4, 9e-4);
            sum += (2.0 * mx * my + c1) * (2.0 * both + c2)
                / ((mx * mx + my * my + c1) * (vx + vy + c2));
            windows += 1;
        }
    }
    sum / f64::from(windows)
}

#[test]
fn quality_follows_the_definitions() {
    let images = waves(1, 3, 5);
    let x = pixels(&images, 0..3);
    for amount in [0.05, 0.5] {
        let y = noisy(&x, 9, amount);
        let quality = Quality::of(&x, &y);
        let mse = x.iter().zip(&y).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>()
            / (3 * IMAGE_ELEMS) as f64;
        assert!((quality.mse() - mse).abs() <= 1e-12 * mse);
        assert!((quality.psnr_db() + 10.0 * mse.log10()).abs() <= 1e-9);
        let ssim = ssim_by_definition(&x, &y);
        assert!((quality.ssim() - ssim).abs() <= 1e-9, "{} {ssim}", quality.ssim());
        assert!(ssim < 0.999 && ssim > 0.0);
        // In two parts.
        let mut parts = Quality::default();
        let cut = IMAGE_ELEMS;
        parts.add(&x[..cut], &y[..cut]);
        parts.add(&x[cut..], &y[cut..]);
        assert_eq!((parts.images(), parts.mse(), parts.ssim()), (3, quality.mse(), quality.ssim()));
    }
    let same = Quality::of(&x, &x);
    assert_eq!((same.mse(), same.psnr_db()), (0.0, f64::INFINITY));
    assert!((same.ssim() - 1.0).abs() <= 1e-12);
    // 0.1 everywhere: 20 dB.
    let shifted: Vec<f32> = x.iter().map(|v| v + 0.1).collect();
    assert!((Quality::of(&x, &shifted).psnr_db() - 20.0).abs() <= 1e-4);
}

#[test]
fn pixels_and_bytes_are_inverse() {
    let images = waves(2, 4, 3);
    assert_eq!(bytes(&pixels(&images, 1..3)), images.pixels[IMAGE_ELEMS..3 * IMAGE_ELEMS]);
    assert_eq!(bytes(&[-0.5, 0.0, 0.5, 1.0, 7.0]), [0, 0, 128, 255, 255]);
}

/// Sum over pixels of the variance over images, in f64.
fn total_variance(images: &Images) -> f64 {
    let n = images.n as f64;
    let column = |d: usize| (0..images.n).map(move |i| f64::from(images.image(i)[d]) / 255.0);
    let variance = |d: usize| {
        let mean = column(d).sum::<f64>() / n;
        column(d).map(|v| (v - mean).powi(2)).sum::<f64>() / n
    };
    (0..IMAGE_ELEMS).map(variance).sum()
}

#[test]
fn components_leave_exactly_the_variance_that_they_do_not_carry() {
    let images = waves(3, 300, 12);
    let x = pixels(&images, 0..images.n);
    let total = total_variance(&images);
    let mut before = f64::INFINITY;
    for k in [1, 4, 12, 64] {
        let pca = Pca::fit(&images, k);
        assert!(pca.k == k && pca.parameters() == (k + 1) * IMAGE_ELEMS);
        assert!(pca.variances.is_sorted_by(|a, b| a >= b) && pca.variances.len() == k);
        let left = (total - pca.variances.iter().sum::<f64>()) / IMAGE_ELEMS as f64;
        let mse = Quality::of(&x, &pca.reconstruct(&x)).mse();
        assert!((mse - left).abs() <= 1e-5 * total / IMAGE_ELEMS as f64, "{k}: {mse} {left}");
        assert!(mse < before);
        before = mse;
        // A projection: a second pass changes nothing.
        let once = pca.reconstruct(&x[..IMAGE_ELEMS]);
        let twice = pca.reconstruct(&once);
        assert!(once.iter().zip(&twice).all(|(a, b)| (a - b).abs() <= 1e-5));
    }
}

/// The leading eigenvalues of a matrix whose spectrum is known: images along k orthogonal patterns.
#[test]
fn known_variances_are_found_in_order() {
    // Patterns with disjoint support, one bright pixel each, of amounts 10, 20, .. 80 (of 255).
    let n = 512;
    let mut pixels = vec![100_u8; n * IMAGE_ELEMS];
    for i in 0..n {
        for k in 0..8 {
            // Each sign equally often in all combinations: uncorrelated.
            let sign = if i >> k & 1 == 1 { 1 } else { -1 };
            pixels[i * IMAGE_ELEMS + 377 * k] = (100 + sign * 10 * (k as i32 + 1)) as u8;
        }
    }
    let pca = Pca::fit(&Images::new(pixels, vec![]), 10);
    assert!(pca.variances.len() >= 8, "{:?}", pca.variances);
    for (k, variance) in pca.variances.iter().enumerate() {
        let expected = if k < 8 { (10.0 * (8 - k) as f64 / 255.0).powi(2) } else { 0.0 };
        assert!((variance - expected).abs() <= 1e-6, "{k}: {variance} {expected}");
    }
}

#[test]
fn grey_and_few_images_have_fewer_components_and_still_work() {
    // Rank at most 1024, here 20.
    let mut grey = waves(4, 20, 6).pixels;
    for image in grey.chunks_exact_mut(IMAGE_ELEMS) {
        let (first, rest) = image.split_at_mut(SIDE * SIDE);
        rest.chunks_exact_mut(SIDE * SIDE).for_each(|plane| plane.copy_from_slice(first));
    }
    let images = Images::new(grey, vec![]);
    let x = pixels(&images, 0..20);
    let pca = Pca::fit(&images, 64);
    assert_eq!(pca.k, 19);
    let y = pca.reconstruct(&x);
    assert!(Quality::of(&x, &y).mse() <= 1e-10, "19 components hold 20 images");
    let one = Images::new(images.image(0).to_vec(), vec![]);
    let y = Pca::fit(&one, 64).reconstruct(&x[..IMAGE_ELEMS]);
    assert!(y.iter().zip(&x).all(|(a, b)| (a - b).abs() <= 1e-6), "one image is its mean");
}

#[test]
fn bits_of_components_do_not_depend_on_threads() {
    let images = waves(5, 100, 8);
    let fit = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Pca::fit(&images, 16).reconstruct(&pixels(&images, 0..2)))
    };
    assert_eq!(fit(1), fit(2));
}

#[test]
fn active_units_are_those_whose_mean_moves() {
    let mut codes = Codes::new(3);
    // Unit 0 alternates between -1 and 1, unit 1 hardly moves, unit 2 is the prior.
    for i in 0..10 {
        let mu = if i % 2 == 0 { 1.0 } else { -1.0 };
        codes.add(&[mu, 0.05 * mu, 0.0], &[0.0, -2.0, 0.0]);
    }
    let statistics = codes.statistics();
    assert_eq!((statistics.units, statistics.active_units), (3, 1));
    let expected = 0.5 + 0.5 * (0.0025 + (-2.0_f64).exp() - 1.0 + 2.0);
    assert!((statistics.kl_nats - expected).abs() <= 1e-6, "{} {expected}", statistics.kl_nats);
    assert!((statistics.mean_variance - 1.0025 / 3.0).abs() <= 1e-6);
}

/// Keeps the mean of each block of `side` pixels, as mean of a posterior of variance 1.
struct Blocks(usize);

impl Coder for Blocks {
    fn units(&self) -> usize {
        IMAGE_ELEMS / self.0 / self.0
    }
    fn parameters(&self) -> usize {
        7
    }
    fn weight_bytes(&self) -> usize {
        28
    }
    fn encode(&mut self, x: &[f32]) -> hrm::Result<(Vec<f32>, Vec<f32>)> {
        let across = SIDE / self.0;
        let mut mu = vec![0.0; x.len() / self.0 / self.0];
        for (i, v) in x.iter().enumerate() {
            let (plane, y, x) = (i / (SIDE * SIDE), i / SIDE % SIDE, i % SIDE);
            mu[(plane * across + y / self.0) * across + x / self.0] += v / (self.0 * self.0) as f32;
        }
        let log_var = vec![0.0; mu.len()];
        Ok((mu, log_var))
    }
    fn decode(&mut self, z: &[f32]) -> hrm::Result<Vec<f32>> {
        let across = SIDE / self.0;
        let pixel = |i: usize| {
            let (plane, y, x) = (i / (SIDE * SIDE), i / SIDE % SIDE, i % SIDE);
            z[(plane * across + y / self.0) * across + x / self.0]
        };
        Ok((0..z.len() * self.0 * self.0).map(pixel).collect())
    }
}

fn sheet(path: &std::path::Path) -> (usize, usize, Vec<u8>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width as usize, info.height as usize, pixels)
}

#[test]
fn report_sets_coders_beside_components_and_draws_both() {
    let (train, test) = (waves(6, 400, 9), waves(7, 260, 9));
    let set = ImageSet { kind: SetKind::Pictures, train, test };
    let dir = tempfile::tempdir().unwrap();
    let (mut fine, mut exact) = (Blocks(2), Blocks(1));
    let mut coders: Vec<(String, &mut dyn Coder)> =
        vec![("student".into(), &mut fine), ("teacher".into(), &mut exact)];
    let report = report(&set, &mut coders, dir.path(), Quiet).unwrap();
    let x = pixels(&set.test, 0..260);
    let (code, _) = Blocks(2).encode(&x).unwrap();
    let quality = Quality::of(&x, &Blocks(2).decode(&code).unwrap());
    let [student, teacher] = &report.coders[..] else { panic!("{report:?}") };
    assert!((student.mse - quality.mse()).abs() <= 1e-12 && quality.mse() > 0.0);
    assert_eq!((teacher.mse, student.parameters, student.weight_bytes), (0.0, 7, 28));
    assert_eq!(student.codes.as_ref().unwrap().units, IMAGE_ELEMS / 4);
    let expected = Quality::of(&x, &Pca::fit(&set.train, 64).reconstruct(&x));
    assert_eq!((report.pca.mse, report.pca.ssim), (expected.mse(), expected.ssim()));
    assert!(report.pca_clipped.mse <= report.pca.mse);
    let table = report.table();
    assert!(table.contains("PCA-64 clipped") && table.contains("student"), "{table}");
    // Input, student, teacher, components; the teacher's row is the input's.
    let (w, h, pixels) = sheet(&dir.path().join("reconstruction.png"));
    assert_eq!((w, h), (16 * 68 + 4, 4 * 68 + 4));
    let row = |r: usize| &pixels[(r * 68 + 4) * w * 3..(r * 68 + 68) * w * 3];
    assert!(row(0) == row(2) && row(0) != row(1) && row(0) != row(3));
    // The ends of a line of codes are its images, here kept exactly but for 2 x 2 means.
    let (w, h, _) = sheet(&dir.path().join("interpolation.png"));
    assert_eq!((w, h), (16 * 68 + 4, 8 * 68 + 4));
    let empty = ImageSet { test: Images::new(vec![], vec![]), ..set };
    assert!(hrm::eval::images::report(&empty, &mut [], dir.path(), Quiet).is_err());
}
