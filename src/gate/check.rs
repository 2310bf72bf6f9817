//! The gate of one source: measures a window once, flags it, and decides.

use std::sync::Arc;

use super::decide::{Decision, Evidence, decide};
use super::{Flags, MeasureError, Measurer, Measures, lumas};
use crate::config::GateConfig;
use crate::window::Window;

/// Looks at a source's windows, in order.
#[derive(Debug)]
pub struct Gate {
    source: Arc<str>,
    config: GateConfig,
    listener: super::speech::Listener,
    told: bool,
}

/// What was found in a window.
#[derive(Debug)]
pub struct Checked {
    /// Speech and faces, or why they are not known.
    pub measures: Result<Measures, MeasureError>,
    /// What is odd about it.
    pub flags: Flags,
    /// What the gate goes by.
    pub evidence: Evidence,
    /// What becomes of the window.
    pub decision: Decision,
}

impl Gate {
    /// For the source of this name.
    #[must_use]
    pub fn new(source: &str, config: GateConfig) -> Self {
        Self { source: source.into(), config, listener: super::speech::Listener::default(), told: false }
    }

    /// Measures the source's next window, flags it, and decides. Some milliseconds. Without a measurer nothing is required,
    /// whatever the configuration says, and the flags say nothing about speech and faces.
    pub fn check(&mut self, measurer: Option<&mut Measurer>, window: &Window) -> Checked {
        let mut seen = Vec::with_capacity(window.pictures.len());
        let has_models = measurer.is_some();
        let measures = match measurer {
            Some(measurer) => measurer.measure(&mut self.listener, window, |picture| seen.push(picture.luma())),
            None => Err(MeasureError::NoLibrary),
        };
        if let Err(error) = &measures {
            if has_models {
                tracing::warn!(source = %self.source, %error, "a window could not be measured; a gate lets it pass");
            }
            seen = lumas(window);
        }
        let flags = Flags::of(window.sound.as_deref(), &seen, measures.as_ref().ok(), &self.config);
        let found = |measures| Evidence::of(measures, window.sound_missing, &self.config);
        let evidence = measures.as_ref().map_or_else(|_| Evidence::default(), found);
        let decision = decide(self.config.require, &evidence);
        if decision == Decision::Unknown && measures.is_ok() {
            self.tell(window);
        }
        Checked { measures, flags, evidence, decision }
    }

    /// Says once what the source does not have. A hole in its sound is said of each window (`sound_missing`).
    fn tell(&mut self, window: &Window) {
        let require = self.config.require;
        let missing = match window {
            Window { sound: None, .. } if require.needs_speech() => "sound",
            Window { pictures, .. } if require.needs_face() && pictures.is_empty() => "pictures",
            _ => return,
        };
        if !std::mem::replace(&mut self.told, true) {
            let require = require.as_str();
            tracing::warn!(
                source = %self.source,
                "gate.require = \"{require}\" cannot be checked without {missing}: what it cannot tell of passes"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GateRequire;
    use crate::gate::tests::detector_models;
    use crate::time::MediaTime;
    use crate::window::tests::empty;

    fn window(index: u32, sound: Option<Vec<i16>>, missing: i64) -> Window {
        Window { sound, sound_missing: MediaTime::from_millis(missing), ..empty(index) }
    }

    #[test]
    fn a_window_with_a_hole_in_its_sound_passes_and_its_source_is_not_said_to_have_none() {
        let mut measurer = Measurer::new(&detector_models()).unwrap();
        let mut gate = Gate::new("a", GateConfig { require: GateRequire::Speech, ..GateConfig::default() });
        let silence = || Some(vec![0; 80_000]);
        let whole = gate.check(Some(&mut measurer), &window(0, silence(), 0));
        assert!(matches!(whole.decision, Decision::Skip(_)), "{whole:?}");
        let torn = gate.check(Some(&mut measurer), &window(1, silence(), 2000));
        assert_eq!((torn.decision, gate.told), (Decision::Unknown, false));
        // One that has none is.
        let deaf = gate.check(Some(&mut measurer), &window(2, None, 0));
        assert_eq!((deaf.decision, gate.told), (Decision::Unknown, true));
    }
}
