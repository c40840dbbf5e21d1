//! From a URI to a connection: names are resolved, every address is checked, and only a checked one is dialled.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;

use crate::edges::send::address;
use crate::edges::send::resolve::Resolver;
use crate::edges::send::stream::Breathing;
use crate::rules::settings::Network;
use crate::words::exchange::SendError;
use crate::words::limits;

tokio::task_local! {
    /// When the attempt that asks for a connection must be over. A connector is handed the URI and nothing else.
    pub(super) static DEADLINE: Instant;
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Tcp = TokioIo<Breathing>;

/// Why dialling failed, on its way through hyper's error chain.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DialError(pub(super) SendError);

/// Opens plain and TLS connections, each within the deadline of the attempt that asked for it.
#[derive(Clone)]
pub(super) struct Connector {
    dial: Dial,
    tls: Arc<Tls>,
}

/// TLS, made ready when it is first needed: reading the system's certificate roots takes longer than the rest of a start,
/// and many a daemon never needs them.
struct Tls {
    roots: Roots,
    ready: OnceCell<Ready>,
}

struct Ready {
    https: HttpsConnector<Dial>,
    no_roots: bool,
}

/// Which certificate roots are trusted.
pub(super) enum Roots {
    /// The system's.
    System,
    /// These.
    These(RootCertStore),
}

impl Connector {
    pub(super) fn new(network: Network, roots: Roots) -> Self {
        let dial = Dial { network: Arc::new(network), names: Resolver::system() };
        Self { dial, tls: Arc::new(Tls { roots, ready: OnceCell::new() }) }
    }

    /// A connection to whom the URI names.
    pub(super) async fn connect(&self, uri: Uri) -> Result<MaybeHttpsStream<Tcp>, BoxError> {
        let handshaken = share(95);
        if uri.scheme() != Some(&Scheme::HTTPS) {
            let connecting = self.dial.clone().call(uri);
            return Ok(MaybeHttpsStream::Http(timeout_at(handshaken, connecting).await??));
        }
        let connecting = self.tls.ready(&self.dial).await.https.clone().call(uri);
        timeout_at(handshaken, connecting).await?
    }

    /// A machine without certificate roots fails every TLS connection in the same puzzling way.
    pub(super) fn no_roots(&self) -> bool {
        self.tls.ready.get().is_some_and(|ready| ready.no_roots)
    }
}

impl Tls {
    async fn ready(&self, dial: &Dial) -> &Ready {
        self.ready
            .get_or_init(|| async {
                let roots = match &self.roots {
                    Roots::These(roots) => roots.clone(),
                    Roots::System => tokio::task::spawn_blocking(system_roots).await.unwrap_or_else(|_| system_roots()),
                };
                let no_roots = roots.is_empty();
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let tls = rustls::ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .expect("ring has cipher suites for TLS 1.2 and 1.3")
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                Ready { https: HttpsConnector::from((dial.clone(), tls)), no_roots }
            })
            .await
    }
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// When this share of the attempt's time is over. A little always stays, so that the error says which name, address or
/// handshake was silent, and not only that time was up.
fn share(percent: u32) -> Instant {
    let now = Instant::now();
    let deadline = DEADLINE.try_with(|deadline| *deadline).unwrap_or_else(|_| now + limits::TIMEOUT);
    now + deadline.saturating_duration_since(now) * percent / 100
}

/// Opens TCP connections to addresses that the policy allows.
#[derive(Clone)]
pub(super) struct Dial {
    network: Arc<Network>,
    names: Resolver,
}

impl Service<Uri> for Dial {
    type Response = Tcp;
    type Error = DialError;
    type Future = BoxFuture<Result<Tcp, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.clone();
        let connected = share(90);
        Box::pin(async move { dial.open(&uri, connected).await.map_err(DialError) })
    }
}

impl Dial {
    async fn open(self, uri: &Uri, deadline: Instant) -> Result<Tcp, SendError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });

        let dns = |why: String| SendError::Dns { host: host.to_owned(), why };
        let found = match timeout_at(deadline, self.names.resolve(host)).await {
            Ok(found) => found.map_err(dns)?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
            Err(_) => return Err(dns("the resolver did not answer in time".to_owned())),
        };
        let addresses = self.allowed(host, found)?;
        match connect(&addresses, deadline).await {
            Ok(stream) => Ok(TokioIo::new(Breathing(stream))),
            Err(why) => Err(SendError::Connect { host: format!("{}:{port}", uri.host().unwrap_or_default()), why }),
        }
    }

    fn allowed(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, SendError> {
        let mut refused = None;
        let mut allowed = Vec::with_capacity(found.len());
        for socket in found {
            match address::verdict(socket.ip(), &self.network) {
                Ok(()) => allowed.push(socket),
                Err(why) => refused = Some((socket.ip(), why)),
            }
        }
        allowed.truncate(limits::ADDRESSES);
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some((ip, why))) => Err(SendError::Refused { host: host.to_owned(), address: ip.to_string(), why }),
            (true, None) => Err(SendError::Dns { host: host.to_owned(), why: "the name has no address".to_owned() }),
        }
    }
}

/// The first address that answers. Each gets an even share of the time that is left, so that one black hole does not
/// keep the others from being tried.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, String> {
    let mut why = "no address".to_owned();
    for (left, address) in (1..=addresses.len() as u32).rev().zip(addresses) {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is one write: waiting for more would only cost time.
                stream.set_nodelay(true).map_err(|error| plain(&error))?;
                return Ok(stream);
            }
            Ok(Err(error)) => why = plain(&error),
            Err(_) => why = format!("no answer within {:?}", Duration::from_millis(share.as_millis() as u64)),
        }
    }
    Err(why)
}

/// The system's word without its number: "connection refused".
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_black_hole_does_not_keep_the_next_address_from_being_tried() {
        // A backlog that is full drops what comes, as a firewall does.
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(1).unwrap();
        let hole = silent.local_addr().unwrap();
        let mut filling = vec![];
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(100), TcpStream::connect(hole)).await {
            filling.push(stream);
            assert!(filling.len() < 100, "the backlog never fills");
        }
        let healthy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = healthy.local_addr().unwrap();

        let deadline = Instant::now() + Duration::from_millis(600);
        let stream = connect(&[hole, good], deadline).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);

        let why = connect(&[hole], Instant::now() + Duration::from_millis(100)).await.unwrap_err();
        assert!(why.starts_with("no answer within"), "{why}");
    }

    #[test]
    fn the_systems_words_are_plain() {
        let error = io::Error::from_raw_os_error(111);
        assert_eq!(plain(&error), "connection refused");
    }
}
