#![no_main]
// Peers are guarded: a panic of the WebRTC library ends one browser's connection. libFuzzer's own hook would end the process.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |data: &[u8]| ahwatch_fuzz::offer::run(data)
);
