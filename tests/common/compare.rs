//! Comparators. Written as "not within tolerance", so that a NaN on either side fails.

/// Where HRM_TEST_ERRORS is set, a line with the error and the share of its bound that it is, of a
/// comparison that passes, too. libtest shows it of passing tests with `--show-output`.
pub fn said(what: &str, error: f64, bound: f64) {
    static WANTED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    if *WANTED.get_or_init(|| std::env::var_os("HRM_TEST_ERRORS").is_some()) {
        // Where nothing may differ, nothing does or the test fails.
        let share = if error == 0.0 { 0.0 } else { error / bound };
        println!("compared: {what}: error {error:e}, bound {bound:e}, share {share:.3}");
    }
}

/// max|a-b| / max(max|b|, 1e-12); infinite when lengths differ or anything is not finite.
pub fn relative_error(got: &[f64], want: &[f64]) -> f64 {
    if got.len() != want.len() || !got.iter().chain(want).all(|x| x.is_finite()) {
        return f64::INFINITY;
    }
    let max = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let scale = max(&mut want.iter().map(|w| w.abs())).max(1e-12);
    max(&mut got.iter().zip(want).map(|(g, w)| (g - w).abs())) / scale
}

/// Largest absolute difference; infinite when lengths differ or anything is not finite.
pub fn absolute_error(got: &[f64], want: &[f64]) -> f64 {
    if got.len() != want.len() || !got.iter().chain(want).all(|x| x.is_finite()) {
        return f64::INFINITY;
    }
    got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max)
}

pub fn assert_close(what: &str, got: &[f64], want: &[f64], tolerance: f64) {
    let error = relative_error(got, want);
    said(what, error, tolerance);
    assert!(error <= tolerance, "{what}: relative error {error:e} exceeds {tolerance:e}");
}

pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x as f64).collect()
}
