//! Very many files: a daemon that starts does not wait until they are written down.

use super::*;
use postrider::words::limits;

#[tokio::test]
async fn what_is_good_is_written_down_beside_the_work() {
    let place = Place::new();
    for number in 0..=limits::SYNC_EACH {
        place.write(&format!("hooks.d/h{number}.yaml"), &hook(&format!("number {number}")));
    }
    let kept = place.paths.state.join("last-good/hooks");
    let mut keeper = place.keeper();
    let config = keeper.start().unwrap();
    assert_eq!((config.hooks.len(), config.problems.len()), (limits::SYNC_EACH + 1, 0));
    assert!(!kept.exists(), "nobody waits for it");

    let watched = Watched::new(keeper, config);
    // Answered after the first look, which comes first.
    assert_eq!(watched.reload().await.hooks, limits::SYNC_EACH + 1);
    watched.stop().await;
    assert_eq!(fs::read_dir(kept).unwrap().count(), limits::SYNC_EACH + 1);

    place.write("hooks.d/h0.yaml", "events: [");
    assert_eq!(descriptions(&place.load())["h0"], "number 0", "also after a restart");
}

#[tokio::test]
async fn a_folder_that_takes_nothing_is_a_problem_as_soon_as_it_is_tried() {
    let place = Place::new();
    for number in 0..=limits::SYNC_EACH {
        place.write(&format!("hooks.d/h{number}.yaml"), &hook("fine"));
    }
    fs::create_dir_all(&place.paths.state).unwrap();
    fs::write(place.paths.state.join("last-good"), "a file stands here").unwrap();
    let mut keeper = place.keeper();
    let config = keeper.start().unwrap();
    let mut watched = Watched::new(keeper, config);
    let told =
        |config: &Config| config.problems.iter().any(|it| it.what.starts_with("last good versions cannot be kept"));
    watched.until("the trouble is told", told).await;
    watched.stop().await;
}
