//! A browser without a window, told what to do over a pipe in the words of its own tools for developers.

use std::{collections::BTreeSet, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// How long the browser may take for one thing.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is led somewhere anew when a network came or went meanwhile.
const TRIES: u32 = 5;
/// What it is started with. It runs in namespaces without a network, as root, where its own sandbox can't.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-popup-blocking",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    // Whoever lives here has trusted the machine, and was talked into trusting the others.
    "--ignore-certificate-errors",
    "--remote-debugging-pipe",
];

/// A browser that runs; killed when it is dropped.
#[derive(Debug)]
pub struct Browser {
    _process: Child,
    _profile: TempDir,
    told: ChildStdin,
    tells: BufReader<ChildStdout>,
    asked: u64,
    /// Pages that were loaded since they were last led somewhere: a browser says so when it likes, also before it answers.
    loaded: BTreeSet<String>,
}

/// A page that it shows.
#[derive(Clone, Debug)]
pub struct Page(String);

impl Browser {
    /// Starts it; `hosts` are its only resolver, as in `MAP name.test 127.0.0.1`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn start(hosts: &str, log: &Path) -> anyhow::Result<Self> {
        let profile = TempDir::with_prefix("piccolo-browser-")?;
        let log = std::fs::File::create(log)?;
        // Its pipes are its third and fourth file; the shell becomes it.
        let mut process = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh"])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--host-resolver-rules={hosts}"))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let told = process.stdin.take().context("stdin")?;
        let tells = BufReader::new(process.stdout.take().context("stdout")?);
        Ok(Self { _process: process, _profile: profile, told, tells, asked: 0, loaded: BTreeSet::new() })
    }

    /// Opens an address in a page of its own and waits until it is there.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn open(&mut self, url: &str) -> anyhow::Result<Page> {
        let target = self.ask(None, "Target.createTarget", &json!({ "url": "about:blank" })).await?;
        let wish = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.ask(None, "Target.attachToTarget", &wish).await?;
        let page = Page(attached["sessionId"].as_str().context("a session")?.to_owned());
        self.ask(Some(&page), "Page.enable", &json!({})).await?;
        self.go(&page, url).await?;
        Ok(page)
    }

    /// Leads a page to an address and waits until it is there.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn go(&mut self, page: &Page, url: &str) -> anyhow::Result<()> {
        self.loaded.remove(&page.0);
        let mut tries = 0;
        loop {
            let gone = self.ask(Some(page), "Page.navigate", &json!({ "url": url })).await?;
            let error = &gone["errorText"];
            // Whatever another story took down with it a moment ago makes a browser give up what it had begun.
            if error == "net::ERR_NETWORK_CHANGED" && tries < TRIES {
                tries += 1;
                continue;
            }
            ensure!(error.is_null(), "{}: {error}", url.split('@').next_back().unwrap_or(url));
            break;
        }
        let is_there = async {
            while !self.loaded.contains(&page.0) {
                self.hear().await?;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, is_there).await.context("the page never came")?
    }

    /// Runs a script in a page, waits for what it promises, and returns that.
    ///
    /// # Errors
    /// When the script fails.
    pub async fn run(&mut self, page: &Page, script: &str) -> anyhow::Result<Value> {
        // A page may do some things only after somebody touched it.
        let wish = json!({ "expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let told = self.ask(Some(page), "Runtime.evaluate", &wish).await?;
        ensure!(told["exceptionDetails"].is_null(), "the script failed: {}", told["exceptionDetails"]);
        Ok(told["result"]["value"].clone())
    }

    async fn ask(&mut self, page: Option<&Page>, method: &str, params: &Value) -> anyhow::Result<Value> {
        self.asked += 1;
        let id = self.asked;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(Page(session)) = page {
            message["sessionId"] = json!(session);
        }
        self.told.write_all(format!("{message}\0").as_bytes()).await?;
        let answer = async {
            loop {
                let mut heard = self.hear().await?;
                if heard["id"] == id {
                    return Ok::<_, anyhow::Error>(heard.take());
                }
            }
        };
        let answer =
            tokio::time::timeout(PATIENCE, answer).await.with_context(|| format!("no answer to {method}"))??;
        if !answer["error"].is_null() {
            bail!("{method}: {}", answer["error"]);
        }
        Ok(answer["result"].clone())
    }

    async fn hear(&mut self) -> anyhow::Result<Value> {
        let mut message = Vec::new();
        self.tells.read_until(0, &mut message).await?;
        ensure!(message.pop() == Some(0), "the browser is gone");
        let heard: Value = serde_json::from_slice(&message)?;
        if let (Some("Page.loadEventFired"), Some(page)) = (heard["method"].as_str(), heard["sessionId"].as_str()) {
            self.loaded.insert(page.to_owned());
        }
        Ok(heard)
    }
}
