//! Many files read by as many threads as there are cores. What comes of each is as if they were read one after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use crate::rules::diagnostic::Source;
use crate::words::limits;

/// What was read, by the names of the files.
pub(super) struct Read<T>(HashMap<Arc<str>, (Arc<str>, T)>);

/// Reads these files. A few are left to whoever needs them, for a thread costs more than they do.
pub(super) fn read<T: Send>(sources: Vec<Source>, parse: impl Fn(&Source) -> T + Sync) -> Read<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(limits::READERS);
    if threads == 1 || sources.len() < limits::READ_AHEAD {
        return Read(HashMap::new());
    }
    let share = |sources: &[Source]| -> Vec<_> {
        sources.iter().map(|source| (source.name.clone(), (source.text.clone(), parse(source)))).collect()
    };
    let read = thread::scope(|scope| {
        let shares = sources.chunks(sources.len().div_ceil(threads));
        let share = &share;
        let start =
            |sources| thread::Builder::new().stack_size(limits::STACK).spawn_scoped(scope, move || share(sources));
        // A thread that cannot be started, or fails, has read nothing: its share is read later.
        let started: Vec<_> = shares.map_while(|sources| start(sources).ok()).collect();
        started.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    Read(read)
}

impl<T> Read<T> {
    /// What came of this very text, once.
    pub(super) fn take(&mut self, source: &Source) -> Option<T> {
        let (text, _) = self.0.get(&source.name)?;
        if !Arc::ptr_eq(text, &source.text) {
            return None;
        }
        self.0.remove(&source.name).map(|(_, read)| read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(many: usize) -> Vec<Source> {
        (0..many).map(|number| Source::new(format!("{number}.yaml"), format!("text {number}"))).collect()
    }

    #[test]
    fn each_file_is_read_once_and_only_as_it_is() {
        let all = sources(limits::READ_AHEAD * 3 + 1);
        let mut read = read(all.clone(), |source| source.text.len());
        if thread::available_parallelism().map_or(1, usize::from) == 1 {
            assert!(read.0.is_empty());
            return;
        }
        assert_eq!(read.take(&Source::new("0.yaml", "text 0")), None, "the same words, from another reading");
        for source in &all {
            assert_eq!(read.take(source), Some(source.text.len()), "{}", source.name);
            assert_eq!(read.take(source), None);
        }
    }

    #[test]
    fn a_few_are_left_to_whoever_needs_them() {
        let few = sources(limits::READ_AHEAD - 1);
        let mut read: Read<()> = read(few.clone(), |_| panic!("nobody asked"));
        assert!(few.iter().all(|source| read.take(source).is_none()));
    }
}
