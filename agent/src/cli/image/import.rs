use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use serde::Deserialize;
use tokio::{fs, sync::mpsc};
use tokio_util::io::ReaderStream;

use super::{
    super::{client::Client, failure::Failure, screen::Screen, subject},
    gauge::Gauge,
};
use crate::archive::Arrived;

/// How long the daemon may take with an archive before it answers.
pub(super) const PATIENCE: Duration = Duration::from_secs(2 * 3600);
/// How much is sent at a time.
const CHUNK: usize = 256 << 10;
/// How many parts of a pipe may wait.
const WAITING: usize = 4;
/// How many words on what was sent may wait.
const WORDS: usize = 64;

/// Takes in the images of an archive: OCI, or what `docker save` writes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo image import app.tar\n  piccolo image import - --as app:2 < app.tar")]
pub(super) struct Args {
    /// The file, on this side; `-` for standard input.
    file: PathBuf,
    /// What the image is called, whatever its name in the archive is.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    images: Vec<Arrived>,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let (bytes, size) = open(&args.file).await?;
    let mut path = "/images/import".to_owned();
    path.extend(args.name.iter().map(|name| format!("?as={}", subject::escape(name))));
    let (tell, mut told) = mpsc::channel(WORDS);
    let bytes = bytes.inspect(move |part| {
        // Who looks at the bar may be slower than the bytes are.
        let _ = tell.try_send(part.as_ref().map_or(0, Bytes::len));
    });
    let client = client.patient(PATIENCE);
    let show = async {
        let mut gauge = Gauge::new("sending", size);
        while let Some(count) = told.recv().await {
            gauge.pass(count, screen);
        }
        screen.redraw("loading");
    };
    let (answer, ()) = tokio::join!(client.upload(&path, size, bytes), show);
    screen.redraw("");
    let answer = answer?;
    let garbled = |error: serde_json::Error| Failure::Garbled { host: client.host(), cause: error.to_string() };
    let Answer { images } = serde_json::from_value(client.json(&answer)?).map_err(garbled)?;
    images.iter().try_for_each(|it| {
        let digest = it.digest.as_deref().unwrap_or(&it.image_id);
        screen.line(format!("{} imported, {digest}", it.name))
    })
}

/// What comes of a file, and how much that will be.
async fn open(path: &Path) -> Result<(BoxStream<'static, io::Result<Bytes>>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((piped().boxed(), None));
    }
    let failed = |source| Failure::File { path: path.to_owned(), source };
    let file = fs::File::open(path).await.map_err(failed)?;
    let size = file.metadata().await.map_err(failed)?.len();
    Ok((ReaderStream::with_capacity(file, CHUNK).boxed(), Some(size)))
}

/// What comes through the pipe. A thread of its own reads it, which does not keep the command from its end.
fn piped() -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (to, from) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        loop {
            let part = match io::stdin().lock().read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) => return,
                Ok(length) => Ok(Bytes::copy_from_slice(&chunk[..length])),
                Err(error) => Err(error),
            };
            let failed = part.is_err();
            if to.blocking_send(part).is_err() || failed {
                return;
            }
        }
    });
    stream::unfold(from, async |mut from: mpsc::Receiver<_>| from.recv().await.map(|part| (part, from)))
}
