//! What a driver refuses to launch.

use crate::card::HEADER;
use crate::{Card, kernel};
use gpusim::exec::{LaunchConfig, LaunchError, check_launch};

fn config() -> LaunchConfig {
    LaunchConfig {
        grid: [1; 3],
        block: [32, 1, 1],
        dynamic_shared_bytes: 0,
        max_dynamic_shared_bytes: None,
        params: vec![0; 24],
    }
}

fn check(
    directives: &str,
    shared: u32,
    change: impl FnOnce(&mut LaunchConfig),
) -> Result<(), LaunchError> {
    let text = kernel(shared, "").replace("\n{\n", &format!("\n{directives}\n{{\n"));
    let mut card = Card::new(1);
    let module = card.load(&text);
    let mut config = config();
    change(&mut config);
    check_launch(&module.kernels[0], &config)
}

fn invalid(result: Result<(), LaunchError>) -> bool {
    matches!(result, Err(LaunchError::InvalidValue(_)))
}

#[test]
fn shapes() {
    assert_eq!(check("", 16, |_| ()), Ok(()));
    assert_eq!(check("", 16, |c| c.block = [16, 8, 8]), Ok(()));
    assert_eq!(check("", 16, |c| c.grid = [1 << 20, 65_535, 1]), Ok(()));
    assert!(invalid(check("", 16, |c| c.block = [1024, 2, 1])));
    assert!(invalid(check("", 16, |c| c.block = [1, 1, 65])));
    assert!(invalid(check("", 16, |c| c.block = [0, 1, 1])));
    assert!(invalid(check("", 16, |c| c.grid = [1, 65_536, 1])));
    assert!(invalid(check("", 16, |c| c.grid = [0, 1, 1])));
}

#[test]
fn bounds_that_the_source_declares() {
    assert_eq!(check(".maxntid 64", 16, |c| c.block = [64, 1, 1]), Ok(()));
    assert!(invalid(check(".maxntid 64", 16, |c| c.block = [65, 1, 1])));
    assert_eq!(check(".reqntid 32, 1, 1", 16, |_| ()), Ok(()));
    assert!(invalid(check(".reqntid 64", 16, |_| ())));
}

#[test]
fn shared_memory() {
    let dynamic = |bytes: u32, declared: Option<u32>| {
        check("", 1024, |c| {
            (c.dynamic_shared_bytes, c.max_dynamic_shared_bytes) = (bytes, declared);
        })
    };
    assert_eq!(dynamic(47 << 10, None), Ok(()));
    assert!(invalid(dynamic((47 << 10) + 1, None)));
    assert_eq!(dynamic(98 << 10, Some(98 << 10)), Ok(()));
    assert!(invalid(dynamic(64 << 10, Some(60 << 10))));
    assert!(matches!(dynamic(99 << 10, Some(99 << 10)), Err(LaunchError::OutOfResources(_))));
}

#[test]
fn parameters() {
    assert!(invalid(check("", 16, |c| c.params.truncate(20))));
    assert!(invalid(check("", 16, |c| c.params.push(0))));
}

#[test]
fn a_refused_launch_is_a_finding() {
    let text = format!("{HEADER}.visible .entry k()\n{{\nret;\n}}\n");
    let mut card = Card::new(1);
    let module = card.load(&text);
    assert!(card.launch(&module, 1, 2048, &[]).is_err());
    assert_eq!(card.findings()[0].kind, gpusim::report::Kind::Launch);
}
