//! Every block of commands in the README and the how-tos is run, as a reader would run it, in a house that has what the page
//! speaks of. What can't be run there is named here with the reason; the tutorial is run on a real engine by the stories.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what is wrong by panicking, and runs real programs"
)]

#[path = "api/support.rs"]
mod support;

use std::{
    env, fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use piccolo_agent::{api, secrets::Identity};
use piccolo_schema::Kind;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::UnixListener, process::Command};
use tokio_util::sync::{CancellationToken, DropGuard};

use support::{House, WEB};

/// Lines that begin with this are not run here, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("e2e/", "runs this test"),
    ("cargo ", "makes the programs that are run here"),
    ("install ", "is done with the programs by the build"),
    ("piccolod ", "the push tests and the stories start the daemon"),
    ("piccolo apply -f lan.toml", "changes the links of another machine: tests/reach"),
    ("piccolo claim ", "asks another machine: tests/claim"),
    ("piccolo token seed --key", "wants a key of the reader's: tests/claim"),
    ("piccolo context ", "asks other machines: tests/claim"),
    ("piccolo get --context", "asks another machine: tests/claim"),
    ("piccolo exec -it", "wants a terminal: the stories of programs"),
    ("git clone ", "asks another machine: tests/push"),
    ("git push ", "asks another machine: tests/push"),
    ("git commit ", "goes with a clone: tests/push"),
    ("cd manifests", "goes with a clone: tests/push"),
    ("$EDITOR ", "goes with a clone: tests/push"),
    ("curl --cacert", "asks another machine: tests/access.rs"),
    ("journalctl ", "belongs to systemd"),
    ("piccolo image export app - | ssh", "asks another machine; through a pipe: tests/cli.rs"),
    ("piccolo disk wipe-ticket", "wants the serial number typed on a terminal: tests/cli.rs"),
    ("piccolo disk recovery-key", "wants an encrypted disk: the stories of the image"),
    ("piccolo disk replace", "wants a machine on two disks: the stories of the image"),
    ("piccolo disk reseal", "wants a disk that its TPM refuses: the stories of starts"),
    ("piccolo disk unlock", "wants an encrypted disk: the stories of the image"),
    ("piccolo install S4EV", "erases a disk: tests/cli.rs, and the stories of the image"),
    ("piccolo reset --keep-data", "wants the name of the machine typed on a terminal: tests/cli.rs"),
    ("piccolo reset --erase-data", "wants the name of the machine typed on a terminal: tests/cli.rs"),
    ("piccolo net confirm", "wants a change of links on trial: tests/laws.rs"),
    ("piccolo trust seal", "wants a TPM: the stories of trust"),
    ("piccolo trust why", "wants a TPM: the stories of starts"),
    ("piccolo trust reseal", "wants a TPM: the stories of starts"),
    ("piccolo trust verify", "wants a TPM: the stories of trust"),
    ("piccolo trust recovery", "wants an encrypted disk: the stories of trust"),
    ("piccolo trust enrol", "wants an encrypted disk and a TPM: the stories of trust"),
    ("age -d", "wants the program age, and sealed keys: the stories of trust"),
    ("rm identity.age.sealed", "goes with that"),
    ("chmod 600 identity.age", "goes with that"),
    ("systemctl ", "belongs to systemd"),
    ("piccolo kubeconfig", "ends in kubectl, which may not be here: tests/api_kubectl.rs"),
];

/// What stands in the manual for something of the reader's, and what it is here.
const MEANT: &[(&str, &str)] = &[
    ("/etc/piccolo", "piccolo"),
    ("/var/lib/piccolo/", ""),
    ("validate examples/", "validate $EXAMPLES"),
    // What goes on for ever is asked for once.
    ("logs -f ", "logs "),
    ("events -f", "events"),
    ("container vaultwarden", "container their_web --accept-loss"),
    ("container/ledger", "container/updated"),
    ("change-1d20c7", "$(cat change)"),
    ("revoke 4fj2k7qa", "revoke $(piccolo token list | awk 'NR == 2 { print $1 }')"),
    ("forge key --from nas", "forge key --from nas --recipient $RECIPIENT"),
    ("rotate db", "rotate db --identity key.age --recipient $RECIPIENT"),
    ("password", "password --recipient $RECIPIENT <<< hunter2"),
    ("user add anna --role operator", "user add anna --role operator <<< fifteen-letters"),
    ("pwgen 20 1", "echo twenty-other-letters"),
    ("username", "username --recipient $RECIPIENT <<< anna"),
];

/// What has to be done before a line that begins with this.
const BEFORE: &[(&str, &str)] = &[
    // Told once, a token is not written over another one.
    ("piccolo token create", "rm -f token"),
    (
        "piccolo rollback change-",
        "sed -i s/1.27/1.28/ front.toml; piccolo apply -f front.toml --confirm-within 9s > said",
    ),
    ("piccolo rollback change-", "grep -o 'change-[0-9a-f]*' said | head -1 > change"),
    ("piccolo confirm change-", "piccolo status | grep -o 'change-[0-9a-f]*' | head -1 > change"),
    ("piccolo import compose ~/immich --dir", "rm -rf piccolo/networks piccolo/volumes"),
];

struct Reader {
    house: House,
    recipient: String,
    _stop: DropGuard,
}

impl Reader {
    /// Opens a house that has what the manual speaks of.
    async fn new() -> Self {
        let house = House::open().await;
        let dir = house.dir.path().to_owned();
        let socket = UnixListener::bind(dir.join("api.sock")).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(api::serve(house.router.clone(), Some(socket), None, stop.clone()));
        let named = |name: &str| WEB.replace("\"web\"", &format!("\"{name}\""));
        let envelope = |kind, spec| {
            format!(
                "apiVersion = \"piccolo.os/v1alpha1\"\nkind = \"{kind}\"\n[metadata]\nname = \"NAME\"\n[spec]\n{spec}\n"
            )
        };
        let image = envelope("Image", "reference = \"app:1\"").replace("NAME", "app");
        let source = envelope("ConfigSource", "url = \"https://git.home/x.git\"").replace("NAME", "home");
        let updated = named("updated") + "update = {}\n";
        let all = [
            ("containers/web", WEB.to_owned()),
            ("containers/updated", updated),
            ("images/app", image),
            ("configsources/home", source),
            // So there is a revision before the last one.
            ("containers/web", WEB.replace("front door", "back door")),
        ];
        for (path, text) in all {
            let path = format!("/apis/piccolo.os/v1alpha1/{path}");
            let answer = house.send("PUT", &path, &[("content-type", "application/toml")], text).await;
            assert!(answer.status.is_success(), "{path}: {}", answer.text);
        }
        for (file, text) in
            [("web.toml", WEB.to_owned()), ("front.toml", named("front")), ("app.tar", "archive".to_owned())]
        {
            fs::write(dir.join(file), text).unwrap();
        }
        let recipient = Identity::read_or_make(&dir.join("key.age")).unwrap().recipient().to_string();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose/immich"), &dir.join("immich"));
        let recorded = async {
            while house.get("/history").await.json()["items"].as_array().unwrap().len() < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), recorded).await.unwrap();
        Self { house, recipient, _stop: stop.drop_guard() }
    }

    /// What a controller would say of the containers.
    fn report(&self) {
        let status = json!({ "containerId": "web", "state": "running", "updateAvailable": "sha256:new" });
        for name in ["web", "updated"] {
            self.house.writer.report(Kind::Container, name, status.clone());
        }
    }

    async fn run(&self, script: &str) -> Output {
        let dir = self.house.dir.path();
        let programs = Path::new(env!("CARGO_BIN_EXE_piccolo")).parent().unwrap();
        let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap());
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(dir).env("PATH", path).env("HOME", dir).env("EXAMPLES", examples);
        command.env("PICCOLO_HOST", format!("unix://{}", dir.join("api.sock").display()));
        command.env("RECIPIENT", &self.recipient).env("EDITOR", "sed -i s/1.27/1.29/");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().shutdown().await.unwrap();
        child.wait_with_output().await.unwrap()
    }

    /// Runs one line of a page. A plan that has something to say ends with 10, an import that lost something with 7.
    async fn follow(&self, line: &str) -> Result<(), String> {
        for (_, first) in BEFORE.iter().filter(|(begin, _)| line.starts_with(begin)) {
            self.run(first).await;
        }
        self.report();
        let command = line.split(" #").next().unwrap_or(line).trim_end();
        let meant = MEANT.iter().fold(command.to_owned(), |line, (word, here)| line.replace(word, here));
        let output = self.run(&meant).await;
        match output.status.code() {
            Some(0 | 7 | 10) => Ok(()),
            code => Err(format!("`{meant}` ended with {code:?}: {}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_file()) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

/// Returns the lines of commands of a page.
fn lines(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks
        .flat_map(|(block, _)| block.lines())
        .map(str::trim)
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
        .collect()
}

#[tokio::test]
async fn every_block_of_commands_can_be_run() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<_> = fs::read_dir(docs.join("how-to")).unwrap().map(|it| it.unwrap().path()).collect();
    pages.push(docs.join("../../README.md"));
    pages.sort();
    let (mut ran, mut wrong, mut readers) = (0, Vec::new(), Vec::new());
    for page in pages {
        // A line may go on in the next one.
        let text = fs::read_to_string(&page).unwrap().replace("\\\n", "");
        let reader = Reader::new().await;
        for line in lines(&text) {
            if ELSEWHERE.iter().any(|(begin, _)| line.starts_with(begin)) {
                continue;
            }
            ran += 1;
            let said = reader.follow(line).await;
            wrong.extend(said.err().map(|why| format!("{}: {line}\n  {why}", page.file_name().unwrap().display())));
        }
        // Its history is still being written.
        readers.push(reader);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran > 60, "{ran} lines");
}
