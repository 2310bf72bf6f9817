//! Cameras that send us elsewhere: by every status that means a redirect, at every request, and by every field of their answers
//! that names an address. What they name is not reached.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ahwatch::source::{Description, Incoming, Location, Retry, SourceError, Spec, supervise};

use super::Trap;

/// How a camera misleads; TRAP is the address of the trap.
#[derive(Clone, Copy, Debug)]
struct Lure {
    /// The request that is answered with `status`; none: all are answered as they should be.
    at: &'static str,
    status: &'static str,
    /// Whether the connection is closed after that, so that another has to be made.
    closes: bool,
    /// Headers of the answer to DESCRIBE.
    headers: &'static str,
    /// Lines of the session description, of the whole and of its one stream.
    control: (&'static str, &'static str),
}

const PLAIN: Lure = Lure { at: "", status: "", closes: false, headers: "", control: ("*", "track1") };

/// Answers requests on one connection after the other, as a camera that has one stream of pictures, and never sends any.
fn camera(lure: Lure, trap: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(&stream, lure, trap));
        }
    });
    port
}

fn serve(stream: &TcpStream, lure: Lure, trap: u16) -> Option<()> {
    let lead = |text: &str| text.replace("TRAP", &format!("127.0.0.1:{trap}"));
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut number, mut length) = (String::new(), String::new(), 0);
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("cseq:") {
                value.trim().clone_into(&mut number);
            } else if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            } else if line.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        let method = first.split(' ').next()?.to_owned();
        let (mut status, mut headers, mut body) = ("200 OK", String::new(), String::new());
        match method.as_str() {
            _ if method == lure.at => {
                status = lure.status;
                headers = lead("Location: rtsp://TRAP/elsewhere\r\n");
            }
            "OPTIONS" => "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n".clone_into(&mut headers),
            "DESCRIBE" => {
                headers = format!("Content-Type: application/sdp\r\n{}", lead(lure.headers));
                body = format!(
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:{}\r\nm=video 0 RTP/AVP 96\r\n\
                     a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:{}\r\n",
                    lead(lure.control.0),
                    lead(lure.control.1)
                );
            }
            "SETUP" => "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n".clone_into(&mut headers),
            _ => "Session: 1\r\n".clone_into(&mut headers),
        }
        let length = body.len();
        let answer = format!("RTSP/1.0 {status}\r\nCSeq: {number}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        (&*stream).write_all(answer.as_bytes()).ok()?;
        if method == lure.at && lure.closes {
            return None;
        }
    }
}

/// Watches it once; why it was not reached.
fn watched(port: u16) -> String {
    let location = Location::Rtsp(url::Url::parse(&format!("rtsp://user:secret@127.0.0.1:{port}/live")).unwrap());
    let description = Description::shipped("rtsp.gst", None).unwrap();
    let spec = Spec::once("cam", location, description);
    let retry = Retry { first_frame: Duration::from_secs(4), ..Retry::default() };
    let (sender, incoming) = crossbeam_channel::bounded(256);
    let (_running, stop) = crossbeam_channel::bounded(0);
    supervise(&spec, &retry, sender, stop);
    let error = incoming.into_iter().find_map(|said| match said {
        Incoming::Finished(finish) => finish.error,
        _ => None,
    });
    match error {
        Some(SourceError::NeverReached { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_camera_that_redirects_is_not_followed() {
    for at in ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"] {
        for (status, closes) in [("301 Moved Permanently", false), ("302 Moved Temporarily", true)] {
            let trap = Trap::set();
            let reason = watched(camera(Lure { at, status, closes, ..PLAIN }, trap.port));
            assert_eq!(trap.reached(), 0, "{at} {status}: {reason}");
            // Where either side closes, that may be what is seen first.
            let why = reason.contains("another address") || reason.contains("Could not write");
            assert!(closes || why, "{at} {status}: {reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
    }
}

#[test]
fn a_camera_that_names_other_addresses_in_its_answers_is_not_followed() {
    for lure in [
        Lure { at: "DESCRIBE", status: "303 See Other", ..PLAIN },
        Lure { at: "DESCRIBE", status: "305 Use Proxy", ..PLAIN },
        Lure { at: "DESCRIBE", status: "307 Temporary Redirect", ..PLAIN },
        Lure { headers: "Content-Base: rtsp://TRAP/x/\r\n", ..PLAIN },
        Lure { headers: "Content-Location: rtsp://TRAP/x/\r\n", ..PLAIN },
        Lure { control: ("rtsp://TRAP/x", "track1"), ..PLAIN },
        Lure { control: ("*", "rtsp://TRAP/x/track1"), ..PLAIN },
        Lure { at: "SETUP", status: "500 Error", closes: true, control: ("rtsp://TRAP/x", "rtsp://TRAP/y"), ..PLAIN },
        Lure { at: "PLAY", status: "500 Error", closes: true, control: ("rtsp://TRAP/x", "rtsp://TRAP/y"), ..PLAIN },
    ] {
        let trap = Trap::set();
        let reason = watched(camera(lure, trap.port));
        assert_eq!(trap.reached(), 0, "{lure:?}: {reason}");
    }
}
