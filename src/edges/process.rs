//! What the kernel says of this process.

use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::system::uname;

/// What the machine is called; empty where it has no name. Not from /proc, of which a unit may see little.
pub fn host() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

/// How much of the machine this process uses. What is not known is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Processor time.
    pub cpu: Option<Duration>,
    /// Bytes in memory.
    pub resident: Option<u64>,
    /// Bytes of address space.
    pub virtual_memory: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// … of how many that may be.
    pub most_files: Option<u64>,
}

impl Process {
    /// As it is now.
    pub fn look() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Reading the folder opens it.
        let files = fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1));
        Self { open_files: files, most_files: getrlimit(Resource::Nofile).current, ..Self::of_stat(&stat) }
    }

    /// `proc_pid_stat(5)`: the name of the program stands in parentheses and may hold anything.
    fn of_stat(stat: &str) -> Self {
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The first field behind the name is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
        let cpu = ticks.map(|ticks| Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64));
        let resident = field(24).map(|pages| pages.saturating_mul(page_size() as u64));
        Self { cpu, resident, virtual_memory: field(23), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_parenthesis_moves_nothing() {
        let stat = "71 (a) b (c)) S 1 71 71 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 3 0 900 4096000 25 1844 1 1";
        let read = Process::of_stat(stat);
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!(read.cpu, Some(Duration::from_secs_f64(200.0 / ticks)));
        assert_eq!((read.virtual_memory, read.resident), (Some(4_096_000), Some(25 * page_size() as u64)));
        assert_eq!(Process::of_stat("nothing"), Process::default());
    }

    #[test]
    fn this_process_uses_something() {
        let now = Process::look();
        assert!(now.resident.is_some_and(|bytes| bytes > 1_000_000), "{now:?}");
        assert!(now.open_files.is_some_and(|files| files > 2 && files < now.most_files.unwrap_or(u64::MAX)), "{now:?}");
    }
}
