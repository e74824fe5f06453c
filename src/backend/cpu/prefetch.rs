//! Asking for memory ahead of its use, for loops whose steps the hardware does not foresee.

/// What caches fetch together.
const LINE_BYTES: usize = 64;

/// The cache lines of a slice are on their way. Changes no result.
#[inline(always)]
pub fn prefetch<T>(slice: &[T]) {
    let step = (LINE_BYTES / size_of::<T>()).max(1);
    for x in slice.iter().step_by(step).chain(slice.last()) {
        line(x);
    }
}

/// The cache line of an address, whatever that is.
#[inline(always)]
pub fn line<T>(at: *const T) {
    // SAFETY: a prefetch reads nothing, and every x86-64 has it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    // SAFETY: as above, for AArch64.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}
