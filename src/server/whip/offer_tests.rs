//! Offers as browsers write them, whole and spoilt.

use super::*;

/// As Chromium 141 writes it, shortened: sound with two codecs, pictures with four, a data channel.
const CHROMIUM: &str = "v=0\r
o=- 4611731400430051336 2 IN IP4 127.0.0.1\r
s=-\r
t=0 0\r
a=group:BUNDLE 0 1 2\r
a=extmap-allow-mixed\r
a=msid-semantic: WMS stream\r
m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r
c=IN IP4 0.0.0.0\r
a=ice-ufrag:EsAw\r
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r
a=ice-options:trickle\r
a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F\r
a=setup:actpass\r
a=mid:0\r
a=sctp-port:5000\r
m=audio 50001 UDP/TLS/RTP/SAVPF 63 111\r
c=IN IP4 192.0.2.7\r
a=candidate:1 1 udp 2122260223 192.0.2.7 50001 typ host\r
a=mid:1\r
a=sendrecv\r
a=rtcp-mux\r
a=rtpmap:63 red/48000/2\r
a=rtpmap:111 opus/48000/2\r
a=fmtp:111 minptime=10;useinbandfec=1\r
a=ssrc:3735928559 cname:x\r
m=video 0 UDP/TLS/RTP/SAVPF 98 102 103 106 107 96 97\r
c=IN IP4 0.0.0.0\r
a=bundle-only\r
a=mid:2\r
a=rid:hi send\r
a=simulcast:send hi\r
a=rtcp-mux\r
a=rtcp-rsize\r
a=rtpmap:98 VP9/90000\r
a=rtpmap:102 H264/90000\r
a=rtcp-fb:102 nack pli\r
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\r
a=rtpmap:103 rtx/90000\r
a=fmtp:103 apt=102\r
a=rtpmap:106 H264/90000\r
a=rtcp-fb:106 nack\r
a=rtcp-fb:106 nack pli\r
a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r
a=rtpmap:107 rtx/90000\r
a=fmtp:107 apt=106\r
a=rtpmap:96 VP8/90000\r
a=rtpmap:97 rtx/90000\r
a=fmtp:97 apt=96\r
";

#[test]
fn the_first_codec_that_can_be_decoded_is_taken_and_the_rest_declined() {
    let offer = Offer::read(CHROMIUM).unwrap();
    let opus = Payload { codec: Codec::Opus, number: 111, resend: None, profile: None };
    let h264 = Payload { codec: Codec::H264, number: 106, resend: Some(107), profile: Some(0x64_0c_1f) };
    assert_eq!((offer.audio.as_slice(), offer.video.as_slice()), (&[opus][..], &[h264][..]));
    assert_eq!(offer.declined, ["application: not used here"]);
    assert_eq!(offer.ice, ("EsAw".to_owned(), "P2uYro0UCOQ4zxjKXaWCBui1".to_owned()));
    for absent in ["candidate", "sendrecv", "simulcast", "a=rid", "sctp", "bundle-only", "a=mid:0", "BUNDLE 0"] {
        assert!(!offer.reduced.contains(absent), "{absent} in {}", offer.reduced);
    }
    assert!(offer.reduced.contains("a=group:BUNDLE 1 2\r\n") && offer.reduced.contains("m=video 9 "));
    let vp8 = Offer::read(&CHROMIUM.replace(" 106 107", "")).unwrap().video;
    assert_eq!(vp8, [Payload { codec: Codec::Vp8, number: 96, resend: Some(97), profile: None }]);
}

#[test]
fn declined_sections_keep_their_place_in_the_answer() {
    let offer = Offer::read(CHROMIUM).unwrap();
    let answer = offer.answer("v=0\r\ns=-\r\nm=audio 9 X 111\r\na=mid:1\r\nm=video 9 X 106\r\na=mid:2\r\n");
    let kinds: Vec<_> = answer.lines().filter(|line| line.starts_with("m=") || line.starts_with("a=mid")).collect();
    let application = "m=application 0 UDP/DTLS/SCTP webrtc-datachannel";
    assert_eq!(kinds, [application, "a=mid:0", "m=audio 9 X 111", "a=mid:1", "m=video 9 X 106", "a=mid:2"]);
    assert!(answer.starts_with("v=0\r\ns=-\r\nm=application"));
}

#[test]
fn an_offer_with_one_stream_is_taken_with_what_it_has() {
    let cut = CHROMIUM.find("m=video").unwrap();
    let offer = Offer::read(&CHROMIUM[..cut]).unwrap();
    assert!(offer.video.is_empty() && !offer.audio.is_empty());
    assert_eq!(offer.declined, ["application: not used here", "pictures: not offered"]);
    let silent = Offer::read(&CHROMIUM.replace("a=sendrecv", "a=recvonly")).unwrap();
    assert!(silent.audio.is_empty() && !silent.video.is_empty());
    assert_eq!(silent.declined, ["application: not used here", "sound: nothing is sent"]);
}

#[test]
fn an_offer_of_nothing_that_can_be_decoded_says_what_it_has() {
    let foreign = CHROMIUM.replace("opus/", "speex/").replace("H264/", "H263/").replace("VP8/", "theora/");
    let error = Offer::read(&foreign).unwrap_err();
    let says = error.to_string();
    assert!(error.status() == 422 && says.contains("speex") && says.contains("theora"), "{says}");
}

#[test]
fn what_is_no_offer_is_an_error_and_never_a_panic() {
    let lines: Vec<&str> = CHROMIUM.split_inclusive('\n').collect();
    let without =
        |n: usize| lines.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, line)| *line).collect::<String>();
    let dropped = (0..lines.len()).map(without);
    let cut = (0..CHROMIUM.len()).map(|at| CHROMIUM[..at].to_owned());
    for text in dropped.chain(cut) {
        if let Err(error) = Offer::read(&text) {
            assert!(matches!(error, WhipError::Sdp(_) | WhipError::Nothing(_)), "{error}");
        }
    }
    for missing in ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup", "a=group:BUNDLE"] {
        let error = Offer::read(&CHROMIUM.replace(missing, "a=nothing")).unwrap_err();
        assert!(matches!(error, WhipError::Sdp(_)), "{missing}: {error}");
    }
    assert_eq!(Offer::read(&"v=0\r\n".repeat(20_000)), Err(WhipError::TooLarge(100_000)));
    assert!(Offer::read(&format!("v=0\r\n{}", "m=audio 9 X 0\r\n".repeat(17))).is_err());
}
