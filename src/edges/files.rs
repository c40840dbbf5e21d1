//! Reads one small file that somebody else wrote: regular, bounded, UTF-8, and never hanging on a named pipe.

use std::fmt;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// A file's text, and who may do what with it.
#[derive(Debug)]
pub struct Text {
    /// The whole text.
    pub text: String,
    /// The permission bits.
    pub mode: u32,
}

/// Why a file cannot be read. `Display` says it in words that follow the file's name.
#[derive(Debug)]
pub enum Unreadable {
    /// There is no such file.
    Gone,
    /// A link whose end does not exist.
    Dangling(String),
    /// Something else stands there, such as "a directory".
    NotAFile(&'static str),
    /// It is larger than this many bytes.
    TooLarge(usize),
    /// It is not UTF-8, from this byte on.
    NotUtf8(usize),
    /// The permissions forbid it.
    Denied {
        /// Its mode and owner, and who we are.
        facts: String,
        /// The command that mends it.
        mend: String,
    },
    /// What the system said.
    Failed(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("does not exist"),
            Self::Dangling(end) => write!(f, "is a link to {end}, which does not exist"),
            Self::NotAFile(what) => write!(f, "is {what}, not a file"),
            Self::TooLarge(bound) => write!(f, "is larger than {} KiB", bound / 1024),
            Self::NotUtf8(offset) => write!(f, "is not UTF-8 text (byte {offset})"),
            Self::Denied { facts, .. } => write!(f, "cannot be read: {facts}"),
            Self::Failed(why) => write!(f, "cannot be read: {why}"),
        }
    }
}

impl Unreadable {
    /// The one thing to do, where there is one.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Denied { mend, .. } => Some(mend.clone()),
            Self::NotUtf8(_) => Some("save it as UTF-8".to_owned()),
            Self::Dangling(_) => Some("remove the link, or create what it points to".to_owned()),
            _ => None,
        }
    }
}

/// Reads a whole file of at most `bound` bytes.
///
/// # Errors
/// Why it cannot be read.
pub fn read_text(path: &Path, bound: usize) -> Result<Text, Unreadable> {
    // Opening a device may do something (a tape rewinds), so its kind is looked at first.
    let before = fs::metadata(path).map_err(|error| refused(path, &error))?;
    regular(&before)?;
    // What was a file a moment ago may be a pipe now: without NONBLOCK the open would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(|error| refused(path, &error))?;
    let meta = file.metadata().map_err(|error| refused(path, &error))?;
    regular(&meta)?;
    let mut bytes = Vec::with_capacity((meta.len() as usize).min(bound) + 1);
    file.take(bound as u64 + 1).read_to_end(&mut bytes).map_err(|error| refused(path, &error))?;
    if bytes.len() > bound {
        return Err(Unreadable::TooLarge(bound));
    }
    let text = String::from_utf8(bytes).map_err(|error| Unreadable::NotUtf8(error.utf8_error().valid_up_to()))?;
    Ok(Text { text, mode: meta.mode() & 0o7777 })
}

/// Writes a file that is for us alone: beside its place, synced, and moved there. Whoever reads it, also after the power
/// went, finds all of it or what was there before.
///
/// # Errors
/// It cannot be written; then what was there before is still there.
pub fn put(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, place)?;
    fs::File::open(folder)?.sync_all()
}

/// Writes a person's file anew, all of it or nothing: it stays whose it was and who may read it, and a link stays a link.
///
/// # Errors
/// It cannot be written; then what was there before is still there.
pub fn replace(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let place = fs::canonicalize(place)?;
    let meta = fs::metadata(&place)?;
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let beside = place.with_file_name(format!(".{name}.new"));
    let _left_over = fs::remove_file(&beside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        let owner = rustix::process::geteuid().is_root().then(|| (meta.uid(), meta.gid()));
        if let Some((user, group)) = owner {
            std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
        }
        file.set_permissions(meta.permissions())?;
        file.sync_all()?;
        fs::rename(&beside, &place)
    })();
    if written.is_err() {
        let _not_there = fs::remove_file(&beside);
    }
    written
}

/// What the system says, without the number that only programmers read.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// A path as a shell takes it.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+@%:,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn regular(meta: &Metadata) -> Result<(), Unreadable> {
    let kind = meta.file_type();
    if kind.is_file() {
        return Ok(());
    }
    Err(Unreadable::NotAFile(if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }))
}

fn refused(path: &Path, error: &io::Error) -> Unreadable {
    match error.kind() {
        io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(end) => Unreadable::Dangling(end.display().to_string()),
            Err(_) => Unreadable::Gone,
        },
        io::ErrorKind::PermissionDenied => denied(path),
        _ => Unreadable::Failed(plain(error)),
    }
}

fn denied(path: &Path) -> Unreadable {
    let uid = rustix::process::geteuid().as_raw();
    let us = name_of(uid, "/etc/passwd");
    let Ok(meta) = fs::metadata(path) else {
        return Unreadable::Denied {
            facts: format!("a folder above it is closed to user {us}"),
            mend: format!("see which one: namei -l {}", quoted(path)),
        };
    };
    let owner = name_of(meta.uid(), "/etc/passwd");
    let group = name_of(meta.gid(), "/etc/group");
    let facts = format!("mode {:04o}, owner {owner}:{group}, and this is user {us}", meta.mode() & 0o7777);
    let file = quoted(path);
    let mend = if meta.uid() == uid {
        format!("chmod u+r {file}")
    } else {
        let our_group = name_of(rustix::process::getegid().as_raw(), "/etc/group");
        format!("chgrp {our_group} {file} && chmod 640 {file}")
    };
    Unreadable::Denied { facts, mend }
}

/// The name behind a number, from a file in the format of passwd and group; the number itself where there is none.
fn name_of(id: u32, table: &str) -> String {
    let id = id.to_string();
    let lines = fs::read_to_string(table).unwrap_or_default();
    let found = lines.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    found.unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("x.yaml");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(read_text(&pipe, 10).unwrap_err().to_string(), "is a named pipe, not a file");
        assert_eq!(read_text(folder.path(), 10).unwrap_err().to_string(), "is a directory, not a file");
        assert_eq!(read_text(Path::new("/dev/zero"), 10).unwrap_err().to_string(), "is a device, not a file");
        assert_eq!(read_text(&folder.path().join("none"), 10).unwrap_err().to_string(), "does not exist");
    }

    #[test]
    fn size_and_encoding_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        fs::write(&file, "x".repeat(2048)).unwrap();
        assert_eq!(read_text(&file, 2048).unwrap().text.len(), 2048);
        assert_eq!(read_text(&file, 1024).unwrap_err().to_string(), "is larger than 1 KiB");
        fs::write(&file, b"caf\xe9").unwrap();
        assert_eq!(read_text(&file, 10).unwrap_err().to_string(), "is not UTF-8 text (byte 3)");
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_for_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        for text in ["one", "two"] {
            put(&file, text.as_bytes()).unwrap();
            let found = read_text(&file, 10).unwrap();
            assert_eq!((found.text.as_str(), found.mode), (text, 0o600));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(put(&folder.path().join("none/x"), b"").is_err());
    }

    #[test]
    fn a_path_survives_the_shell() {
        assert_eq!(quoted(Path::new("/etc/postrider/hooks.d/10-a.yaml")), "/etc/postrider/hooks.d/10-a.yaml");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn a_refusal_names_mode_owner_and_remedy() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.yaml");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o200)).unwrap();
        let ours = denied(&file);
        assert!(ours.to_string().starts_with("cannot be read: mode 0200, owner "), "{ours}");
        assert_eq!(ours.help(), Some(format!("chmod u+r {}", file.display())));
        // A file of somebody else: root gives its own away, everybody else has one of root's.
        let theirs = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
            file.as_path()
        } else {
            Path::new("/etc/passwd")
        };
        let help = denied(theirs).help().unwrap();
        let group = name_of(rustix::process::getegid().as_raw(), "/etc/group");
        assert_eq!(help, format!("chgrp {group} {0} && chmod 640 {0}", theirs.display()));
    }

    #[test]
    fn numbers_have_names() {
        assert_eq!(name_of(0, "/etc/passwd"), "root");
        assert_eq!(name_of(4_000_000_000, "/etc/passwd"), "4000000000");
    }
}
