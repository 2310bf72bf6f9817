//! A camera that sends what a real one would, spoilt: RTP in its RTSP connection, as fast as it is taken.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rand::RngExt as _;

use super::inputs::{dice, spoil};
use crate::kit::encoded::Unit;

/// Bytes of an RTP packet's payload.
const PAYLOAD: usize = 1200;

/// A camera on loopback. The last part of the path is the seed of what is spoilt.
pub struct HostileCamera {
    port: u16,
}

impl HostileCamera {
    /// Sends these units to everybody.
    pub fn start(units: Arc<Vec<Unit>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        // It ends with the process, which is the batch's own.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let units = Arc::clone(&units);
                std::thread::spawn(move || serve(stream, &units));
            }
        });
        Self { port }
    }

    pub fn url(&self, seed: u64) -> url::Url {
        url::Url::parse(&format!("rtsp://127.0.0.1:{}/{seed}", self.port)).expect("an address")
    }
}

/// None: whoever it was has gone.
fn serve(mut stream: TcpStream, units: &[Unit]) -> Option<()> {
    let mut requests = BufReader::new(stream.try_clone().ok()?);
    let mut random = dice(0);
    loop {
        let mut request = Vec::new();
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            request.push(line.trim_end().to_owned());
        }
        let words: Vec<&str> = request.first()?.split(' ').collect();
        let header = |name: &str| {
            request
                .iter()
                .find_map(|l| l.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v))
        };
        let answer = format!("RTSP/1.0 200 OK\r\nCSeq: {}\r\nSession: 1\r\n", header("CSeq").unwrap_or("1"));
        match words[0] {
            "DESCRIBE" => {
                let seed = words.get(1)?.rsplit('/').next()?.parse().unwrap_or(0);
                random = dice(seed);
                let mut sdp = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\na=control:*\r\n\
                    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:v\r\n\
                    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:a\r\n"
                    .to_vec();
                if seed % 10 == 0 {
                    spoil(&mut sdp, 20, &mut random);
                }
                let head = format!("{answer}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", sdp.len());
                stream.write_all(&[head.as_bytes(), &sdp].concat()).ok()?;
            }
            "SETUP" => {
                let asked = header("Transport").unwrap_or("RTP/AVP/TCP;unicast;interleaved=0-1");
                stream.write_all(format!("{answer}Transport: {asked}\r\n\r\n").as_bytes()).ok()?;
            }
            "PLAY" => {
                stream.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
                for packet in packets(units) {
                    stream.write_all(&hostile(packet, &mut random)).ok()?;
                }
                return None;
            }
            _ => {
                stream.write_all(format!("{answer}Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n").as_bytes()).ok()?;
            }
        }
    }
}

/// In the frame of RFC 2326, 10.12. One packet of four is spoilt, and one frame of a hundred.
fn hostile((channel, mut packet): (u8, Vec<u8>), dice: &mut rand_pcg::Pcg64) -> Vec<u8> {
    if dice.random_range(0..4) == 0 {
        spoil(&mut packet, 0, dice);
    }
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let mut frame = [&[b'$', channel, high, low], &packet[..usize::from(length)]].concat();
    if dice.random_range(0..100) == 0 {
        spoil(&mut frame, 0, dice);
    }
    frame
}

/// RTP of H.264 (RFC 6184: single units and FU-A) on channel 0, of Opus (RFC 7587) on channel 2.
fn packets(units: &[Unit]) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut number = [0u16; 2];
    let mut packet = |video: bool, time: std::time::Duration, last: bool, payload: &[u8]| {
        let number = &mut number[usize::from(video)];
        *number += 1;
        let (clock, kind) = if video { (90_000, 96u8) } else { (48_000, 97) };
        let stamp = u32::try_from(time.as_micros() * clock / 1_000_000).expect("short");
        let head =
            [&[0x80, kind | u8::from(last) << 7], &number.to_be_bytes()[..], &stamp.to_be_bytes(), &[0, 0, 0, kind]];
        packets.push((if video { 0 } else { 2 }, [&head.concat(), payload].concat()));
    };
    for unit in units {
        if !unit.video {
            packet(false, unit.time, true, &unit.data);
            continue;
        }
        let parts = nals(&unit.data);
        for (n, nal) in parts.iter().enumerate() {
            let last = n + 1 == parts.len();
            if nal.len() <= PAYLOAD {
                packet(true, unit.time, last, nal);
                continue;
            }
            let pieces: Vec<&[u8]> = nal[1..].chunks(PAYLOAD).collect();
            for (k, piece) in pieces.iter().enumerate() {
                let (first, end) = (k == 0, k + 1 == pieces.len());
                let header = [nal[0] & 0xE0 | 0x1C, u8::from(first) << 7 | u8::from(end) << 6 | nal[0] & 0x1F];
                packet(true, unit.time, last && end, &[&header, *piece].concat());
            }
        }
    }
    packets
}

/// The units of an access unit in Annex B.
fn nals(data: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..data.len().saturating_sub(3)).filter(|at| data[*at..*at + 3] == [0, 0, 1]).collect();
    let ends = starts.iter().skip(1).copied().chain([data.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| &data[start + 3..end]);
    units.map(|nal| nal.strip_suffix(&[0]).unwrap_or(nal)).filter(|nal| !nal.is_empty()).collect()
}
