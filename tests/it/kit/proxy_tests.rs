//! The bad network itself.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::*;

#[test]
fn each_mode_does_what_it_says() {
    let echo = StdListener::bind(("127.0.0.1", 0)).expect("port");
    let proxy = Proxy::to(echo.local_addr().expect("address").port());
    std::thread::spawn(move || {
        for mut stream in echo.incoming().flatten() {
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port()))?;
        stream.set_read_timeout(Some(Duration::from_millis(300)))?;
        Ok::<_, std::io::Error>(stream)
    };
    let ask = |stream: &mut TcpStream| {
        let mut byte = [0];
        stream.write_all(b"x").and_then(|()| stream.read_exact(&mut byte)).map_err(|error| error.kind())
    };
    let mut stream = connect().expect("listens");
    assert_eq!(ask(&mut stream), Ok(()));
    proxy.set(Mode::Stall);
    assert_eq!(ask(&mut stream), Err(ErrorKind::WouldBlock));
    assert_eq!(ask(&mut connect().expect("listens")), Err(ErrorKind::WouldBlock));
    proxy.set(Mode::Pass);
    assert!(stream.read_exact(&mut [0]).is_ok(), "what was held passes");
    proxy.set(Mode::Cut);
    assert!(!matches!(ask(&mut stream), Ok(()) | Err(ErrorKind::WouldBlock)));
    proxy.set(Mode::Refuse);
    assert_eq!(connect().expect_err("refused").kind(), ErrorKind::ConnectionRefused);
    proxy.set(Mode::Pass);
    assert_eq!(ask(&mut connect().expect("listens again")), Ok(()));
}

/// A connection through a proxy in this mode to a server that sends a mebibyte and then reads for ever.
fn download(mode: Mode) -> (Proxy, Duration, Vec<u8>, Option<ErrorKind>) {
    let listener = StdListener::bind(("127.0.0.1", 0)).expect("port");
    let proxy = Proxy::to(listener.local_addr().expect("address").port());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy");
        let mut asked = [0];
        let _ = stream.read_exact(&mut asked);
        let _ = stream.write_all(&[7; 1 << 20]);
        let _ = stream.read(&mut asked);
    });
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).expect("listens");
    stream.set_read_timeout(Some(Duration::from_millis(1500))).expect("timeout");
    stream.write_all(b"x").expect("passes");
    super::super::wait_until(Duration::from_secs(5), "the connection", || (proxy.bytes() > 0).then_some(()));
    proxy.set(mode);
    let (began, mut got, mut buffer) = (Instant::now(), Vec::new(), [0; 65_536]);
    let ended = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break None,
            Ok(n) => got.extend_from_slice(&buffer[..n]),
            Err(error) => break Some(error.kind()),
        }
        if got.len() == 1 << 20 {
            break None;
        }
    };
    (proxy, began.elapsed(), got, ended)
}

#[test]
fn a_reset_is_one_and_what_is_half_open_is_silent_while_new_connections_pass() {
    // What was read before the mode changed has passed already.
    let (proxy, _, got, ended) = download(Mode::HalfOpen);
    assert!(got.len() < 1 << 20 && ended == Some(ErrorKind::WouldBlock), "{} bytes, {ended:?}", got.len());
    drop(proxy);
    let listener = StdListener::bind(("127.0.0.1", 0)).expect("port");
    let proxy = Proxy::to(listener.local_addr().expect("address").port());
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).expect("listens");
    let (mut server, _) = listener.accept().expect("passes");
    proxy.set(Mode::Reset);
    server.write_all(&[7; 2000]).expect("open");
    let (mut got, mut byte) = (0, [0]);
    let ended = loop {
        match client.read(&mut byte) {
            Ok(n) if n > 0 => got += n,
            other => break other.map_err(|error| error.kind()),
        }
    };
    assert_eq!((ended, proxy.resets().len()), (Err(ErrorKind::ConnectionReset), 1), "after {got} bytes");
    assert!(got < 2000, "{got}");
    let mut anew = TcpStream::connect(("127.0.0.1", proxy.port())).expect("listens");
    let (mut server, _) = listener.accept().expect("passes");
    server.write_all(&[7; 2000]).expect("open");
    assert!(anew.read_exact(&mut [0; 2000]).is_ok());
}

#[test]
fn what_is_slow_late_sliced_or_spoilt_comes_so_and_whole() {
    let (_proxy, took, got, _) = download(Mode::Bandwidth(2 << 20));
    // What the mode met on its way had passed.
    assert!(got.len() == 1 << 20 && got.iter().all(|byte| *byte == 7), "{} bytes", got.len());
    assert!(took < Duration::from_secs(3), "{took:?}");
    for mode in [Mode::Latency(Duration::from_millis(300)), Mode::Slices(700)] {
        let (_proxy, _, got, _) = download(mode);
        assert!(got.len() == 1 << 20 && got.iter().all(|byte| *byte == 7), "{mode:?}: {} bytes", got.len());
    }
    let echo = StdListener::bind(("127.0.0.1", 0)).expect("port");
    let proxy = Proxy::to(echo.local_addr().expect("address").port());
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).expect("listens");
    let (mut server, _) = echo.accept().expect("passes");
    proxy.set(Mode::Latency(Duration::from_millis(300)));
    let began = Instant::now();
    server.write_all(b"late").expect("open");
    client.read_exact(&mut [0; 4]).expect("comes");
    assert!(began.elapsed() >= Duration::from_millis(300));
    proxy.set(Mode::Corrupt(100));
    server.write_all(&[0; 100_000]).expect("open");
    let mut got = vec![0; 100_000];
    client.read_exact(&mut got).expect("comes");
    let spoilt = got.iter().filter(|byte| **byte != 0).count();
    assert!((500..2000).contains(&spoilt), "{spoilt} of 100,000");
}
