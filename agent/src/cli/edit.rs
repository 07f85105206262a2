//! `piccolo edit`: a manifest in an editor, safe against changes by others meanwhile.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use hyper::{Method, header};
use piccolo_schema::{Kind, parse};

use super::{
    client::Client,
    failure::Failure,
    reach::{Changed, Reach},
    screen::Screen,
    subject,
};

/// Opens a manifest in `$VISUAL` or `$EDITOR` and applies it when it is saved.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  piccolo edit container web\n  EDITOR=nano piccolo edit ct/web")]
pub(super) struct Args {
    /// `KIND NAME` or `KIND/NAME`.
    #[arg(required = true)]
    what: Vec<String>,
    #[command(flatten)]
    reach: Reach,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let (kind, name) = subject::subject(&args.what)?;
    let path = subject::path(kind, &name);
    let accept = [(header::ACCEPT, "application/toml")];
    let answer = client.send(Method::GET, &path, &accept, "").await?;
    let etag = answer.etag.clone().unwrap_or_default();
    let draft = draft(&name, &answer.body)?;
    edit(&draft).await?;
    let text = fs::read_to_string(&draft).map_err(|source| Failure::File { path: draft.clone(), source })?;
    if text.as_bytes() == answer.body.as_ref() {
        discard(&draft);
        return screen.line(format!("{}/{name} unchanged", kind.singular()));
    }
    if let Err(rejected) = parse::parse(&text) {
        rejected.diagnostics.iter().for_each(|it| screen.note(it.render(&draft.display().to_string())));
        screen.note(format!("your text is kept: mend it, then `piccolo apply -f {}`", draft.display()));
        return Err(Failure::Invalid { mistakes: rejected.diagnostics.len(), files: 1 });
    }
    let headers = [(header::CONTENT_TYPE, "application/toml"), (header::IF_MATCH, etag.as_str())];
    match client.send(Method::PUT, &path, &headers, text.clone()).await {
        Ok(answer) => {
            discard(&draft);
            screen.warn(&answer.warnings);
            screen.line(format!("{}/{name} changed", kind.singular()))?;
            let mut changed = Changed::default();
            if kind == Kind::Link {
                changed.link(&name, Some(&text), &answer);
            }
            args.reach.confirm(&changed, client, screen).await.map(drop)
        }
        Err(Failure::Refused(problem)) if problem["status"] == 412 => Err(Failure::Overtaken(draft)),
        Err(failure) => {
            screen.note(format!("your text is kept in {}", draft.display()));
            Err(failure)
        }
    }
}

fn draft(name: &str, text: &[u8]) -> Result<PathBuf, Failure> {
    let path = std::env::temp_dir().join(format!("piccolo-{name}-{:08x}.toml", fastrand::u32(..)));
    // New and ours alone: a manifest may hold what not everybody should read.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    match file.and_then(|mut file| file.write_all(text)) {
        Ok(()) => Ok(path),
        Err(source) => Err(Failure::File { path, source }),
    }
}

fn discard(draft: &Path) {
    // What is left in the directory for temporary files harms nobody.
    let _ = fs::remove_file(draft);
}

/// Runs the person's editor through a shell, as `$EDITOR` may hold options.
#[allow(clippy::disallowed_methods, reason = "the editor is a program of the person, on the person's side")]
async fn edit(path: &Path) -> Result<(), Failure> {
    let chosen = ["VISUAL", "EDITOR"].iter().find_map(|key| std::env::var(key).ok().filter(|it| !it.is_empty()));
    let editor = chosen.unwrap_or_else(|| "vi".to_owned());
    let script = format!("{editor} \"$1\"");
    let path = path.to_owned();
    let run = move || std::process::Command::new("sh").args(["-c", &script, "sh"]).arg(path).status();
    match tokio::task::spawn_blocking(run).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        _ => Err(Failure::Editor(editor)),
    }
}
