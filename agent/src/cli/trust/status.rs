//! What keys rest on.

use serde_json::Value;

use crate::cli::{
    client::Client,
    failure::Failure,
    output::{self, Format},
    screen::Screen,
    table::Table,
};

/// Shows what keys rest on, and what TPM there is.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(args: &Args, client: &Client, screen: &Screen) -> Result<(), Failure> {
    let trust = client.get("/trust").await?;
    if output::document(screen, args.output, &trust)? {
        return Ok(());
    }
    screen.line(format!("{}: {}", text(&trust["level"]), text(&trust["message"])))?;
    let all = trust["conditions"].as_array().into_iter().flatten();
    for told in all.filter(|it| it["type"] != "TrustLevel") {
        let about = if told["reason"] == "KeysShut" { "start" } else { "state" };
        screen.line(format!("{about}: {}", text(&told["message"])))?;
    }
    let mut keys = Table::new(["key", "form", "file"]);
    for key in trust["keys"].as_array().into_iter().flatten() {
        keys.row([text(&key["name"]), text(&key["form"]), text(&key["path"])]);
    }
    let mut lines = keys.lines(screen.width()).into_iter().chain(state(&trust)).chain(chip(&trust));
    lines.try_for_each(|line| screen.line(line))
}

/// Says what opens the system's own disk, where that is encrypted.
fn state(trust: &Value) -> Option<String> {
    let state = trust["state"].as_object()?;
    let keys: Vec<_> = state["keys"].as_array()?.iter().map(text).collect();
    let proved = match state.get("recoveryProved") {
        Some(when) => format!("; recovery key typed {}", text(when)),
        None => String::new(),
    };
    Some(format!("state   /dev/{}, opened by {}{proved}", text(&state["device"]), keys.join(", ")))
}

/// Says what chip there is.
fn chip(trust: &Value) -> Vec<String> {
    if let Some(trouble) = trust["trouble"].as_str() {
        return vec![format!("tpm     {trouble}")];
    }
    let tpm = &trust["tpm"];
    if tpm.is_null() {
        return Vec::new();
    }
    let certificate = tpm["certificate"].as_str().map_or_else(|| "none".to_owned(), str::to_owned);
    let vouched = match text(&trust["maker"]["message"]) {
        none if none.is_empty() => none,
        words => format!(" ({words})"),
    };
    let banks = tpm["banks"].as_object().into_iter().flatten();
    let banks: Vec<_> =
        banks.filter(|(_, all)| *all != &Value::from(Vec::<u8>::new())).map(|it| it.0.as_str()).collect();
    let maker = [text(&tpm["maker"]), text(&tpm["model"])].join(" ");
    vec![
        format!(
            "tpm     {}, firmware {}, specification {}",
            maker.trim(),
            text(&tpm["firmware"]),
            text(&tpm["revision"])
        ),
        format!("banks   {}", banks.join(", ")),
        format!("signer  {}", text(&tpm["signer"])),
        format!("maker's certificate  {certificate}{vouched}"),
    ]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}
