use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use tokio::{fs, io::AsyncWriteExt};

use super::{
    super::{
        client::{Client, Flow},
        failure::Failure,
        screen::Screen,
        subject,
        top::size,
    },
    gauge::Gauge,
    import::PATIENCE,
};

/// Writes an image into a file, as an OCI archive that older engines load as well.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo image export app app.tar\n  piccolo image export nginx:1.27 - | ssh other piccolo image import -"
)]
pub(super) struct Args {
    /// The name of an Image manifest, or an image as the engine lists it.
    name: String,
    /// The file, which is there once it is whole; `-` for standard output.
    file: PathBuf,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let name = args.name.strip_prefix("image/").unwrap_or(&args.name);
    let to_pipe = args.file == Path::new("-");
    if to_pipe && io::stdout().is_terminal() {
        return Err(Failure::Usage("an archive is no text; give a file, or lead it into a pipe".to_owned()));
    }
    let path = format!("/images/export?name={}", subject::escape(name));
    let mut flow = client.patient(PATIENCE).follow(&path, &[]).await?;
    let digest = flow.digest.clone().unwrap_or_default();
    let written = if to_pipe { pass(&mut flow, screen).await } else { save(&mut flow, &args.file, screen).await };
    screen.redraw("");
    screen.note(format!("{name} exported, {}, {digest}", size(written?)));
    Ok(())
}

async fn pass(flow: &mut Flow, screen: &Screen) -> Result<u64, Failure> {
    let mut count = 0;
    while let Some(bytes) = flow.chunk().await? {
        screen.data(&bytes)?;
        count += bytes.len() as u64;
    }
    Ok(count)
}

/// Writes beside the file, so that half an archive is never taken for a whole one.
async fn save(flow: &mut Flow, file: &Path, screen: &Screen) -> Result<u64, Failure> {
    let mut beside = OsString::from(file);
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let failed = |source| Failure::File { path: file.to_owned(), source };
    let saved = async {
        let mut out = fs::File::create(&beside).await.map_err(failed)?;
        let (mut gauge, mut count) = (Gauge::new("receiving", flow.size), 0);
        while let Some(bytes) = flow.chunk().await? {
            out.write_all(&bytes).await.map_err(failed)?;
            gauge.pass(bytes.len(), screen);
            count += bytes.len() as u64;
        }
        out.sync_all().await.map_err(failed)?;
        fs::rename(&beside, file).await.map_err(failed)?;
        Ok(count)
    };
    let saved = saved.await;
    if saved.is_err() {
        // What is left of it is of no use to anybody.
        drop(fs::remove_file(&beside).await);
    }
    saved
}
