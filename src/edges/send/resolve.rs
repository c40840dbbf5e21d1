//! From a name to addresses, by the system's own resolver, so that /etc/hosts, nsswitch and split DNS count.
//!
//! It blocks a thread for ten seconds where DNS is dead and cannot be called off, so few names are looked up at once, and
//! names that are lost must not hold up the others:
//!
//! ```text
//! one lookup per name: whoever asks meanwhile waits for the same answer
//! found last time           -> LOOKUPS / 2 threads
//! nobody knows yet          -> LOOKUPS / 4 threads
//! not found, or not in time -> LOOKUPS / 4 threads
//! a lookup that takes longer than LOOKUP_SLOW moves to the last of these as soon as there is room
//! ```

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::words::limits;

/// Addresses, or the resolver's words.
type Answer = Result<Vec<IpAddr>, String>;
type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Looks names up. Cheap to clone.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Inner>);

struct Inner {
    lookup: Box<Lookup>,
    rooms: [Arc<Semaphore>; 3],
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    flights: HashMap<String, watch::Receiver<Option<Answer>>>,
    standings: HashMap<String, Standing>,
}

/// What is known of a name, and which room it waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Found,
    Unknown,
    Lost,
}

impl Resolver {
    /// The system's resolver.
    pub(super) fn system() -> Self {
        let any_port = 0;
        Self::by(move |name| Ok((name, any_port).to_socket_addrs()?.map(|socket| socket.ip()).collect()))
    }

    fn by(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        let quarter = limits::LOOKUPS / 4;
        let rooms = [limits::LOOKUPS - 2 * quarter, quarter, quarter].map(|room| Arc::new(Semaphore::new(room)));
        Self(Arc::new(Inner { lookup: Box::new(lookup), rooms, names: Mutex::default() }))
    }

    /// The addresses of a name. Whoever stops waiting leaves the lookup to the next one who asks.
    pub(super) async fn resolve(&self, name: &str) -> Answer {
        if let Ok(ip) = name.parse::<IpAddr>() {
            return Ok(vec![ip]);
        }
        let mut flight = self.flight(name);
        let answer = flight.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| Err("the lookup broke down".to_owned()))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lookup of a name that is under way, or a new one.
    fn flight(&self, name: &str) -> watch::Receiver<Option<Answer>> {
        let mut names = self.names();
        if let Some(flight) = names.flights.get(name) {
            return flight.clone();
        }
        let standing = names.standings.get(name).copied().unwrap_or(Standing::Unknown);
        let (tell, flight) = watch::channel(None);
        names.flights.insert(name.to_owned(), flight.clone());
        drop(names);
        let (resolver, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let answer = resolver.fly(&name, standing).await;
            let standing = if answer.is_ok() { Standing::Found } else { Standing::Lost };
            resolver.note(&name, standing);
            resolver.names().flights.remove(&name);
            tell.send_replace(Some(answer));
        });
        flight
    }

    fn note(&self, name: &str, standing: Standing) {
        let mut names = self.names();
        if names.standings.len() >= limits::RECEIVERS {
            // Only a hook whose URL names hosts without end gets here; the others are known again after their next lookup.
            names.standings.clear();
        }
        names.standings.insert(name.to_owned(), standing);
    }

    /// One lookup. Its room is taken until the thread is free again, also when nobody waits any more.
    async fn fly(&self, name: &str, standing: Standing) -> Answer {
        let closed = |error: tokio::sync::AcquireError| error.to_string();
        let room = self.0.rooms[standing as usize].clone();
        let mut place = room.acquire_owned().await.map_err(closed)?;
        let (resolver, owned) = (self.clone(), name.to_owned());
        let mut thread = tokio::task::spawn_blocking(move || (resolver.0.lookup)(&owned));
        let found = match timeout(limits::LOOKUP_SLOW, &mut thread).await {
            Ok(found) => found,
            Err(_) => {
                self.note(name, Standing::Lost);
                let last = self.0.rooms[Standing::Lost as usize].clone();
                tokio::select! {
                    found = &mut thread => found,
                    moved = last.acquire_owned(), if standing != Standing::Lost => {
                        place = moved.map_err(closed)?;
                        thread.await
                    }
                }
            }
        };
        drop(place);
        match found {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(words(&error)),
            Err(broken) => Err(broken.to_string()),
        }
    }
}

/// The system's words, plain.
fn words(error: &io::Error) -> String {
    let text = super::dial::plain(error);
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn the_systems_words_are_plain() {
        let error = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(words(&error), "name or service not known");
    }

    /// A resolver in which names that begin with `dead` block until they are let go, and how many do.
    fn half_dead() -> (Resolver, Arc<AtomicUsize>, mpsc::Sender<()>) {
        let (let_go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let blocked = Arc::new(AtomicUsize::new(0));
        let counted = blocked.clone();
        let resolver = Resolver::by(move |name| {
            if name.starts_with("dead") {
                counted.fetch_add(1, Ordering::SeqCst);
                // Whoever lets go drops the other end: then all of them end.
                let _ended = gone.lock().expect("no panic").recv();
                return Err(io::Error::other("no answer"));
            }
            Ok(vec![HOME])
        });
        (resolver, blocked, let_go)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn dead_names_hold_up_neither_known_names_nor_new_ones() {
        let (resolver, blocked, let_go) = half_dead();
        assert_eq!(resolver.resolve("home").await, Ok(vec![HOME]));
        let lost: Vec<_> = (0..6)
            .map(|number| {
                let resolver = resolver.clone();
                tokio::spawn(async move { resolver.resolve(&format!("dead{number}")).await })
            })
            .collect();
        while blocked.load(Ordering::SeqCst) < limits::LOOKUPS / 4 {
            tokio::task::yield_now().await;
        }
        // All threads for new names are taken. One that was found before has its own.
        let soon = Duration::from_secs(5);
        assert_eq!(timeout(soon, resolver.resolve("home")).await, Ok(Ok(vec![HOME])));
        // A new one gets its turn when the dead ones have moved on.
        assert_eq!(timeout(limits::LOOKUP_SLOW + soon, resolver.resolve("new")).await, Ok(Ok(vec![HOME])));
        drop(let_go);
        for one in lost {
            assert_eq!(one.await.expect("no panic"), Err("no answer".to_owned()));
        }
        assert_eq!(blocked.load(Ordering::SeqCst), 6);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_name_is_looked_up_once_however_many_ask() {
        let (resolver, blocked, let_go) = half_dead();
        let asking: Vec<_> = (0..100)
            .map(|_| {
                let resolver = resolver.clone();
                tokio::spawn(async move { resolver.resolve("dead").await })
            })
            .collect();
        while blocked.load(Ordering::SeqCst) < 1 || asking.iter().any(tokio::task::JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(blocked.load(Ordering::SeqCst), 1);
        drop(let_go);
        for one in asking {
            assert_eq!(one.await.expect("no panic"), Err("no answer".to_owned()));
        }
        assert_eq!(resolver.names().flights.len(), 0);
        assert_eq!(resolver.names().standings["dead"], Standing::Lost);
    }
}
