//! The kernels inside this binary: PTX, cubins and what the assembler said of each. Made by
//! `build/`.

use crate::backend::{Kernel, Resources};
use crate::{Error, Result};

/// One `kernels/*.cu`.
pub struct Module {
    pub name: &'static str,
    /// Ends in NUL.
    pub ptx: &'static [u8],
    /// (compute capability, cubin)
    pub cubins: &'static [(u32, &'static [u8])],
    pub kernels: &'static [Entry],
}

pub struct Entry {
    pub name: &'static str,
    /// PTX type of each parameter.
    pub params: &'static [&'static str],
    pub resources: &'static [Resources],
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// Number of the module that holds `kernel`, whose parameters are those that it was compiled with.
pub fn module_of(kernel: &Kernel) -> Result<usize> {
    let Kernel { op, name, params } = kernel;
    let found = MODULES.iter().enumerate().find_map(|(i, module)| {
        Some((i, module.kernels.iter().find(|entry| entry.name == *name)?))
    });
    let Some((module, entry)) = found else {
        return Err(Error::invalid(format!("{op}: no kernel {name} in kernels/*.cu")));
    };
    let declared: Vec<_> = params.iter().map(|p| p.ptx()).collect();
    if declared != entry.params {
        return Err(Error::invalid(format!(
            "{op}: {name} is declared with parameters {declared:?} and compiled with {:?}",
            entry.params
        )));
    }
    Ok(module)
}

/// (module, kernel, resources by arch) of every kernel.
pub fn resources() -> impl Iterator<Item = (&'static str, &'static str, &'static [Resources])> {
    MODULES.iter().flat_map(|m| m.kernels.iter().map(|k| (m.name, k.name, k.resources)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Param::{F32, In, Out, U32};

    fn rms_norm(params: &'static [crate::backend::Param]) -> Result<usize> {
        module_of(&Kernel { op: "rms_norm", name: "rms_norm_fwd_f32", params })
    }

    #[test]
    fn parameters_are_compared_by_kind() {
        let module = rms_norm(&[Out, Out, In, In, U32, U32, F32]).unwrap();
        assert_eq!(MODULES[module].name, "rms_norm");
        for wrong in [
            &[Out, Out, In, In, U32, F32, U32][..],
            &[Out, Out, In, In, F32, U32, U32],
            &[Out, Out, In, U32, In, U32, F32],
            &[Out, Out, In, In, U32, U32],
        ] {
            let declared: Vec<_> = wrong.iter().map(|p| p.ptx()).collect();
            let said = rms_norm(wrong).unwrap_err().to_string();
            for part in [
                "rms_norm_fwd_f32",
                &format!("{declared:?}"),
                r#"["u64", "u64", "u64", "u64", "u32", "u32", "f32"]"#,
            ] {
                assert!(said.contains(part), "{said} lacks {part}");
            }
        }
        let missing = module_of(&Kernel { op: "rms_norm", name: "rms_norm_f16", params: &[] });
        assert!(missing.unwrap_err().to_string().contains("no kernel rms_norm_f16"));
    }
}
