//! The comparators that all test programs share, held to what they must not let through.

use crate::common::compare::{absolute_error, relative_error};

#[test]
fn comparators_fail_on_nan_and_on_length() {
    assert!(relative_error(&[f64::NAN], &[f64::NAN]).is_infinite());
    assert!(relative_error(&[1.0], &[f64::NAN]).is_infinite());
    assert!(relative_error(&[f64::NAN], &[1.0]).is_infinite());
    assert!(absolute_error(&[f64::NAN], &[1.0]).is_infinite());
    assert!(relative_error(&[1.0], &[1.0, 2.0]).is_infinite());
    assert!(relative_error(&[1.1], &[1.0]) > 0.09);
    assert_eq!(relative_error(&[], &[]), 0.0);
}

#[test]
fn goldens_that_are_absent_or_not_compared_fail() {
    crate::common::golden::absence_is_a_failure();
}
