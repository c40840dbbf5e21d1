//! Every unit that fails becomes an event: a drop-in for all services, and the two that it must not apply to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::exit::{Code, Exit};

const DROP_IN: &str = include_str!("../../../packaging/systemd/report-failures.conf");
const UNIT: &str = include_str!("../../../packaging/systemd/postrider-failure@.service");
/// The unit's name, and the name of the drop-in in each folder.
const UNIT_FILE: &str = "postrider-failure@.service";
const DROP_IN_FILE: &str = "10-report-failures.conf";
/// Where a package puts units.
const PACKAGED: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];
/// A drop-in of the same name in the folder of one unit wins over the one for all services. The report of a report that
/// failed would fail as well, and postrider cannot tell of its own end.
const EXEMPT: [&str; 2] = ["postrider-failure@.service.d", "postrider.service.d"];

/// Writes them, and says which files there are now.
///
/// # Errors
/// The folder cannot be written: only root may.
pub(super) fn write(folder: &Path) -> Result<Vec<PathBuf>, Exit> {
    let mut files = vec![(folder.join("service.d").join(DROP_IN_FILE), DROP_IN.to_owned())];
    for unit in EXEMPT {
        files.push((folder.join(unit).join(DROP_IN_FILE), "# Not for this unit.\n[Unit]\nOnFailure=\n".to_owned()));
    }
    if !PACKAGED.iter().any(|packaged| Path::new(packaged).join(UNIT_FILE).exists()) {
        files.push((folder.join(UNIT_FILE), UNIT.to_owned()));
    }
    for (file, text) in &files {
        put(file, text).map_err(|error| {
            let code = match error.kind() {
                io::ErrorKind::PermissionDenied => Code::Permission,
                _ => Code::Failed,
            };
            Exit::caused(code, format!("cannot write {}", file.display()), &error).help("run it as root")
        })?;
    }
    Ok(files.into_iter().map(|(file, _)| file).collect())
}

fn put(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text)
}
