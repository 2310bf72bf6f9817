//! `make conformance`: the client against the real vLLM and the real ms-swift, which serve tiny random models.
//!
//! - [`rig`]: starts those servers, from what `tests/conformance/setup.sh` built. [`tap`]: listens between client and server.
//! - [`media`]: one planted recording, as clips of ours and as training's files. [`card`]: the scorecard.
//! - [`bench`]: what a check gets: a server, the client in front of it, the media, its rows of the card.
//! - One file a topic with its checks: [`prompt`], [`clip`], [`tokens`], [`time_scale`], [`answers`], [`panel`], [`watching`],
//!   [`doctor`], [`spread`], [`trained`].
//!
//! A check is a function in its topic's file and a line in [`CHECKS`]. Checks of one server stand together, so that each server
//! is started once; what one server said is kept in [`bench::Memory`] for the checks of another. See
//! `tests/conformance/README.md` for what this proves and what it cannot.

mod answers;
mod bench;
mod card;
mod clip;
mod doctor;
mod media;
mod panel;
mod prompt;
mod rig;
mod spread;
mod tap;
mod time_scale;
mod tokens;
mod trained;
mod watching;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bench::{Bench, Memory};
use card::Card;
use rig::{Rig, Server, Setting};

/// What a check runs against, its topic (its file's name), and itself.
type Check = (On, &'static str, fn(&mut Bench));

/// What is up while a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// No server: ms-swift's reader of training rows.
    Training,
    /// No server: `swift sft` and `swift rlhf`.
    Tuning,
    /// `swift deploy` with the model that has experts.
    Swift,
    /// vLLM with the same model, and the time scale of ms-swift 4.6 (`fps` 2).
    Vllm,
    /// vLLM with the same model and no time scale set.
    VllmWithoutFps,
    /// `swift deploy` with the first, second, third merged checkpoint.
    Merged(u8),
    /// vLLM with three adapters, and an API key.
    Adapters,
    /// vLLM with the model that has experts, in 16 bits as on a GPU.
    Half,
    /// vLLM with what was trained by this recipe, the time scale of ms-swift 4.6.
    Trained(&'static str),
}

impl On {
    /// None: nothing has to be started.
    fn setting(self) -> Option<Setting> {
        match self {
            Self::Training | Self::Tuning => None,
            Self::Swift => Some(Setting::swift("models/tiny-moe")),
            Self::Vllm => Some(Setting::vllm("models/tiny-moe").fps(2)),
            Self::VllmWithoutFps => Some(Setting::vllm("models/tiny-moe")),
            Self::Merged(n) => Some(Setting::swift(&format!("judges/v{n}-merged"))),
            Self::Half => Some(Setting::vllm("models/tiny-moe").fps(2).half()),
            Self::Trained(recipe) => Some(Setting::vllm(&trained::weights(recipe)).fps(2)),
            Self::Adapters => Some(Setting::vllm("models/tiny-dense").fps(2).adapters(&["v1", "v2", "v3"]).key()),
        }
    }
}

/// All checks, in the order of running.
const CHECKS: &[Check] = &[
    (On::Training, "prompt", prompt::of_training),
    (On::Swift, "clip", clip::is_taken),
    (On::Swift, "clip", clip::refusals),
    (On::Swift, "tokens", tokens::in_all),
    (On::Swift, "prompt", prompt::as_trained),
    (On::Swift, "time_scale", time_scale::reference),
    (On::Swift, "time_scale", time_scale::of_a_tail),
    (On::Swift, "answers", answers::constraint_is_ignored),
    (On::Swift, "doctor", doctor::unproven),
    (On::Swift, "watching", watching::noise_is_abstained),
    (On::Vllm, "clip", clip::is_taken),
    (On::Vllm, "clip", clip::refusals),
    (On::Vllm, "tokens", tokens::in_all),
    (On::Vllm, "tokens", tokens::by_modality),
    (On::Vllm, "prompt", prompt::as_trained),
    (On::Vllm, "time_scale", time_scale::agrees_with_fps),
    (On::Vllm, "answers", answers::constraint_holds),
    (On::Vllm, "answers", answers::label_odds),
    (On::Vllm, "doctor", doctor::proven),
    (On::Vllm, "spread", spread::of_one_server),
    (On::Vllm, "watching", watching::every_window_votes),
    // Kills the server, and starts the next one in its place.
    (On::Vllm, "watching", watching::a_killed_server_comes_back),
    (On::VllmWithoutFps, "time_scale", time_scale::differs_without_fps),
    (On::Merged(1), "panel", panel::merged),
    (On::Merged(2), "panel", panel::merged),
    (On::Merged(3), "panel", panel::merged),
    (On::Adapters, "panel", panel::adapters),
    (On::Adapters, "clip", clip::keys),
    (On::Half, "spread", spread::in_16_bits),
    (On::Tuning, "trained", trained::by_swift),
    (On::Trained("v1"), "trained", trained::is_served),
    (On::Trained("v2"), "trained", trained::is_served),
];

#[test]
#[ignore = "needs real servers: make conformance"]
fn the_client_before_real_servers() {
    let rig = Rig::find();
    let media = media::Media::make(rig.scratch());
    let only = std::env::var("ONLY").unwrap_or_default();
    let only: Vec<_> = only.split([',', ' ']).filter(|topic| !topic.is_empty()).collect();
    for topic in &only {
        assert!(CHECKS.iter().any(|(_, known, _)| known == topic), "ONLY={topic}: there is no such topic");
    }
    let (mut card, mut memory, mut recorded) = (Card::default(), Memory::default(), Vec::new());
    let mut server: Option<Server> = None;
    let mut on = None;
    for (needs, topic, check) in CHECKS.iter().copied() {
        // What training's reader says is what others compare with; it needs no server.
        if !only.is_empty() && !only.contains(&topic) && needs != On::Training {
            continue;
        }
        let setting = needs.setting();
        let none = || if needs == On::Tuning { "ms-swift" } else { "ms-swift's reader" }.to_owned();
        let name = setting.as_ref().map_or_else(none, Setting::name);
        if on != Some(needs) {
            println!("{name}");
            on = Some(needs);
        }
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            if setting.as_ref() != server.as_ref().map(Server::setting) {
                drop(server.take()); // before the next one starts
                server = setting.as_ref().map(|setting| rig.start(setting));
            }
            check(&mut Bench {
                rig: &rig,
                server: &mut server,
                media: &media,
                memory: &mut memory,
                recorded: &mut recorded,
                card: &mut card,
                topic,
                on: name.clone(),
            });
        }));
        if let Err(panic) = attempt {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned())).unwrap_or_default();
            card.push(&name, topic, "could not be checked to its end", Some("no panic"), &card::shown(&why), false);
        }
    }
    drop(server);
    std::fs::write(rig.scratch().join("recorded.jsonl"), recorded.join("\n") + "\n").expect("target/tmp is writable");
    if std::env::var("RECORD").is_ok_and(|record| record == "1") && only.is_empty() && card.wrong() == 0 {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/endpoint/conformance.jsonl");
        std::fs::write(fixture, recorded.join("\n") + "\n").expect("the fixture is writable");
    }
    std::fs::write(rig.scratch().join("scorecard.md"), format!("{card}\n")).expect("target/tmp is writable");
    println!("\n{card}\n\n{} of {} as expected", card.len() - card.wrong(), card.len());
    assert_eq!(card.wrong(), 0, "some of it is not as expected");
}
