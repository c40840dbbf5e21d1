//! libFuzzer around one target, which the variable `FUZZ_TARGET` names. `../run` calls it.
#![no_main]

use std::sync::LazyLock;

mod targets;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = targets::TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| panic!("FUZZ_TARGET={name} is no target")).run
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| RUN(data));
