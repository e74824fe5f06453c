//! The mutation suite: bugs planted in our kernels and host code, each of which the simulator
//! (tools/gpusim) must report, in the right kernel and at the right line; and no report without
//! one.
//!
//! A mutation is data: an edit of kernels/, what drives it, and what must be found. Every run is a
//! process of its own, this program again, with the edited kernel in place of the embedded one. The
//! suite runs on the simulator only: `tools/gpusim/run cargo nextest run --features cuda --test
//! mutations --no-capture`; the table that it prints is the record.
#![cfg(feature = "cuda")]

mod child;
mod compile;
#[path = "../../build/home.rs"]
mod home;
mod host;
mod kernels;
mod mutation;
#[path = "../../build/nvrtc.rs"]
mod nvrtc;
mod parity;
mod workloads;

use hrm::backend::Device;

use host::{Planted, Scene};
use workloads::WORKLOADS;

/// The simulator; anything else is said and not used.
fn simulator() -> Option<Device> {
    let why = match Device::cuda(0) {
        Ok(device) if device.as_cuda().is_some_and(|cuda| cuda.card().simulated) => {
            return Some(device);
        }
        Ok(device) => format!("{} is not simulated", device.name()),
        Err(error) => error.to_string(),
    };
    println!("skipped: mutation suite ({why})");
    None
}

/// In a child: the workload or scene that it was asked for. Else all workloads, with the kernels as
/// they are.
#[test]
fn workloads_agree_with_the_cpu() {
    let Some(device) = simulator() else { return };
    match std::env::var(child::PART).as_deref() {
        Err(_) | Ok(child::ALL) => WORKLOADS.iter().for_each(|w| parity::check(w, &device)),
        Ok(child::SCENES) => scenes().for_each(|scene| play(scene, &device, Planted::No)),
        Ok(name) => {
            WORKLOADS.iter().filter(|w| w.name == name).for_each(|w| parity::check(w, &device));
            let scenes = scenes().filter(|s| s.name == name);
            scenes.for_each(|scene| play(scene, &device, Planted::Yes));
        }
    }
}

fn scenes() -> impl Iterator<Item = &'static Scene> {
    host::LISTS.into_iter().flatten()
}

fn play(scene: &Scene, device: &Device, planted: Planted) {
    (scene.play)(device, planted).unwrap_or_else(|error| panic!("{}: {error}", scene.name));
}

/// Orders of blocks, warps and streams in which nothing may be found.
const SEEDS: u64 = 4;

fn expect_clean(part: &str, ptx: Option<&std::path::Path>) {
    for seed in 0..SEEDS {
        let outcome = child::run(part, seed, ptx);
        let clean = outcome.success && outcome.findings.is_empty();
        assert!(clean, "seed {seed}:\n{}", outcome.text);
    }
}

#[test]
fn unmutated_kernels_are_clean_in_every_order() {
    if simulator().is_some() {
        expect_clean(child::ALL, None);
    }
}

#[test]
fn unmutated_host_code_is_clean_in_every_order() {
    if simulator().is_some() {
        expect_clean(child::SCENES, Some(&compile::Workshop::with(&host::MODULES).ptx()));
    }
}

#[test]
fn host_bugs_are_caught() {
    if simulator().is_some() {
        mutation::all_scenes_are_caught(scenes());
    }
}

/// One test for each list, so that they run beside each other.
macro_rules! caught {
    ($($test:ident: $list:path),* $(,)?) => {$(
        #[test]
        fn $test() {
            if simulator().is_some() {
                mutation::all_are_caught($list);
            }
        }
    )*};
}

caught! {
    races_are_caught: kernels::races::LIST,
    wrong_sights_are_caught: kernels::sighted::LIST,
    early_reads_of_copies_are_caught: kernels::copies::LIST,
    blocks_with_one_output_are_caught: kernels::blocks::LIST,
    barriers_are_caught: kernels::barriers::LIST,
    bounds_are_caught: kernels::bounds::LIST,
    convolution_bugs_are_caught: kernels::conv::LIST,
    bugs_of_the_other_kernels_are_caught: kernels::coverage::LIST,
    uninitialised_reads_are_caught: kernels::initialisation::LIST,
    misplaced_access_is_caught: kernels::places::LIST,
    rows_taken_for_each_other_are_caught: kernels::packed::LIST,
    wrong_values_are_caught: kernels::values::LIST,
}

/// Needs no simulator: every file of kernels is compiled with a bug in it, or in a header of it.
#[test]
fn every_kernel_file_has_planted_bugs() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let planted: Vec<&str> =
        kernels::LISTS.iter().flat_map(|l| l.iter()).map(|m| m.module).collect();
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("kernels") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "cu") {
            let module = path.file_stem().and_then(|stem| stem.to_str()).expect("a UTF-8 name");
            assert!(planted.contains(&module), "kernels/{module}.cu: no bug is planted in it");
            files += 1;
        }
    }
    assert!(files > 20, "{files} kernel files");
}
