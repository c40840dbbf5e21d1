//! What the kernel says of a process or a thread.

use std::fs;

use super::Fallible;

/// Clock ticks per second in `/proc/*/stat`: 100 on every Linux of today, whatever the kernel's own rate.
const TICKS: f64 = 100.0;

/// CPU seconds, user and system, of a process with all its threads.
pub(crate) fn cpu_of(pid: u32) -> Fallible<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command's name may hold spaces; what follows its bracket is fields 3 and on.
    let (_, rest) = stat.rsplit_once(')').ok_or("an unreadable stat file")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: f64 =
        fields.get(11).ok_or("no utime")?.parse::<f64>()? + fields.get(12).ok_or("no stime")?.parse::<f64>()?;
    Ok(ticks / TICKS)
}

/// CPU seconds of the thread that asks.
pub(crate) fn cpu_of_thread() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Resident memory in MiB: `VmRSS` is now, `VmHWM` the peak.
pub(crate) fn memory_of(pid: u32, field: &str) -> Fallible<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or("no such line in /proc/PID/status")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("an empty line in /proc/PID/status")?.parse()?;
    Ok(kib / 1024.0)
}
