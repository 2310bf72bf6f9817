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
        let evidence = measures.as_ref().map_or_else(|_| Evidence::default(), |m| Evidence::of(m, &self.config));
        let decision = decide(self.config.require, &evidence);
        if decision == Decision::Unknown && measures.is_ok() && !std::mem::replace(&mut self.told, true) {
            let missing = if window.sound.is_none() { "sound" } else { "pictures" };
            let require = self.config.require.as_str();
            tracing::warn!(
                source = %self.source,
                "gate.require = \"{require}\" cannot be checked without {missing}: what it cannot tell of passes"
            );
        }
        Checked { measures, flags, evidence, decision }
    }
}
