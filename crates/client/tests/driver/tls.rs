//! TLS, with a certificate made for the test.

use std::sync::Arc;

use idae_socket_client::{Error, SocketDriver};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use tokio_rustls::TlsAcceptor;

use crate::server::{Peer, Server};

#[tokio::test]
async fn https_is_spoken_and_checked() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let serving = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(serving));

    let server = Server::start().await;
    let address = format!("https://localhost:{}", server.port());
    let driver = SocketDriver::new(&address).tls(Arc::new(trusting));
    let (socket, _peer) = tokio::join!(driver.connect(), async {
        let mut peer = Peer::shake_hands(acceptor.accept(server.tcp().await).await.unwrap()).await;
        peer.open(25_000, 20_000).await;
        assert_eq!(peer.text().await, "40");
        peer.send(r#"40{"sid":"abc"}"#).await;
        peer
    });
    assert_eq!(socket.unwrap().id().as_deref(), Some("abc"));

    // The platform knows nothing of this certificate.
    let driver = SocketDriver::new(&address);
    let (outcome, _) = tokio::join!(driver.connect(), async { acceptor.accept(server.tcp().await).await });
    assert!(matches!(outcome, Err(Error::Unreachable { .. })));
}
