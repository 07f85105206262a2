//! A machine that answers over a socket, and the command line that asks it.

use std::{fs, process::Stdio};

use piccolo_agent::api;
use tokio::{io::AsyncWriteExt, net::UnixListener, process::Command};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::House;

/// A machine that answers at a socket until it is dropped.
pub(crate) struct Machine {
    pub(crate) house: House,
    pub(crate) stop: DropGuard,
}

/// What a command printed, and with what it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Machine {
    pub(crate) async fn open() -> Self {
        let house = House::open().await;
        let socket = UnixListener::bind(house.dir.path().join("api.sock")).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(api::serve(house.router.clone(), Some(socket), None, stop.clone()));
        Self { house, stop: stop.drop_guard() }
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, &[], "").await
    }

    pub(crate) async fn run_with(&self, args: &[&str], env: &[(&str, &str)], input: &str) -> Ran {
        let dir = self.house.dir.path();
        let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
        command.env("PICCOLO_HOST", format!("unix://{}", dir.join("api.sock").display())).env("TMPDIR", dir);
        command.env_remove("EDITOR").env_remove("VISUAL").envs(env.iter().copied()).args(args).current_dir(dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let write = async move {
            // Commands that read nothing may have ended already.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        // Side by side: who prints while it reads would wait for us.
        let (output, ()) = tokio::join!(child.wait_with_output(), write);
        let output = output.unwrap();
        let clean = |bytes| {
            let text = String::from_utf8(bytes).unwrap().replace(dir.to_str().unwrap(), "DIR");
            // A busy machine takes a second.
            text.replace("  1s\n", "  0s\n").replace("declared 1s ago", "declared 0s ago").replace("\n1s   ", "\n0s   ")
        };
        Ran { code: output.status.code().unwrap(), out: clean(output.stdout), err: clean(output.stderr) }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.house.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn is(&self, code: i32, out: &str, err: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (code, out, err));
    }

    /// Compares a table of one row but for its last column, which is an age.
    pub(crate) fn lists(&self, table: &str) {
        let (rest, age) = self.out.trim_end().rsplit_once(' ').unwrap();
        assert!(self.code == 0 && rest == table && age.ends_with('s'), "{}{}", self.out, self.err);
    }
}
