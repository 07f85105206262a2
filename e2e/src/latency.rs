//! What TLS adds to a small request on a kept connection, and what it would add to have it spoken by a process of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    server, service,
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use piccolo_agent::access::{Authority, Names, Shown};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
    version::TLS13,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, Lines, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    process::{Child, ChildStdout, Command},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, server::TlsStream};

use crate::Machine;

/// How many requests are one turn, after which the next way has its turn.
const TURN: usize = 100;
/// How many turns each way has, the first of which does not count.
const TURNS: usize = 31;
/// What is asked for: the smallest answer that takes a token.
const PATH: &str = "/version";

/// A way to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over its socket, in plain.
    Socket,
    /// Over TLS, as it is.
    Tls,
    /// Over TLS that a process of its own speaks, which passes bytes on.
    Bytes,
    /// The same, but that process reads each request and passes that on.
    Requests,
}

impl Way {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Socket, Self::Tls, Self::Bytes, Self::Requests];
}

/// What was measured of a way.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The way.
    pub way: Way,
    /// The median and the 99th percentile.
    pub latency: [Duration; 2],
    /// What the process in between takes of the memory, in MB.
    pub resident: Option<f64>,
}

/// Asks the daemon over every way, in turns.
///
/// # Errors
/// When somebody does not answer.
pub async fn measure() -> anyhow::Result<Vec<Measured>> {
    let mut machine = Machine::new()?;
    machine.start_unheard().await?;
    let told = machine.get("/pairing").await?;
    let place = told["urls"][0].as_str().and_then(|it| it.strip_prefix("https://")).context("a place")?.to_owned();
    let minted = machine.piccolo(&["token", "create", "bench", "--role", "reader"])?.output().await?;
    ensure!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
    let token = String::from_utf8(minted.stdout)?.trim().to_owned();
    let ours = told["authority"].as_str().context("an authority")?;

    let fronts =
        [Front::start(&machine.socket(), Way::Bytes).await?, Front::start(&machine.socket(), Way::Requests).await?];
    let mut asked = Vec::new();
    for way in Way::ALL {
        let sender = match way {
            Way::Socket => client(UnixStream::connect(machine.socket()).await?).await?,
            Way::Tls => client(safe(&place, ours).await?).await?,
            Way::Bytes => client(safe(&fronts[0].place, &fronts[0].authority).await?).await?,
            Way::Requests => client(safe(&fronts[1].place, &fronts[1].authority).await?).await?,
        };
        asked.push((way, sender, Vec::with_capacity(TURN * TURNS)));
    }
    for turn in 0..TURNS {
        for (_, sender, times) in &mut asked {
            for _ in 0..TURN {
                let begin = Instant::now();
                ask(sender, &token).await?;
                if turn > 0 {
                    times.push(begin.elapsed());
                }
            }
        }
    }
    let mut all = Vec::new();
    for (way, _, mut times) in asked {
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().context("nothing was measured");
        let front = fronts.iter().find(|it| it.way == way);
        let resident = front.map(|it| resident(it.process.id().context("it runs")?)).transpose()?;
        all.push(Measured { way, latency: [at(50)?, at(99)?], resident });
    }
    drop(fronts);
    machine.stop().await?;
    Ok(all)
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, token: &str) -> anyhow::Result<()> {
    let request = Request::get(PATH)
        .header("host", "localhost")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::default())?;
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    answer.into_body().collect().await?;
    Ok(())
}

async fn client<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn safe(place: &str, authority: &str) -> anyhow::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let builder =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_protocol_versions(&[&TLS13])?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let socket = TcpStream::connect(place).await?;
    socket.set_nodelay(true)?;
    Ok(TlsConnector::from(Arc::new(config)).connect("localhost".try_into()?, socket).await?)
}

/// Returns the resident memory of a process in MB.
///
/// # Errors
/// When there is none.
pub fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024.0)
}

/// A process of its own that stands before the daemon; killed when it is dropped.
struct Front {
    process: Child,
    way: Way,
    place: String,
    authority: String,
    /// Whoever prints wants somebody to listen.
    _told: Lines<BufReader<ChildStdout>>,
}

impl Front {
    async fn start(socket: &Path, way: Way) -> anyhow::Result<Self> {
        let word = if way == Way::Bytes { "bytes" } else { "requests" };
        let mut process = Command::new(std::env::current_exe()?)
            .args(["front".as_ref(), word.as_ref(), socket.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut told = BufReader::new(process.stdout.take().context("stdout")?).lines();
        let place = told.next_line().await?.context("a place")?;
        let mut authority = String::new();
        while let Some(line) = told.next_line().await? {
            authority.push_str(&line);
            authority.push('\n');
            if line.starts_with("-----END") {
                break;
            }
        }
        Ok(Self { process, way, place, authority, _told: told })
    }
}

/// Is that process: says where it listens and who vouches for it, and passes on what comes.
///
/// # Errors
/// When it can't listen.
pub async fn front(word: &str, socket: PathBuf) -> anyhow::Result<()> {
    let room = TempDir::with_prefix("piccolo-front-")?;
    let authority = Authority::open(room.path())?;
    let shown = Arc::new(Shown::default());
    shown.show(authority.leaf(&Names::new("localhost", [], &[]), Timestamp::now())?.0);
    let acceptor = TlsAcceptor::from(shown.config()?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}\n{}", listener.local_addr()?, authority.pem());
    loop {
        let (near, _) = listener.accept().await?;
        let Ok(mut near) = acceptor.accept(near).await else { continue };
        let mut far = UnixStream::connect(&socket).await?;
        let is_bytes = word == "bytes";
        tokio::spawn(async move {
            if is_bytes {
                copy_bidirectional(&mut near, &mut far).await?;
                return Ok(());
            }
            requests(near, far).await
        });
    }
}

async fn requests(near: TlsStream<TcpStream>, far: UnixStream) -> anyhow::Result<()> {
    let (sender, connection) = http1::handshake::<_, Incoming>(TokioIo::new(far)).await?;
    tokio::spawn(connection);
    let sender = Arc::new(tokio::sync::Mutex::new(sender));
    let pass = service::service_fn(move |request| {
        let sender = Arc::clone(&sender);
        async move {
            let mut sender = sender.lock().await;
            sender.ready().await?;
            sender.send_request(request).await
        }
    });
    Ok(server::conn::http1::Builder::new().serve_connection(TokioIo::new(near), pass).await?)
}
