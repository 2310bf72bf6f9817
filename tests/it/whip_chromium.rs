//! Debian's Chromium as the browser that joins: headless, its camera and microphone a planted recording.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ahwatch::run::whip;
use ahwatch::server::whip::Answer;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};

use crate::kit::chromium::{Chromium, devices};
use crate::kit::media::Recipe;
use crate::kit::station::{Station, code, frames};
use crate::kit::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

/// Sends its camera and microphone, the pictures in the codec of the address.
const PAGE: &str = r"<!doctype html><title>join</title><script>
(async () => {
  const media = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 640, height: 480}});
  const peer = new RTCPeerConnection();
  const wanted = new RegExp('^video/(' + location.search.slice(1) + '|rtx)$', 'i');
  for (const track of media.getTracks()) {
    const sender = peer.addTransceiver(track, {direction: 'sendonly', streams: [media]});
    if (track.kind === 'video' && location.search) {
      sender.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(c => wanted.test(c.mimeType)));
    }
  }
  await peer.setLocalDescription();
  const reply = await fetch('/offer', {method: 'POST', body: peer.localDescription.sdp});
  if (!reply.ok) throw new Error(await reply.text());
  await peer.setRemoteDescription({type: 'answer', sdp: await reply.text()});
})().catch(error => fetch('/failed', {method: 'POST', body: String(error)}));
</script>";

#[test]
fn chromium_joins_in_either_codec_and_its_windows_come_out() {
    let (camera, microphone) = devices(&Recipe::new(20.0).size(640, 480).fps((20, 1)));
    for codec in ["", "VP8", "H264"] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let whip = runtime.block_on(whip("127.0.0.1:0".parse().unwrap(), &[])).unwrap();
        let station = Station::start();
        let (feed, taken) = (station.sender.clone().unwrap(), Arc::<Mutex<Vec<(String, Answer)>>>::default());
        let failed = Arc::<Mutex<Vec<String>>>::default();
        let (answers, server, failures) = (Arc::clone(&taken), whip.clone(), Arc::clone(&failed));
        let offer = move |State(()): State<()>, sdp: String| {
            let (feed, answers, server) = (feed.clone(), Arc::clone(&answers), server.clone());
            async move {
                match server.offer("chromium".into(), &sdp, feed).await {
                    Ok(answer) => {
                        let reply = answer.sdp.clone();
                        answers.lock().unwrap().push((sdp, answer));
                        (StatusCode::CREATED, reply)
                    }
                    Err(error) => (StatusCode::from_u16(error.status()).unwrap(), error.to_string()),
                }
            }
        };
        let app = Router::new()
            .route("/", get(|| async { Html(PAGE) }))
            .route("/offer", post(offer))
            .route("/failed", post(|body: String| async move { failures.lock().unwrap().push(body) }));
        let url = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/?{codec}", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, app).await });
            url
        });
        let chromium = Chromium::open(&url, &camera, &microphone);
        wait_until(LIMIT, "three windows", || {
            let failed = failed.lock().unwrap();
            assert!(failed.is_empty(), "{codec}: {failed:?}");
            station.read(|told| (told.windows.len() >= 3).then_some(()))
        });
        let stats = whip.stats();
        if std::env::var_os("AHWATCH_SHOW").is_some() {
            let taken = taken.lock().unwrap();
            println!("{codec}\n{}\n{}\n{:?} {stats:?}", taken[0].0, taken[0].1.sdp, taken[0].1.declined);
        }
        drop(chromium);
        // Killed, it said nothing: its source notices at once that nothing comes, its place is free 15 s later.
        station.wait(LIMIT, "the loss", |told| (!told.lost.is_empty()).then_some(()));
        let told = station.stop();
        if std::env::var_os("AHWATCH_SHOW").is_some() {
            for window in &told.windows {
                let sizes: Vec<_> = window.pictures.iter().map(|still| (still.width, still.height)).collect();
                println!(
                    "{codec} {window:?} {:?} {sizes:?} missing {:?} seen {}",
                    frames(window),
                    window.sound_missing,
                    window.pictures_seen
                );
            }
        }
        assert_eq!(told.continuities, 1, "{codec}: {:?}", told.lost);
        // Its encoder starts small and grows: the codes can be read in any case.
        let last = &told.windows[2];
        assert!(last.pictures.iter().filter_map(code).count() >= 9, "{codec}: {:?}", frames(last));
        assert!(last.pictures_seen >= 50 && last.sound_missing.as_secs_f64() < 0.1, "{codec}: {last:?}");
        let heard = crate::kit::tones::read(last.sound.as_ref().unwrap());
        assert!(heard.anchors.len() > 15, "{codec}: {} blocks of its microphone were read", heard.anchors.len());
    }
}
