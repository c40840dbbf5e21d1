//! Secrets by name: `$CREDENTIALS_DIRECTORY/NAME`, else `secrets.d/NAME`; an absolute path is itself.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::edges::files::{self, Unreadable};
use crate::rules::diagnostic::Diagnostic;
use crate::words::limits;
use crate::words::secret::Secret;

/// Where secrets are looked up.
#[derive(Clone, Debug)]
pub struct SecretFolders {
    /// From systemd (`LoadCredential=`): asked first.
    credentials: Option<PathBuf>,
    /// From the lowest precedence to the highest.
    folders: Vec<PathBuf>,
}

impl SecretFolders {
    /// These folders, from the lowest precedence to the highest, and `$CREDENTIALS_DIRECTORY` before them.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        let credentials = env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        Self { credentials, folders }
    }

    /// These folders, and this one before them.
    pub fn with_credentials(folders: Vec<PathBuf>, credentials: PathBuf) -> Self {
        Self { credentials: Some(credentials), folders }
    }

    /// Every folder, the first asked first.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.credentials.iter().chain(self.folders.iter().rev()).map(PathBuf::as_path)
    }

    /// The files that may hold a secret, the first that exists counts. None for a name that cannot be one.
    pub fn candidates(&self, name: &str) -> Vec<PathBuf> {
        if name.starts_with('/') {
            vec![PathBuf::from(name)]
        } else if is_plain(name) {
            self.folders().map(|folder| folder.join(name)).collect()
        } else {
            Vec::new()
        }
    }

    /// Reads a secret; one line break at its end is not part of it. A warning when everybody on the machine can read
    /// it too.
    ///
    /// # Errors
    /// Why it cannot be had and what to do, in words that never hold a part of it.
    pub fn read(&self, name: &str) -> (Result<Secret, String>, Option<Diagnostic>) {
        let candidates = self.candidates(name);
        if candidates.is_empty() && !is_plain(name) {
            let why = "its name must be a plain file name (letters, digits, '.', '_', '-') or an absolute path";
            return (Err(why.to_owned()), None);
        }
        for file in &candidates {
            match files::read_text(file, limits::SECRET_FILE) {
                Err(Unreadable::Gone) => {}
                Err(why) => {
                    let help = why.help().map(|help| format!(" ({help})")).unwrap_or_default();
                    return (Err(format!("{} {why}{help}", file.display())), None);
                }
                Ok(found) => {
                    let warning = exposed(file, found.mode).then(|| world_readable(file));
                    return (one_line_less(found.text, file), warning);
                }
            }
        }
        (Err(self.missing(name)), None)
    }

    fn missing(&self, name: &str) -> String {
        if name.starts_with('/') {
            return format!("{name} does not exist");
        }
        let Some(folder) = self.folders.last() else {
            return format!("no file {name} in $CREDENTIALS_DIRECTORY");
        };
        let file = files::quoted(&folder.join(name));
        let install = if folder.starts_with("/etc/postrider") {
            format!("install -m 600 -o postrider /dev/stdin {file}")
        } else {
            format!("install -D -m 600 /dev/stdin {file}")
        };
        format!("no file {name} in secrets.d (create it: {install})")
    }
}

/// Why a secret cannot be had, and the command that mends it, which stands behind it in brackets.
pub fn remedy(why: &str) -> (&str, Option<&str>) {
    match why.strip_suffix(')').and_then(|why| why.split_once(" (")) {
        Some((why, remedy)) => (why, Some(remedy)),
        None => (why, None),
    }
}

/// A name that stays inside its folder.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name != "." && name != ".." && name.len() <= limits::NAME && name.bytes().all(allowed)
}

/// Editors and `echo` end a file with a line break that nobody means.
fn one_line_less(mut text: String, file: &Path) -> Result<Secret, String> {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(Secret::new(text)) }
}

/// Whether everybody can get at it: the file lets others read, and every folder above lets them pass. Secrets mounted
/// by Kubernetes are 0644 in a closed folder, which is fine.
fn exposed(file: &Path, mode: u32) -> bool {
    let Ok(real) = fs::canonicalize(file) else { return false };
    let passable = |folder: &Path| fs::metadata(folder).is_ok_and(|meta| meta.mode() & 0o001 != 0);
    mode & 0o004 != 0 && real.ancestors().skip(1).all(passable)
}

fn world_readable(file: &Path) -> Diagnostic {
    Diagnostic::warning("secret-exposed", format!("everybody on this machine can read the secret {}", file.display()))
        .help(format!("chmod o-rwx {}", files::quoted(file)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Desk {
        folder: tempfile::TempDir,
        low: PathBuf,
        high: PathBuf,
        credentials: PathBuf,
        secrets: SecretFolders,
    }

    fn desk() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let [low, high, credentials] = ["low", "high", "credentials"].map(|name| folder.path().join(name));
        for each in [&low, &high, &credentials] {
            fs::create_dir(each).unwrap();
        }
        let secrets = SecretFolders::with_credentials(vec![low.clone(), high.clone()], credentials.clone());
        Desk { folder, low, high, credentials, secrets }
    }

    fn value(desk: &Desk, name: &str) -> String {
        desk.secrets.read(name).0.unwrap().expose().to_owned()
    }

    fn error(desk: &Desk, name: &str) -> String {
        desk.secrets.read(name).0.unwrap_err()
    }

    #[test]
    fn the_credentials_directory_then_the_highest_folder() {
        let desk = desk();
        fs::write(desk.low.join("token"), "low").unwrap();
        assert_eq!(value(&desk, "token"), "low");
        fs::write(desk.high.join("token"), "high").unwrap();
        assert_eq!(value(&desk, "token"), "high");
        fs::write(desk.credentials.join("token"), "credential").unwrap();
        assert_eq!(value(&desk, "token"), "credential");
        let absolute = desk.low.join("token");
        assert_eq!(value(&desk, absolute.to_str().unwrap()), "low");
    }

    #[test]
    fn one_line_break_is_stripped_and_no_more() {
        let desk = desk();
        for (text, secret) in
            [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), (" s ", " s "), ("a\nb\n", "a\nb")]
        {
            fs::write(desk.high.join("t"), text).unwrap();
            assert_eq!(value(&desk, "t"), secret);
        }
        fs::write(desk.high.join("t"), "\n").unwrap();
        assert!(error(&desk, "t").ends_with("/high/t is empty"));
    }

    #[test]
    fn the_remedy_is_told_from_the_reason() {
        let desk = desk();
        let why = error(&desk, "ci-token");
        let (what, help) = remedy(&why);
        assert_eq!(what, "no file ci-token in secrets.d");
        assert!(help.is_some_and(|help| help.starts_with("create it: install -D -m 600")), "{help:?}");
        assert_eq!(remedy("/x is empty"), ("/x is empty", None));
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        let desk = desk();
        for name in ["", ".", "..", "a/b", "../low/token", "a b", "a\0", "ä"] {
            let why = error(&desk, name);
            assert!(why.contains("plain file name"), "{name:?}: {why}");
            assert!(desk.secrets.candidates(name).is_empty());
        }
    }

    #[test]
    fn errors_name_the_file_and_the_remedy() {
        let desk = desk();
        let why = error(&desk, "ci-token");
        assert!(why.starts_with("no file ci-token in secrets.d (create it: install -D -m 600 /dev/stdin /"), "{why}");
        assert_eq!(error(&desk, "/nowhere/token"), "/nowhere/token does not exist");
        let system = SecretFolders { credentials: None, folders: vec!["/etc/postrider/secrets.d".into()] };
        assert_eq!(
            system.missing("x"),
            "no file x in secrets.d (create it: install -m 600 -o postrider /dev/stdin /etc/postrider/secrets.d/x)"
        );
        fs::create_dir(desk.high.join("folder")).unwrap();
        assert!(error(&desk, "folder").ends_with("is a directory, not a file"));
        fs::write(desk.high.join("binary"), b"hunter2\xff").unwrap();
        let why = error(&desk, "binary");
        assert!(why.ends_with("is not UTF-8 text (byte 7) (save it as UTF-8)") && !why.contains("hunter2"), "{why}");
        fs::write(desk.high.join("large"), vec![b'x'; limits::SECRET_FILE + 1]).unwrap();
        assert!(error(&desk, "large").ends_with("is larger than 64 KiB"));
        // One that stands in the way is not passed by.
        fs::write(desk.low.join("large"), "small").unwrap();
        assert!(error(&desk, "large").ends_with("is larger than 64 KiB"));
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_a_warning() {
        let desk = desk();
        let file = desk.high.join("token");
        fs::write(&file, "s").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&file, 0o644);
        set(desk.folder.path(), 0o755);
        set(&desk.high, 0o750);
        assert_eq!(desk.secrets.read("token").1, None, "nobody else gets as far as the file");
        set(&desk.high, 0o755);
        let warning = desk.secrets.read("token").1.expect("a warning");
        assert!(warning.what.starts_with("everybody on this machine can read the secret /"));
        set(&file, 0o640);
        assert_eq!(desk.secrets.read("token").1, None);
    }
}
