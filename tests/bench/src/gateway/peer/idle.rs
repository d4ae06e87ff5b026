//! Links on which nothing happens but pings.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use relay_bench::frames::{CLOSE, PING, PONG, push_frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::wire::{Frame, accept};
use super::{end_with_input, listen, tell_address};
use crate::Result;

pub(super) async fn run(tls: bool) -> Result<()> {
    let listener = listen().await?;
    end_with_input(|| ());
    let mut acceptor = None;
    let mut authority = None;
    if tls {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".into()])?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key)?;
        acceptor = Some(TlsAcceptor::from(Arc::new(config)));
        authority = Some(cert.pem());
    }
    tell_address(listener.local_addr()?, authority.as_deref());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        // A client that goes, or does not like the certificate, is seen there.
        tokio::spawn(async move {
            match acceptor {
                Some(acceptor) => serve(acceptor.accept(stream).await?).await,
                None => serve(stream).await,
            }
        });
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    accept(&mut stream).await?;
    let (mut received, mut out) = (Vec::with_capacity(256), Vec::new());
    while stream.read_buf(&mut received).await? > 0 {
        let mut taken = 0;
        while let Some(frame) = Frame::parse(&received[taken..]) {
            let payload = frame.unmask(&mut received[taken..]);
            match frame.opcode {
                PING => push_frame(&mut out, PONG, payload),
                CLOSE => return Ok(()),
                _ => {}
            }
            taken += frame.payload.end;
        }
        received.drain(..taken);
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
    }
    Ok(())
}
