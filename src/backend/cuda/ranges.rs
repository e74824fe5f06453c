//! Named stretches of host time, for a profiler's timeline (NVTX). Without the tools library, which
//! only a profiler's user has, nothing is made.

use std::sync::OnceLock;

use cudarc::nvtx::{result, sys};

/// Until dropped, in the reverse order of their making.
pub struct Range(());

impl Range {
    pub fn begin(name: &str) -> Option<Self> {
        static PRESENT: OnceLock<bool> = OnceLock::new();
        // SAFETY: tries to open the library; its initialisers have no preconditions.
        if !PRESENT.get_or_init(|| unsafe { sys::is_culib_present() }) || name.contains('\0') {
            return None;
        }
        result::range_push(name);
        Some(Self(()))
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        result::range_pop();
    }
}
