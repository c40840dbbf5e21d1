//! The queue in front of the writer. It takes no notice of a command that it does not hurry for: while outcomes wait for
//! company, one more outcome wakes nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::writer::Command;
use crate::words::limits;

/// The end of whoever asks; cheap to clone.
#[derive(Clone)]
pub(super) struct Commands(Arc<Queue>);

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Commands")
    }
}

/// The writer's end. What is in the queue when it is dropped, or comes later, is dropped too.
pub(super) struct Todo(Arc<Queue>);

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    there: Condvar,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Command>,
    /// How many of them are no outcomes: somebody waits for those.
    hurried: usize,
    waits: Waits,
    gone: bool,
}

/// What the writer waits for.
#[derive(Clone, Copy, Default, PartialEq)]
enum Waits {
    /// It works.
    #[default]
    No,
    /// Anything.
    Any,
    /// More than a few outcomes.
    Company,
}

/// A queue, from both ends.
pub(super) fn queue() -> (Commands, Todo) {
    let queue = Arc::new(Queue::default());
    (Commands(queue.clone()), Todo(queue))
}

impl Commands {
    /// Adds a command. One for a writer that is gone is dropped.
    pub(super) fn send(&self, command: Command) {
        let mut state = self.0.state();
        if state.gone {
            drop(state);
            return drop(command);
        }
        state.hurried += usize::from(command.hurries());
        state.commands.push_back(command);
        if state.is_over() {
            state.waits = Waits::No;
            drop(state);
            self.0.there.notify_one();
        }
    }
}

impl Todo {
    /// Moves what is there to a batch, up to so many in all.
    pub(super) fn take(&self, batch: &mut Vec<Command>, most: usize) {
        let mut state = self.0.state();
        while batch.len() < most
            && let Some(command) = state.pop()
        {
            batch.push(command);
        }
    }

    /// Waits for a command, but not for ever.
    pub(super) fn next_before(&self, until: Instant) -> Option<Command> {
        self.wait(Waits::Any, until).pop()
    }

    /// Waits for anything but a few outcomes, but not for ever.
    pub(super) fn company(&self, until: Instant) {
        drop(self.wait(Waits::Company, until));
    }

    fn wait(&self, what: Waits, until: Instant) -> MutexGuard<'_, State> {
        let mut state = self.0.state();
        loop {
            state.waits = what;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.is_over() {
                state.waits = Waits::No;
                return state;
            }
            state = self.0.there.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn pop(&mut self) -> Option<Command> {
        let command = self.commands.pop_front()?;
        self.hurried -= usize::from(command.hurries());
        Some(command)
    }

    /// Whether what the writer waits for is there.
    fn is_over(&self) -> bool {
        match self.waits {
            Waits::No => false,
            Waits::Any => !self.commands.is_empty(),
            Waits::Company => self.hurried > 0 || self.commands.len() >= limits::OUTCOMES_AT_ONCE,
        }
    }
}

impl Drop for Todo {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.gone = true;
        let rest = std::mem::take(&mut state.commands);
        drop(state);
        // Outside of the lock: whoever hears of it may ask again.
        drop(rest);
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::edges::journal::sqlite::transaction::Settle;
    use crate::words::delivery::Outcome;

    fn settle(seq: i64) -> Command {
        let outcome = Outcome::Delivered;
        let (hook, along) = ("h".into(), Vec::new());
        let (attempt, order, carrier) = (None, None, None);
        let settle = Settle { seq, hook, attempt, attempts: 1, outcome, retried: false, order, carrier, along };
        Command::Settle { settle: Box::new(settle), then: Box::new(|_| {}) }
    }

    fn close() -> Command {
        Command::Close { answer: None }
    }

    /// How long the writer waits for company while this is done.
    fn waits(most: Duration, meanwhile: impl FnOnce(&Commands) + Send) -> (Duration, usize) {
        let (commands, todo) = queue();
        thread::scope(|scope| {
            let asked = commands.clone();
            scope.spawn(move || {
                while asked.0.state().waits == Waits::No {
                    thread::yield_now();
                }
                meanwhile(&asked);
            });
            let began = Instant::now();
            todo.company(began + most);
            let waited = began.elapsed();
            let mut batch = Vec::new();
            todo.take(&mut batch, usize::MAX);
            (waited, batch.len())
        })
    }

    #[test]
    fn a_few_outcomes_wait_and_anything_else_does_not() {
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(20));
        assert!(waits(long, |commands| commands.send(close())).0 < long);
        let many =
            |commands: &Commands| (0..limits::OUTCOMES_AT_ONCE as i64).for_each(|seq| commands.send(settle(seq)));
        assert!(waits(long, many).0 < long);
        let (waited, found) = waits(short, |commands| commands.send(settle(1)));
        assert!(waited >= short, "{waited:?}");
        assert!(found <= 1, "{found}");
    }

    #[test]
    fn commands_come_in_their_order_and_up_to_a_number() {
        let (commands, todo) = queue();
        (1..=5).for_each(|seq| commands.send(settle(seq)));
        let mut batch: Vec<_> = todo.next_before(Instant::now() + Duration::from_secs(60)).into_iter().collect();
        todo.take(&mut batch, 3);
        let last = todo.next_before(Instant::now());
        let seqs = batch.iter().chain(&last).map(|command| match command {
            Command::Settle { settle, .. } => settle.seq,
            _ => panic!("only outcomes were sent"),
        });
        assert_eq!(seqs.collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn what_nobody_will_do_is_dropped() {
        let (commands, todo) = queue();
        let (answer, mut asked) = tokio::sync::oneshot::channel();
        commands.send(Command::Hold { lane: "h".into(), hold: None, answer });
        drop(todo);
        assert!(asked.try_recv().is_err());
        let (answer, mut asked) = tokio::sync::oneshot::channel();
        commands.send(Command::Hold { lane: "h".into(), hold: None, answer });
        assert!(asked.try_recv().is_err(), "it was dropped at once");
    }
}
