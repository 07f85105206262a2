//! An `Install` where there is nothing to be installed: this machine runs from no stick. On a stick no story uses the kind:
//! those of the image install by `piccolo install` and by a file on the stick.

use anyhow::ensure;
use piccolo_e2e::{Engine, Machine, machine::story};

const PATH: &str = "/apis/piccolo.os/v1alpha1/installs/install";

#[tokio::test]
async fn an_install_on_a_system_of_others_does_nothing_and_says_so() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let mut machine = Machine::new()?;
        machine.write("install.toml", include_str!("../../../examples/install.toml"))?;
        machine.start().await?;
        let ready = async || {
            let found = machine.get(PATH).await.unwrap_or_default();
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.into_iter().find(|it| it["type"] == "Ready").unwrap_or_default()
        };
        machine.until("the installation waits", async || ready().await["reason"] == "NotOnAStick").await?;
        let said = ready().await;
        ensure!(said["status"] == "False", "{said}");
        ensure!(said["message"].as_str().is_some_and(|it| it.contains("does not run from a stick")), "{said}");
        Ok(())
    })
    .await
}
