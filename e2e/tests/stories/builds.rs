//! Images that are built on the machine, from a directory and from a repository.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use piccolo_e2e::{Engine, Machine, container, image, machine::story};
use tempfile::TempDir;

use super::images::{SLEEPS, reason, status};

#[tokio::test]
async fn an_image_is_built_from_a_directory_and_built_anew() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let context = TempDir::with_prefix("piccolo-context-")?;
        let path = context.path();
        containerfile(path, "RUN test \"$(cat /word)\" = one && ! test -e /notes")?;
        fs::write(path.join("word"), "one")?;
        fs::write(path.join("notes"), "not for the image")?;
        fs::write(path.join(".dockerignore"), "notes\n.dockerignore\n")?;
        let mut machine = Machine::new()?;
        machine.write("app.toml", &declared(&format!("context = \"{}\"", path.display())))?;
        machine.write("web.toml", &container("web", "app:1", SLEEPS))?;
        machine.start().await?;
        machine.until_settled().await?;
        let (first, from) = (built(&engine).await?, status(&machine).await["builtFrom"].clone());
        let web = engine.inspect("web").await.context("web")?;

        // Neither what is left out nor a file that is only touched asks for another image.
        fs::write(path.join("notes"), "others")?;
        fs::write(path.join("word"), "one")?;
        // A failure says at which step, and what was said there.
        fs::write(path.join("word"), "two")?;
        machine.until("the build fails", async || reason(&machine).await == "BuildFailed").await?;
        let told = status(&machine).await["conditions"][0]["message"].to_string();
        ensure!(told.contains("Step 3 of ") && told.contains("RUN echo"), "{told}");
        ensure!(told.contains("it said: the word is two"), "{told}");
        ensure!(built(&engine).await? == first);

        containerfile(path, "RUN test \"$(cat /word)\" = two")?;
        machine.until("another image", async || built(&engine).await.is_ok_and(|it| it != first)).await?;
        machine.until_settled().await?;
        ensure!(status(&machine).await["builtFrom"] != from);
        // The container is made anew from it, and once.
        let second = built(&engine).await?;
        machine
            .until("it runs the new image", async || runs(&engine, "web").await.is_ok_and(|it| it == second))
            .await?;
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await.context("web")? != web);
        // Who wants to be asked is asked.
        machine
            .write("web.toml", &container("web", "app:1", &format!("{SLEEPS}\nupdate = {{ policy = \"manual\" }}")))?;
        machine.until_settled().await?;
        let web = engine.inspect("web").await.context("web")?;
        containerfile(path, "RUN test \"$(cat /word)\" = two && true")?;
        machine.until("it is told", async || machine.status("web").await.to_string().contains("MadeAnew")).await?;
        machine.until_settled().await?;
        ensure!(engine.inspect("web").await.context("web")? == web);

        // A directory that is gone is told, and changes nothing.
        let second = built(&engine).await?;
        let aside = path.with_extension("aside");
        fs::rename(path, &aside)?;
        machine.until("the directory is missed", async || is_missed(&machine).await).await?;
        ensure!(reason(&machine).await == "Present" && built(&engine).await? == second);
        fs::rename(&aside, path)?;
        let before = journal(&machine).await?;
        machine.stop().await?;
        machine.start().await?;
        machine.until_settled().await?;
        machine.until("the directory is seen", async || !is_missed(&machine).await).await?;
        machine.until_settled().await?;
        let after = journal(&machine).await?;
        ensure!(before == after, "a restart builds: {before} {after}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_image_is_built_from_a_branch_that_moves() -> anyhow::Result<()> {
    let engine = Engine::connect().await?;
    story(&engine, async {
        let room = TempDir::with_prefix("piccolo-repository-")?;
        let (path, server) = (room.path(), room.path().join("server"));
        fs::create_dir(&server)?;
        containerfile(&server, "RUN test \"$(cat /word)\" = one && ! test -e /notes")?;
        fs::write(server.join("word"), "one")?;
        fs::write(server.join("notes"), "")?;
        fs::write(server.join(".containerignore"), "notes")?;
        // A link is taken as a link.
        std::os::unix::fs::symlink("/etc/passwd", server.join("link"))?;
        git(path, &["init", "--quiet", "--initial-branch=main", "."])?;
        let first = commit(path, "one")?;
        let mut machine = Machine::new()?;
        let source = format!("git = {{ url = \"file://{}\", ref = \"main\", path = \"server\" }}", path.display());
        machine.write("app.toml", &declared(&source))?;
        machine.start().await?;
        machine.until("it is built", async || status(&machine).await["builtFrom"] == first).await?;
        machine.until_settled().await?;
        let image = built(&engine).await?;
        ensure!(!machine.state().join("builds/app").exists(), "the repository is left");

        fs::write(server.join("word"), "two")?;
        containerfile(&server, "RUN test \"$(cat /word)\" = two")?;
        let second = commit(path, "two")?;
        // A repository is asked every five minutes, and by a daemon that has just been started.
        machine.stop().await?;
        machine.start().await?;
        machine.until("it is built anew", async || status(&machine).await["builtFrom"] == second).await?;
        ensure!(built(&engine).await? != image);

        // What is not there is told in words of git's own, and the image that is here stays.
        fs::rename(path.join(".git"), path.join("gone"))?;
        machine.stop().await?;
        machine.start().await?;
        machine.until("the repository is missed", async || is_missed(&machine).await).await?;
        let told = status(&machine).await["conditions"].to_string();
        ensure!(told.contains("not appear to be a git repository"), "{told}");
        ensure!(reason(&machine).await == "Present");
        Ok(())
    })
    .await
}

fn declared(build: &str) -> String {
    format!(
        "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"Image\"\nmetadata.name = \"app\"\n\n[spec]\nreference = \"app:1\"\n\n[spec.build]\n{build}\nargs = {{ MARK = \"it's \\\"so\\\" $HOME\" }}\n"
    )
}

fn containerfile(directory: &Path, check: &str) -> anyhow::Result<()> {
    let text = format!(
        "FROM {}\nCOPY . /\nRUN echo the word is $(cat /word) && {}\nARG MARK\nRUN test \"$MARK\" = \"it's \\\"so\\\" \\$HOME\"\n",
        image("1")?,
        check.trim_start_matches("RUN ")
    );
    Ok(fs::write(directory.join("Containerfile"), text)?)
}

/// Returns true if it is told that what the image is built from can't be seen.
async fn is_missed(machine: &Machine) -> bool {
    status(machine).await["conditions"].to_string().contains("SourceUnseen")
}

/// Returns the identifier of the image.
async fn built(engine: &Engine) -> anyhow::Result<String> {
    engine.0.inspect_image("app:1").await?.id.context("no identifier")
}

/// Returns the identifier of the image that a container was made from.
async fn runs(engine: &Engine, name: &str) -> anyhow::Result<String> {
    engine.0.inspect_container(name, None).await?.image.context("no identifier")
}

/// Counts the builds that the journal tells of.
async fn journal(machine: &Machine) -> anyhow::Result<usize> {
    Ok(machine.get("/journal?limit=1000").await?.to_string().matches("build app:1 from").count())
}

fn commit(directory: &Path, message: &str) -> anyhow::Result<String> {
    git(directory, &["add", "--all"])?;
    git(directory, &["-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--message", message])?;
    git(directory, &["rev-parse", "HEAD"])
}

fn git(directory: &Path, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").args(words).current_dir(directory).output().context("git")?;
    ensure!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
