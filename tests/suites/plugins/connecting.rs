//! Plugins at the door.

use crate::common::shared;

use super::{PATIENT, plugin};

/// A plugin refuses a client, and gives others settings as if they had come with the login.
#[tokio::test]
async fn clients_are_judged_at_login() {
    let stage = shared().await;
    let config = r#"{"refuse_users": {"bob": "no bobs"}, "settings": {"app.tenant": "it's 7", "application_name": "renamed"}}"#;
    let proxy = stage.proxy(&plugin(stage, config, PATIENT)).await;
    let mut wire = proxy.wire().await;
    assert_eq!(wire.value("SELECT current_setting('app.tenant')").await, "it's 7");
    assert_eq!(wire.value("SHOW application_name").await, "renamed");
    wire.run("RESET ALL").await;
    assert_eq!(wire.value("SELECT current_setting('app.tenant')").await, "it's 7");
    let refused = proxy.try_client_as("bob", pointsman_tests::DATABASE).await.expect_err("refused");
    let told = refused.as_db_error().expect("by an error");
    assert_eq!((told.code().code(), told.message()), ("28000", "no bobs"));
}

/// One that fails lets nobody in, unless its failures are open.
#[tokio::test]
async fn a_failure_at_the_door() {
    let stage = shared().await;
    let config = r#"{"fault": {"on-connect": "trap"}}"#;
    let closed = pointsman_tests::Proxy::start_unready(
        stage,
        &plugin(stage, config, "    limits: {failures: 1000}\n"),
    )
    .await;
    let refused = closed.try_client_as("app", pointsman_tests::DATABASE).await.expect_err("refused");
    assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("58000"));
    let open = stage.proxy(&plugin(stage, config, "    on_failure: {on-connect: open}\n")).await;
    assert_eq!(open.wire().await.value("SELECT 1").await, "1");
}
