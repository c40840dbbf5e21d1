//! The daemon is stopped where it stands and goes on later, as a machine that was suspended does: longer than its
//! deadlines, and nobody notices but by the clock. `POSTRIDER_FREEZES=20` is the long form.

use super::*;

/// Of each attempt; a freeze takes longer.
const TIMEOUT: &str = "timeout: 3s\n";
const FROZEN: Duration = Duration::from_secs(4);

#[test]
fn a_frozen_daemon_goes_on_and_sends_nothing_twice() {
    let freezes: usize = std::env::var("POSTRIDER_FREEZES").map_or(2, |freezes| freezes.parse().unwrap());
    let mut story = Story::begin_with(TIMEOUT);
    let mut daemon = Daemon::start(story.folder.path());
    daemon.await_ready();
    let mut unrecorded = Vec::new();
    for _ in 0..freezes {
        story.let_pass(200..600);
        daemon.signal(Signal::STOP);
        // Longer than its requests have: their answers are there when it wakes.
        std::thread::sleep(FROZEN);
        unrecorded.push(story.waiting_and_taken());
        daemon.signal(Signal::CONT);
        let began = Instant::now();
        while daemon.status().is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not answer: {}", daemon.log());
        }
    }
    let acked = story.end(daemon);
    let books = Ledger { acked, hits: story.sink.hits(), unrecorded };
    let found = books.findings();
    println!(
        "{freezes} freezes of {FROZEN:?}, {} acked, {} deliveries, {} lost, {} duplicates, {} in flight, seed {}",
        books.acked.len(),
        found.deliveries,
        found.lost.len(),
        found.duplicates,
        found.bound,
        story.seed
    );
    assert_sound(&found);
    assert_eq!(found.duplicates, 0, "an answer that came during a freeze was not heard");
    assert!(books.acked.len() > freezes * 10, "only {} events: there was no load", books.acked.len());
}

impl Story {
    /// Of a daemon that stands still: the deliveries that the sink has taken and the journal calls waiting.
    fn waiting_and_taken(&self) -> BTreeSet<String> {
        let journal = open_journal(self.folder.path());
        let mut query = journal.prepare("SELECT seq FROM deliveries WHERE outcome = 'waiting'").unwrap();
        let waiting: Vec<i64> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        self.sink.took(&waiting)
    }
}
