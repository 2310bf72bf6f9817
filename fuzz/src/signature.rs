//! Keys and signatures of webhooks: a key that the configuration takes signs as Standard Webhooks says, by an HMAC of our own; one
//! that it refuses is not repeated; and nothing else has that signature.

use std::path::Path;

use ahwatch::alert::sink::Webhook;
use ahwatch::config::{Config, Overrides, Problems, RawConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

const CONFIG: &str = "[[sink]]\nname = \"desk\"\nkind = \"webhook\"\nurl = \"http://h.example/p\"\nallow_plain = true\nsecret_env = \"HOOK\"\n";

/// The key, the event's id, the seconds as text and the body, with a line feed between them. A key that begins with `=` is of as
/// many bytes as stand behind that, so that valid ones are found.
pub fn run(data: &[u8]) {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (key, id, seconds, body) = (next(), next(), next(), next());
    let Ok(key) = (match key.strip_prefix(b"=") {
        Some(bytes) => Ok(format!("whsec_{}", STANDARD.encode(bytes))),
        None => String::from_utf8(key.to_vec()),
    }) else {
        return;
    };
    let config = match built(&key) {
        Ok(config) => config,
        Err(problems) => {
            let text = problems.to_string();
            // The words of the message itself, of a key that is none in any case.
            let words = refusal("no key");
            assert!(key.len() < 12 || words.contains(&key) || !text.contains(&key), "{text}");
            return;
        }
    };
    let sink = &config.sinks[0];
    assert!(key.len() < 12 || !format!("{config:?}").contains(&key), "no key is printed");
    let webhook = Webhook::new(sink).expect("what the configuration takes is a key");
    let (Ok(id), Ok(seconds)) = (std::str::from_utf8(id), String::from_utf8_lossy(seconds).trim().parse::<i64>())
    else {
        return;
    };
    let Ok(signature) = webhook.signature(id, seconds, body) else {
        assert!(std::str::from_utf8(body).is_err(), "any text can be signed");
        return;
    };
    let bytes = STANDARD.decode(key.strip_prefix("whsec_").unwrap_or(&key)).expect("it is a key");
    assert!((24..=64).contains(&bytes.len()));
    let by_hand = |id: &str, seconds: i64, body: &[u8]| {
        let message = [format!("{id}.{seconds}.").as_bytes(), body].concat();
        format!("v1,{}", STANDARD.encode(hmac(&bytes, &message)))
    };
    assert_eq!(signature, by_hand(id, seconds, body));
    let mut other = body.to_vec();
    other.push(b'x');
    for different in [webhook.signature(id, seconds, &other), webhook.signature(id, seconds.wrapping_add(1), body)] {
        assert_ne!(different.as_ref(), Ok(&signature));
    }
}

fn built(key: &str) -> Result<Config, Problems> {
    let raw = RawConfig::parse(CONFIG, Path::new("ahwatch.toml"));
    Config::build(raw, Overrides::default(), &|_| Some(key.to_owned()))
}

fn refusal(key: &str) -> String {
    built(key).map_or_else(|problems| problems.to_string(), |_| String::new())
}

/// RFC 2104, for keys of at most a block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}
