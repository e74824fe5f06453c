//! CUDA C++ to PTX through NVRTC, loaded at build time.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;

use libloading::{Library, Symbol};

/// The oldest card we aim at is Ampere; PTX of 8.0 runs on everything since.
pub const OPTIONS: &[&str] =
    &["--gpu-architecture=compute_80", "--std=c++17", "-default-device", "-lineinfo"];

const LIBRARIES: [&str; 3] = ["libnvrtc.so.12", "libnvrtc.so", "libnvrtc.so.13"];

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Text = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;

pub struct Compiler(Library);

impl Compiler {
    pub fn load(home: &Path) -> Result<Self, String> {
        let folders = [home.join("lib64"), home.join("lib")];
        let found = folders.iter().flat_map(|dir| LIBRARIES.map(|name| dir.join(name)));
        let path = found
            .into_iter()
            .find(|path| path.exists())
            .ok_or_else(|| format!("{}: no lib64/libnvrtc.so", home.display()))?;
        // SAFETY: NVIDIA's library; loading it runs its initialisers, which have no preconditions.
        let library = unsafe { Library::new(&path) };
        library.map(Self).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// `text`, which stands in `source`; headers are looked for in `include`.
    pub fn compile(&self, source: &Path, text: &str, include: &[&Path]) -> Result<String, String> {
        let c =
            |s: String| CString::new(s).map_err(|_| "a NUL byte in a source or path".to_owned());
        let (code, name) = (c(text.into())?, c(source.display().to_string())?);
        let mut options: Vec<CString> =
            OPTIONS.iter().map(|o| c((*o).into())).collect::<Result<_, _>>()?;
        for folder in include {
            options.push(c(format!("-I{}", folder.display()))?);
        }
        let options: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        // SAFETY: signatures as in nvrtc.h; every pointer outlives its call; text buffers have the
        // size that the library asks for.
        unsafe {
            let create: Symbol<Create> = self.symbol(b"nvrtcCreateProgram\0")?;
            let compile: Symbol<Compile> = self.symbol(b"nvrtcCompileProgram\0")?;
            let destroy: Symbol<Destroy> = self.symbol(b"nvrtcDestroyProgram\0")?;
            let mut program: Program = std::ptr::null_mut();
            let none = std::ptr::null();
            if create(&mut program, code.as_ptr(), name.as_ptr(), 0, none, none) != 0 {
                return Err(format!("{}: nvrtcCreateProgram failed", source.display()));
            }
            let status = compile(program, options.len() as c_int, options.as_ptr());
            let log = self.text(program, b"nvrtcGetProgramLogSize\0", b"nvrtcGetProgramLog\0")?;
            let result = match status {
                0 => self.text(program, b"nvrtcGetPTXSize\0", b"nvrtcGetPTX\0"),
                _ => Err(format!("{} does not compile:\n{log}", source.display())),
            };
            for line in log.lines().filter(|_| status == 0) {
                println!("cargo:warning={line}");
            }
            destroy(&mut program);
            result
        }
    }

    /// # Safety
    /// `T` must be the C signature of `name`.
    unsafe fn symbol<T>(&self, name: &[u8]) -> Result<Symbol<'_, T>, String> {
        // SAFETY: passed on to the caller.
        unsafe { self.0.get(name) }.map_err(|e| format!("NVRTC: {e}"))
    }

    /// # Safety
    /// `program` must be alive and `size`, `get` a pair of NVRTC's getters.
    unsafe fn text(&self, program: Program, size: &[u8], get: &[u8]) -> Result<String, String> {
        // SAFETY: as the caller vouches; the buffer has the size that was asked for.
        unsafe {
            let size: Symbol<Size> = self.symbol(size)?;
            let get: Symbol<Text> = self.symbol(get)?;
            let mut bytes = 0;
            if size(program, &mut bytes) != 0 {
                return Err("NVRTC: no size".into());
            }
            let mut buffer = vec![0_u8; bytes];
            if get(program, buffer.as_mut_ptr().cast()) != 0 {
                return Err("NVRTC: no text".into());
            }
            buffer.truncate(buffer.iter().position(|b| *b == 0).unwrap_or(bytes));
            String::from_utf8(buffer).map_err(|e| format!("NVRTC: {e}"))
        }
    }
}
