//! A file that survives the death of the process: what was being rendered when it died.
//!
//! It stands beside the journal while the daemon runs and is removed when it stops in good order; one that is there at
//! the start was left by a death. Its records have a fixed size and are overwritten in place, without a sync: the file
//! must outlive the process, not the machine.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::words::limits;

/// Bytes of one record; a delivery's id is a third of it.
const RECORD: usize = 128;
/// Renderings at once: each is done by one thread without a pause, and there are never as many threads, also where each of
/// them has a whole digest in hand.
const SLOTS: usize = 1024;

/// The file of this run.
#[derive(Debug)]
pub struct Marker {
    path: PathBuf,
    file: File,
    free: Mutex<Vec<usize>>,
    /// Where each suspect's record stands.
    suspects: Mutex<BTreeMap<String, usize>>,
}

/// Takes the mark away when it goes.
#[derive(Debug)]
pub struct Mark<'a> {
    marker: &'a Marker,
    slot: usize,
}

impl Marker {
    /// Begins a run. Gives what an earlier one left that died, if one did: the deliveries that were being rendered, with
    /// how many deaths each has seen.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn begin(state: &Path) -> io::Result<(Self, Option<BTreeMap<String, u32>>)> {
        let path = state.join("rendering");
        let left = match fs::read(&path) {
            Ok(left) => Some(suspects(&left)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut records = vec![record(""); SLOTS];
        let mut places = BTreeMap::new();
        for (id, deaths) in left.iter().flatten() {
            places.insert(id.clone(), records.len());
            records.push(record(&format!("suspect {id} {deaths}")));
        }
        let beside = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&records.concat())?;
        fs::rename(&beside, &path)?;
        let free = Mutex::new((0..SLOTS).collect());
        Ok((Self { path, file, free, suspects: Mutex::new(places) }, left))
    }

    /// Notes that a delivery is being rendered, until the mark is dropped. What cannot be noted is not.
    pub fn mark(&self, id: &str) -> Option<Mark<'_>> {
        let slot = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        self.put(slot, &format!("rendering {id}"));
        Some(Mark { marker: self, slot })
    }

    /// Forgets a suspect.
    pub fn clear(&self, id: &str) {
        let place = self.suspects.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(place) = place {
            self.put(place, "");
        }
    }

    /// The run ends in good order.
    pub fn end(&self) {
        // One that stays behind makes the next run more careful than it need be.
        let _stays = fs::remove_file(&self.path);
    }

    fn put(&self, place: usize, text: &str) {
        // Lost with a disk that takes nothing any more, where the journal takes nothing either.
        let _lost = self.file.write_all_at(&record(text), (place * RECORD) as u64);
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.marker.put(self.slot, "");
        self.marker.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}

fn record(text: &str) -> Vec<u8> {
    let mut record = text.as_bytes().to_vec();
    record.resize(RECORD - 1, b' ');
    record.push(b'\n');
    record
}

/// The suspects of a file that was left: those that it names, and those that were being rendered with one death more.
fn suspects(left: &[u8]) -> BTreeMap<String, u32> {
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    for line in left.split(|byte| *byte == b'\n') {
        let words: Vec<&str> = std::str::from_utf8(line).unwrap_or_default().split_ascii_whitespace().collect();
        let (id, deaths) = match words[..] {
            ["suspect", id, deaths] => (id, deaths.parse().unwrap_or(1)),
            ["rendering", id] => (id, 1),
            _ => continue,
        };
        if found.len() < limits::SUSPECTS || found.contains_key(id) {
            *found.entry(id.to_owned()).or_default() += deaths;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_told_from_a_good_end_and_counted() {
        let state = tempfile::tempdir().unwrap();
        let (first, left) = Marker::begin(state.path()).unwrap();
        assert_eq!(left, None, "the first run");
        let _marks = [first.mark("4f2a-1"), first.mark("4f2a-2")];
        drop(first.mark("4f2a-3"));

        // Nobody dropped the marks: the process died.
        let (second, left) = Marker::begin(state.path()).unwrap();
        assert_eq!(left, Some([("4f2a-1".to_owned(), 1), ("4f2a-2".to_owned(), 1)].into()));
        let _mark = second.mark("4f2a-2");
        second.clear("4f2a-1");

        let (third, left) = Marker::begin(state.path()).unwrap();
        assert_eq!(left, Some([("4f2a-2".to_owned(), 2)].into()));
        third.end();
        let (_, left) = Marker::begin(state.path()).unwrap();
        assert_eq!(left, None);
    }

    #[test]
    fn a_garbled_file_is_a_death_without_suspects() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("rendering"), b"\xff\xfe rendering\nrendering\nsuspect x\n").unwrap();
        assert_eq!(Marker::begin(state.path()).unwrap().1, Some(BTreeMap::new()));
    }

    #[test]
    fn marks_are_given_back() {
        let state = tempfile::tempdir().unwrap();
        let (marker, _) = Marker::begin(state.path()).unwrap();
        for _ in 0..SLOTS * 3 {
            assert!(marker.mark("4f2a-1").is_some());
        }
        let held: Vec<_> = (0..SLOTS).map(|_| marker.mark("4f2a-1")).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(marker.mark("4f2a-1").is_none());
    }
}
