//! Lists the scripts that are part of the program, so that whoever adds one adds a file and nothing else.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let variable = |name: &str| PathBuf::from(env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}")));
    let (root, out) = (variable("CARGO_MANIFEST_DIR"), variable("OUT_DIR"));
    for kind in ["platforms", "sources"] {
        println!("cargo::rerun-if-changed=scripts/{kind}");
        let names = scripts(&root.join("scripts").join(kind));
        let row = |name: &String| {
            format!(
                "({name:?}, include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/scripts/{kind}/{name}.rhai\"))),\n"
            )
        };
        let rows: String = names.iter().map(row).collect();
        fs::write(out.join(format!("{kind}.rs")), format!("[\n{rows}]\n")).expect("cargo's folder can be written");
    }
}

/// The names of the scripts in a folder, in order.
fn scripts(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files = files.map(|file| file.expect("the folder can be read").file_name());
    let names = files.filter_map(|file| Some(file.to_str()?.strip_suffix(".rhai")?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
