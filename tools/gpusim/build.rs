//! The library registers an exit handler, so it must outlive a `dlclose` of the program that loaded
//! it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
