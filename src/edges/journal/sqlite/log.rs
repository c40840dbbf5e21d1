//! The write-ahead log as a crash left it, looked at before SQLite does: SQLite reads a log up to the first page whose
//! checksum is wrong and takes the rest for what a crash cut short. Where the rest was acknowledged that is a silent
//! loss, so it is compared with what else is known:
//!
//! * the index beside the log (`-shm`) says how many pages of it were written and synced;
//! * where that is not there, two ends of transactions behind the wrong page: only the last one may be unsynced.
//!
//! The layouts are those of <https://sqlite.org/fileformat2.html#walformat> and <https://sqlite.org/walformat.html>.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::schema::beside;
use crate::edges::journal::JournalError;

const HEADER: usize = 32;
const FRAME: usize = 24;
/// What ends the first header of the index, and where its count of pages that are in the database already stands.
const INDEX: usize = 48;
const BACKFILLED: usize = 96;

/// Refuses a log that lost something.
pub(super) fn inspect(path: &Path) -> Result<(), JournalError> {
    let (log, index) = (beside(path, "-wal"), beside(path, "-shm"));
    let failed = |path: &Path, err: io::Error| JournalError::Storage(format!("{}: {err}", path.display()));
    let found = scan(&log).map_err(|err| failed(&log, err))?;
    let known = read_index(&index).map_err(|err| failed(&index, err))?;
    match lost(&found, known.as_ref()) {
        None => Ok(()),
        Some(what) => Err(JournalError::Damaged {
            path: log.display().to_string(),
            what,
            remedy: format!(
                "put it back as it was, or restore {} from a backup; to go on without what only the log held, move it and \
                 {} away",
                path.display(),
                index.display()
            ),
        }),
    }
}

/// A log as it is found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// There is one that has begun.
    begun: bool,
    /// Its header is whole, and names it.
    salts: Option<[u8; 8]>,
    /// Pages up to the last whole transaction.
    pages: u32,
    /// Ends of transactions of the same log behind the first page that is wrong.
    later: u32,
}

/// What the index knows.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    salts: [u8; 8],
    pages: u32,
    backfilled: u32,
}

fn lost(found: &Found, known: Option<&Known>) -> Option<String> {
    let cut = |pages: u32| format!("is damaged or cut: {} of {pages} pages of it can be read", found.pages);
    match (found.salts, known) {
        (None, _) if found.begun => Some("is damaged: its beginning cannot be read".to_owned()),
        (None, Some(known)) if known.pages > known.backfilled => {
            Some(format!("is missing or empty, and {} pages stood in it", known.pages))
        }
        (Some(salts), Some(known)) if known.salts == salts => (known.pages > found.pages).then(|| cut(known.pages)),
        (Some(_), _) if found.later > 1 => {
            Some(format!("is damaged: {} transactions behind page {} cannot be read", found.later, found.pages))
        }
        _ => None,
    }
}

fn scan(path: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut file = match File::open(path) {
        Ok(file) => BufReader::with_capacity(1 << 20, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? || header == [0; HEADER] {
        // It was made, and nothing was ever synced to it.
        return Ok(found);
    }
    found.begun = true;
    let magic = number(&header, 0);
    let page = number(&header, 8) as usize;
    let big = magic & 1 == 1;
    let mut sum = checksum(big, &header[..24], (0, 0));
    let whole = magic & !1 == 0x377f_0682 && sum == (number(&header, 24), number(&header, 28));
    if !whole || !page.is_power_of_two() || !(512..=65536).contains(&page) {
        return Ok(found);
    }
    let salts: [u8; 8] = header[16..24].try_into().expect("eight bytes");
    found.salts = Some(salts);
    let mut frame = vec![0; FRAME + page];
    let (mut read, mut wrong) = (0, false);
    while fill(&mut file, &mut frame)? {
        read += 1;
        let ends = number(&frame, 4) != 0;
        let ours = frame[8..16] == salts;
        if !wrong {
            sum = checksum(big, &frame[..8], sum);
            sum = checksum(big, &frame[FRAME..], sum);
            wrong = !ours || sum != (number(&frame, 16), number(&frame, 20));
        }
        if !wrong && ends {
            found.pages = read;
        }
        if wrong && ours && ends {
            found.later += 1;
        }
    }
    Ok(found)
}

/// Fills a buffer, or says that there is not enough.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn checksum(big: bool, bytes: &[u8], (mut a, mut b): (u32, u32)) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes: [u8; 4] = bytes.try_into().expect("four bytes");
        if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(word(&pair[..4])).wrapping_add(b);
        b = b.wrapping_add(word(&pair[4..])).wrapping_add(a);
    }
    (a, b)
}

/// The index, if it is there and whole. Its numbers are in the order of this machine.
fn read_index(path: &Path) -> io::Result<Option<Known>> {
    let bytes = match fs::read(path) {
        Ok(bytes) if bytes.len() >= BACKFILLED + 4 => bytes,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let native = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let sum = checksum(cfg!(target_endian = "big"), &bytes[..INDEX - 8], (0, 0));
    let whole = native(0) == 3_007_000 && sum == (native(INDEX - 8), native(INDEX - 4));
    let known = || Known {
        salts: bytes[32..40].try_into().expect("eight bytes"),
        pages: native(16),
        backfilled: native(BACKFILLED),
    };
    Ok(whole.then(known))
}
