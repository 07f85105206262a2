//! The lines by which a guest is heard.

use std::{fs, io::Write, path::Path};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::watch,
};

/// Listens at a socket, to which the emulator connects before it starts.
pub(super) fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    // What the guest before it left.
    drop(fs::remove_file(path));
    UnixListener::bind(path).with_context(|| format!("can't listen at {}", path.display()))
}

/// What a guest says over its serial line, all of it, and what is typed there. It is kept in a file as well.
#[derive(Debug)]
pub(super) struct Serial {
    said: watch::Receiver<String>,
    keys: OwnedWriteHalf,
}

impl Serial {
    /// Follows the line until its end.
    pub(super) fn follow(line: UnixStream, log: &Path) -> anyhow::Result<Self> {
        let mut log = fs::File::options().create(true).append(true).open(log)?;
        let (mut line, keys) = line.into_split();
        let (heard, said) = watch::channel(String::new());
        tokio::spawn(async move {
            let mut bytes = vec![0; 4096];
            // The line ends with the emulator.
            while let Ok(length @ 1..) = line.read(&mut bytes).await {
                let bytes = &bytes[..length];
                // A log that can't be written must not stop the story.
                drop(log.write_all(bytes));
                heard.send_modify(|it| it.push_str(&String::from_utf8_lossy(bytes)));
            }
        });
        Ok(Self { said, keys })
    }

    pub(super) async fn type_line(&mut self, text: &str) -> anyhow::Result<()> {
        self.press(&format!("{text}\r")).await
    }

    pub(super) async fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.keys.write_all(keys.as_bytes()).await?)
    }

    pub(super) async fn until<T>(&mut self, mut find: impl FnMut(&str) -> Option<T> + Send) -> anyhow::Result<T> {
        loop {
            let found = find(&self.said.borrow_and_update());
            if let Some(found) = found {
                return Ok(found);
            }
            if self.said.changed().await.is_err() {
                let said = self.said.borrow();
                let last: Vec<_> = said.lines().rev().take(20).collect();
                bail!(
                    "the machine went off; the last it said:\n{}",
                    last.into_iter().rev().collect::<Vec<_>>().join("\n")
                )
            }
        }
    }
}
