//! The kernels with one edit, as PTX where the engine looks for it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{home, nvrtc};

/// Instances that no workload is large enough for, and that take most of the compiler's time. If a
/// text is not there any more, only that time is lost.
const LEFT_OUT: [(&str, &str); 3] = [
    ("matmul.cu", "BF16(fwd_bf16_t96, bf16, 96, 128, K_INNER, K_INNER, false, 2)"),
    ("matmul.cu", "BF16(bwd_dx_bf16_t96, bf16, 96, 128, K_INNER, K_OUTER, false, 2)"),
    ("matmul.cu", "F32(NAME, 128, LA, LB, 2)"),
];

/// Copies of kernels/ and what NVRTC makes of them.
pub struct Workshop {
    folder: tempfile::TempDir,
    compiler: nvrtc::Compiler,
    include: PathBuf,
}

impl Workshop {
    pub fn new() -> Self {
        let home = home::find(Path::new(env!("OUT_DIR"))).expect("a CUDA compiler");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
        for part in ["", "common"] {
            let to = folder.path().join("kernels").join(part);
            fs::create_dir_all(&to).expect("a folder");
            for entry in fs::read_dir(kernels.join(part)).expect("a folder of kernels") {
                let path = entry.expect("an entry").path();
                if path.extension().is_some_and(|e| e == "cu" || e == "cuh") {
                    fs::copy(&path, to.join(path.file_name().expect("a file"))).expect("a copy");
                }
            }
        }
        for (file, instance) in LEFT_OUT {
            let path = folder.path().join("kernels").join(file);
            let text = fs::read_to_string(&path).expect("a copy");
            fs::write(&path, text.replace(instance, "")).expect("a written kernel");
        }
        fs::create_dir(folder.path().join("ptx")).expect("a folder");
        let compiler = nvrtc::Compiler::load(&home).expect("NVRTC");
        Self { folder, compiler, include: home.join("include") }
    }

    /// With unedited modules.
    pub fn with(modules: &[&str]) -> Self {
        let workshop = Self::new();
        modules
            .iter()
            .try_for_each(|module| workshop.compile(module))
            .unwrap_or_else(|e| panic!("{e}"));
        workshop
    }

    /// The folder for HRM_KERNELS_DIR.
    pub fn ptx(&self) -> PathBuf {
        self.folder.path().join("ptx")
    }

    pub fn source(&self, file: &str) -> PathBuf {
        self.folder.path().join("kernels").join(file)
    }

    /// `kernels/<module>.cu` as it is now.
    pub fn compile(&self, module: &str) -> Result<(), String> {
        let source = self.source(&format!("{module}.cu"));
        let text = fs::read_to_string(&source).expect("a readable kernel");
        let include = [&*self.source(""), &self.include];
        let ptx = self.compiler.compile(&source, &text, &include)?;
        fs::write(self.ptx().join(format!("{module}.ptx")), ptx).expect("a written file");
        Ok(())
    }
}
