//! Where the CUDA compiler is: a folder with `bin/ptxas`, `lib64/libnvrtc.so*` and `include/`, the
//! first of HRM_CUDA_HOME, CUDA_HOME, CUDA_PATH and what `tools/cuda-toolchain` fills.

use std::env;
use std::path::{Path, PathBuf};

pub const VARIABLES: [&str; 3] = ["HRM_CUDA_HOME", "CUDA_HOME", "CUDA_PATH"];

/// `out` is cargo's OUT_DIR.
pub fn find(out: &Path) -> Result<PathBuf, String> {
    let complete = |home: &Path| home.join("bin/ptxas").exists() && home.join("include").exists();
    for name in VARIABLES {
        if let Some(home) = env::var_os(name).map(PathBuf::from) {
            return match complete(&home) {
                true => Ok(home),
                false => Err(format!(
                    "{name}={} holds no CUDA compiler (bin/ptxas, include/); unset it to use the \
                     one of tools/cuda-toolchain",
                    home.display()
                )),
            };
        }
    }
    // OUT_DIR lies below the target folder, whatever it is called.
    out.ancestors().map(|dir| dir.join("cuda-toolchain")).find(|home| complete(home)).ok_or_else(
        || {
            "feature `cuda` needs the CUDA compiler: run tools/cuda-toolchain (PyPI wheels, no GPU \
             or driver needed), or set CUDA_HOME to a CUDA 12 toolkit"
                .into()
        },
    )
}
