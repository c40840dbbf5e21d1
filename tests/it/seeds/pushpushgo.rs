//! What PushPushGo can send. Its signature is in the tests of signatures.

use super::*;

#[test]
fn pp1_a_subscriber_with_and_without_an_id_of_ours() {
    let hook = &examples()["pushpushgo"];
    let with = render(hook, &sample("pushpushgo-subscribe"));
    let without = render(hook, &sample("pushpushgo-unsubscribe"));
    assert_eq!(with.method, "POST");
    assert_eq!(
        with.body,
        r#"{"projectId":"5f3c0a1b2c3d4e5f60718293","customId":"user-42","ppgId":"6177f1b2a1d2c3e4f5a6b7c8"}"#
    );
    assert_eq!(without.body, r#"{"projectId":"5f3c0a1b2c3d4e5f60718293","ppgId":"6177f1b2a1d2c3e4f5a6b7c8"}"#);
}

#[test]
fn pp5_a_hook_chooses_its_events() {
    let only = hook("events: [pushpushgo.subscribe]\nplatform: webhook\noptions: {url: http://127.0.0.1:1/x}\n");
    let mut event = sample("pushpushgo-subscribe");
    assert_eq!(only.wants(&event), Err(NotWanted::Type));
    event.kind = "pushpushgo.subscribe".to_owned();
    assert_eq!(only.wants(&event), Ok(()));
    assert_eq!(examples()["pushpushgo"].wants(&event), Ok(()));
}
