//! Threads that read, each with a connection of its own, so that no reader waits for a commit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{Shared, health, promise, schema};
use crate::edges::journal::{JournalError, Pending};

/// Does its work, and says whether the connection is sound.
type Job = Box<dyn FnOnce(Result<&Connection, JournalError>) -> bool + Send>;

/// Where to ask.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    path: PathBuf,
    shared: Arc<Shared>,
    jobs: Sender<Option<Job>>,
}

impl Reader {
    /// Starts the thread; a failing first look is an error.
    pub(super) fn start(
        name: &str,
        path: PathBuf,
        shared: Arc<Shared>,
    ) -> Result<(Self, JoinHandle<()>), JournalError> {
        let conn = schema::reader(&path)?;
        let (jobs, todo) = channel();
        let reader = Self { path: path.clone(), shared, jobs };
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread
            .spawn(move || work(&path, conn, &todo))
            .map_err(|err| JournalError::Storage(format!("cannot start a thread: {err}")))?;
        Ok((reader, thread))
    }

    /// Has something read. It is read even when nobody waits for the answer.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (answer, pending) = oneshot::channel();
        let (path, shared) = (self.path.clone(), self.shared.clone());
        let job: Job = Box::new(move |conn| {
            let result = conn.and_then(|conn| {
                question(conn).map_err(|err| {
                    let error = schema::storage(&path, &err);
                    if health::is_ominous(&err) {
                        shared.doubt(error.clone(), false);
                    }
                    error
                })
            });
            let sound = result.is_ok();
            let _ = answer.send(result);
            sound
        });
        // Whoever cannot be reached drops the answer, which reads as `Closed`.
        let _ = self.jobs.send(Some(job));
        promise(pending)
    }

    /// Ends the thread after what it has been asked already.
    pub(super) fn stop(&self) {
        let _ = self.jobs.send(None);
    }
}

fn work(path: &std::path::Path, conn: Connection, todo: &Receiver<Option<Job>>) {
    let mut conn = Some(conn);
    while let Ok(Some(job)) = todo.recv() {
        let opened = match conn.take() {
            Some(conn) => Ok(conn),
            None => schema::reader(path),
        };
        match opened {
            Ok(open) => {
                if job(Ok(&open)) {
                    conn = Some(open);
                }
            }
            Err(err) => drop(job(Err(err))),
        }
    }
}
