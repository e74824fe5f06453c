//! Comparators. Written as "not within tolerance", so that a NaN on either side fails.

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
    assert!(error <= tolerance, "{what}: relative error {error:e} exceeds {tolerance:e}");
}

pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| x as f64).collect()
}
