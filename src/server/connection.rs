//! Connections of the service: small answers go out at once, and one whose other end takes nothing, or asks nothing, is closed.
//!
//! What waits for a slow reader is bounded, but a reader that stands still would hold its connection, and what is in it, for as
//! long as it likes: HTTP asks for nothing more to send before what was sent is taken.

use std::future::Ready;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// The other end may take nothing for so long.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing may come and nothing go for so long. Streams of events say something each 15 s.
pub const IDLE: Duration = Duration::from_secs(40);

/// The head of a request has so long to come, and then its body.
pub const SLOWEST: Duration = Duration::from_secs(10);

/// Who opens a connection has to ask something in time, and has to be there still where it waits for an answer.
pub fn hurry<E>(connections: &mut Builder<E>) {
    connections.http1().timer(TokioTimer::new()).header_read_timeout(SLOWEST);
    connections.http2().timer(TokioTimer::new()).keep_alive_interval(SLOWEST).keep_alive_timeout(SLOWEST);
}

/// Makes a [`Connection`] of each that is accepted, as long as there is room for more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acceptor;

impl<S> Accept<TcpStream, S> for Acceptor {
    type Stream = Connection;
    type Service = S;
    type Future = Ready<io::Result<(Connection, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        if super::room::is_full() {
            return std::future::ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        // Else an event waits until the one before it is acknowledged, 40 ms on many systems.
        let idle = Box::pin(tokio::time::sleep(IDLE));
        std::future::ready(stream.set_nodelay(true).map(|()| (Connection { stream, stalled: None, idle }, service)))
    }
}

/// A TCP connection that ends with an error once nothing could be written for [`PATIENCE`], which resets it, or nothing was read or
/// written for [`IDLE`].
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Since something could not be written: until when it is waited.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Until when something has to come or go.
    idle: Pin<Box<Sleep>>,
}

impl Connection {
    fn moved(&mut self) {
        self.idle.as_mut().reset(Instant::now() + IDLE);
    }

    fn written(&mut self, poll: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if poll.is_ready() {
            self.stalled = None;
            self.moved();
            return poll;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        ready!(stalled.as_mut().poll(cx));
        // What the system still holds for it goes too: an orderly end would wait for the other side to take that first.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other end takes nothing")))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, into);
        if poll.is_ready() {
            self.moved();
            return poll;
        }
        // Before it knows which HTTP is spoken, the server waits for ever.
        ready!(self.idle.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing comes and nothing goes")))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(poll, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(poll, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (connection, ()) = Acceptor.accept(accepted.unwrap().0, ()).await.unwrap();
        (client.unwrap(), connection)
    }

    /// A clock that stands still goes on whenever nothing else is to be done.
    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut() {
        let (mut client, mut connection) = pair().await;
        let part = vec![0; 1 << 20];
        let began = Instant::now();
        let error = loop {
            if let Err(error) = connection.write_all(&part).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= PATIENCE, "{:?}", began.elapsed());
        drop(connection);
        // What came before may still be read; then it is over, not in good order.
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    fn app() -> axum::Router {
        axum::Router::new()
            .route("/", axum::routing::post(async |body: String| body))
            .layer(axum::middleware::from_fn(super::super::limit::take_body))
    }

    #[tokio::test]
    async fn a_body_that_does_not_say_its_length_has_the_same_limit() {
        let service = hyper_util::service::TowerToHyperService::new(app());
        let (mut client, server) = pair().await;
        let builder = Builder::new(hyper_util::rt::TokioExecutor::new());
        let served = builder.serve_connection(hyper_util::rt::TokioIo::new(server), service);
        let asked = async move {
            let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
            let most = super::super::MOST_BODY;
            let body = format!("{head}{:x}\r\n{}\r\n0\r\n\r\n", most + 1, "a".repeat(most + 1));
            let _ = client.write_all(body.as_bytes()).await; // it may not be taken to its end
            let mut answer = [0; 13];
            client.read_exact(&mut answer).await.unwrap();
            answer
        };
        let (_, answer) = tokio::join!(served, asked);
        assert_eq!(&answer, b"HTTP/1.1 413 ");
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_comes_to_the_end_of_a_request_is_cut() {
        let soon = SLOWEST..SLOWEST * 2;
        for (slowly, then, when) in [
            ("", "", IDLE..IDLE * 2),
            ("PRI * HT", "", IDLE..IDLE * 2),
            ("POST / HTTP/1.1\r\nhost: a\r\nx-slow: ", "", soon.clone()),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nab", "HTTP/1.1 408 ", soon.clone()),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab", "HTTP/1.1 200 ", soon.clone()),
        ] {
            let (mut client, server) = pair().await;
            let mut builder = Builder::new(hyper_util::rt::TokioExecutor::new());
            hurry(&mut builder);
            let service = hyper_util::service::TowerToHyperService::new(app());
            let io = hyper_util::rt::TokioIo::new(server);
            client.write_all(slowly.as_bytes()).await.unwrap();
            let began = Instant::now();
            let mut told = String::new();
            let (_, read) = tokio::join!(builder.serve_connection(io, service), client.read_to_string(&mut told));
            drop(read); // it may be reset as well
            assert!(told.starts_with(then) && (then.is_empty() == told.is_empty()), "{slowly:?}: {told:?}");
            let took = began.elapsed();
            assert!(when.contains(&took), "{slowly:?}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_and_takes_something_each_time_is_not_cut() {
        let (_client, mut connection) = pair().await;
        let almost = PATIENCE.checked_sub(Duration::from_millis(10)).unwrap();
        for _ in 0..10 {
            let stuck = std::future::poll_fn(|cx| connection.written(Poll::Pending, cx));
            assert!(tokio::time::timeout(almost, stuck).await.is_err());
            let some = std::future::poll_fn(|cx| connection.written(Poll::Ready(Ok(1)), cx));
            assert_eq!(some.await.unwrap(), 1);
        }
        let stuck = std::future::poll_fn(|cx| connection.written(Poll::Pending, cx));
        assert_eq!(stuck.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
