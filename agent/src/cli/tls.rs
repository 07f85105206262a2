//! TLS as a client: a machine is known by its own authority, and by nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::failure::Failure;
use crate::access::Print;

/// A safe connection.
pub(super) type Stream = TlsStream<TcpStream>;

/// Opens a connection to a machine that shows a certificate of this authority. Before that is seen, nothing is sent.
pub(super) async fn connect(socket: TcpStream, authority: &str, pem: &str) -> Result<Stream, Failure> {
    let untrusted = |why: String| Failure::Untrusted { host: authority.to_owned(), why };
    let root = CertificateDer::from_pem_slice(pem.as_bytes());
    let root = root.map_err(|_| untrusted("what is known of it is no certificate".to_owned()))?;
    let mut roots = RootCertStore::empty();
    roots.add(root).map_err(|error| untrusted(error.to_string()))?;
    let config = builder(authority)?.with_root_certificates(roots).with_no_client_auth();
    handshake(socket, authority, config).await
}

/// Asks a machine for the certificate of its authority, and breaks the connection off before anything is sent.
pub(super) async fn look(socket: TcpStream, authority: &str) -> Result<(String, Print), Failure> {
    let seen = Arc::new(Seen::default());
    let config = builder(authority)?.dangerous().with_custom_certificate_verifier(seen.clone()).with_no_client_auth();
    let failed = handshake(socket, authority, config).await.err();
    let found = seen.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let found = found.ok_or_else(|| {
        failed.unwrap_or_else(|| Failure::Untrusted { host: authority.to_owned(), why: "it shows nothing".to_owned() })
    })?;
    let pem = found.map_err(|why| Failure::Untrusted { host: authority.to_owned(), why: why.to_string() })?;
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    let print = certificate.map(|it| Print::of(&it));
    print
        .map(|print| (pem, print))
        .map_err(|error| Failure::Untrusted { host: authority.to_owned(), why: error.to_string() })
}

/// Returns the name in `host:port`, without brackets.
fn name(authority: &str) -> &str {
    authority.rsplit_once(':').map_or(authority, |(name, _)| name).trim_matches(['[', ']'])
}

fn builder(host: &str) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Failure> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    builder
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| Failure::Garbled { host: host.to_owned(), cause: error.to_string() })
}

async fn handshake(socket: TcpStream, authority: &str, config: ClientConfig) -> Result<Stream, Failure> {
    let garbled = |cause: String| Failure::Garbled { host: authority.to_owned(), cause };
    let server = ServerName::try_from(name(authority).to_owned()).map_err(|error| garbled(error.to_string()))?;
    TlsConnector::from(Arc::new(config)).connect(server, socket).await.map_err(|error| {
        match error.get_ref().and_then(|it| it.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(why)) => {
                Failure::Untrusted { host: authority.to_owned(), why: explained(why) }
            }
            _ => garbled(error.to_string()),
        }
    })
}

fn explained(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is of another authority than the one you know".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for other names".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate is over; is its clock right, and yours?".to_owned()
        }
        other => other.to_string(),
    }
}

/// Takes down the authority that a machine shows, if its certificate really is of that.
#[derive(Debug, Default)]
struct Seen(Mutex<Option<Result<String, Error>>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = authority(leaf, above, name, ocsp, now);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Err(Error::General("that was all that was to be seen".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("this is TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("that was all that was to be seen".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Returns the authority in PEM.
fn authority(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    ocsp: &[u8],
    now: UnixTime,
) -> Result<String, Error> {
    let root = above.last().ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
    let mut roots = RootCertStore::empty();
    roots.add(root.clone().into_owned())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
    verifier.verify_server_cert(leaf, &[], name, ocsp, now)?;
    Ok(pem(root))
}

/// Writes a certificate as RFC 7468 has it.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = data_encoding::BASE64.encode(certificate);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
