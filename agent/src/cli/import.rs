//! `piccolo import`: files of other tools become manifests, and nothing is lost silently.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{failure::Failure, local, output::Format, screen::Screen, written::Place};
use crate::compose::{self, Imported, Mistake, Outcome, Row, Source};

/// The names of compose files, best first.
const FILES: &[&str] = &["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// Files that compose would read as well.
const OVERRIDES: &[&str] =
    &["compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml"];

/// Turns files of other tools into manifests.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo import compose ~/immich\n  piccolo import compose ~/immich --dir /etc/piccolo"
)]
pub(super) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// Reads a compose file. Exits with 7 when something of it is in no manifest.
    Compose(Compose),
}

/// Reads a compose file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  piccolo import compose ~/immich\n  piccolo import compose ~/immich --dir /etc/piccolo"
)]
struct Compose {
    /// The file, its directory, or `-` for standard input.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Writes the manifests below this directory; prints them when left out.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Writes over manifests that are there.
    #[arg(long, requires = "dir")]
    force: bool,
    /// What the names begin with, the name of the project when left out; empty for none.
    #[arg(long)]
    name: Option<String>,
    /// A profile whose services shall run; `*` for all.
    #[arg(long)]
    profile: Vec<String>,
    /// A file of variables, `.env` beside the compose file when left out.
    #[arg(long)]
    env_file: Option<PathBuf>,
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(args: &Args, screen: &Screen) -> Result<u8, Failure> {
    let From::Compose(args) = &args.from;
    let file = find(&args.path)?;
    let text = local::read_text(&file)?;
    let directory = directory(&file)?;
    let variables = variables(args, &directory, screen)?;
    let read = |path: &str| local::read_text(&directory.join(path)).ok();
    let source = Source {
        text: &text,
        directory: &directory.to_string_lossy(),
        name: args.name.clone(),
        variables,
        profiles: args.profile.clone(),
        read: &read,
    };
    let mut imported = compose::import(&source).map_err(|mistakes| {
        let shown = if file == Path::new("-") { "<stdin>".into() } else { file.display().to_string() };
        misread(&mistakes, &shown, screen)
    })?;
    imported.report.rows.extend(overrides(&directory, &file));
    let Imported { manifests, report } = imported;
    Place { dir: args.dir.as_deref(), force: args.force, form: args.output }.show(&manifests, &report, screen)
}

fn find(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    FILES.iter().map(|name| path.join(name)).find(|file| file.is_file()).ok_or_else(|| {
        Failure::NotFound(format!(
            "there is no compose file in {}: it is called {}",
            path.display(),
            FILES.join(" or ")
        ))
    })
}

fn directory(file: &Path) -> Result<PathBuf, Failure> {
    let near = if file == Path::new("-") { Path::new("") } else { file.parent().unwrap_or(Path::new("")) };
    let near = if near.as_os_str().is_empty() { Path::new(".") } else { near };
    fs::canonicalize(near).map_err(|source| Failure::File { path: near.to_owned(), source })
}

/// Returns the variables: those of the shell win, as they do for compose.
fn variables(args: &Compose, directory: &Path, screen: &Screen) -> Result<BTreeMap<String, String>, Failure> {
    let usual = directory.join(".env");
    let text = match &args.env_file {
        Some(file) => local::read_text(file)?,
        None => match fs::read_to_string(&usual) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|source| Failure::File { path: usual.clone(), source })?,
        },
    };
    // What is not Unicode can't stand in a manifest.
    let unicode = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let shell: BTreeMap<_, _> = std::env::vars_os().filter_map(unicode).collect();
    let shown = args.env_file.as_deref().unwrap_or(&usual).display().to_string();
    let all = compose::read_env(&text, &shell).map_err(|mistakes| misread(&mistakes, &shown, screen))?;
    let file = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ok(file.chain(shell).collect())
}

fn misread(mistakes: &[Mistake], shown: &str, screen: &Screen) -> Failure {
    mistakes.iter().for_each(|it| screen.note(it.render(shown)));
    Failure::Misread(mistakes.len())
}

/// Speaks of files that compose would have read as well.
fn overrides(directory: &Path, file: &Path) -> Option<Row> {
    let found = OVERRIDES.iter().find(|name| directory.join(name).is_file() && file != Path::new("-"))?;
    let note = "it changes this file and is not read: import what `docker compose config` prints".to_owned();
    let (subject, key) = ("project".to_owned(), (*found).to_owned());
    Some(Row { subject, key, outcome: Outcome::Unsupported, note })
}
