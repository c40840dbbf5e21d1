//! Makes a lane for each hook that has something to do, and lets it go when it has not.
//!
//! There may be ten thousand hooks. The journal calls for a lane when something waits that nobody attends to: at the
//! start for whatever an earlier life left, later for what comes.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::desk::Desk;
use crate::engine::lane::Lane;
use crate::engine::recall::recall;
use crate::rules::config::Config;
use crate::rules::hook::pool;

/// Until the stop signal, and until what is in the air has landed.
pub async fn run(desk: Arc<Desk>, config: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
    let now = config.borrow().clone();
    if let Err(error) = recall(&desk, &now).await {
        tracing::error!(%error, "what the receivers were sent before the start is not known; they may be used too fast");
    }
    let begin = |lanes: &mut JoinSet<Arc<str>>, name: Arc<str>| {
        let lane = Box::new(Lane::new(name.clone(), desk.clone(), config.clone(), stop.clone()));
        lanes.spawn(async {
            lane.run().await;
            name
        });
    };
    let (mut lanes, mut running, mut again) = (JoinSet::new(), HashSet::new(), HashSet::new());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            called = desk.journal.bells().called() => for name in called {
                // A robot that is held is looked after by its hook's lane.
                let name: Arc<str> = pool::hook_of(&name).map_or(name.clone(), Arc::from);
                if running.insert(name.clone()) {
                    begin(&mut lanes, name);
                } else {
                    again.insert(name);
                }
            },
            // A lane that panicked stays among those that run: that it does not look any more is noticed.
            Some(Ok(name)) = lanes.join_next() => {
                running.remove(&name);
                if again.remove(&name) {
                    running.insert(name.clone());
                    begin(&mut lanes, name);
                }
            }
        }
    }
    while lanes.join_next().await.is_some() {}
}
