//! The words a judge is asked with, and where in them its media go.

use std::fmt;

/// The shipped prompts by name. `trained` is the published training prompt, to the letter.
pub const SHIPPED: [(&str, &str); 2] = [
    ("trained", include_str!("../../models/prompts/trained.txt")),
    ("definitions", include_str!("../../models/prompts/definitions.txt")),
];

const VIDEO_TAG: &str = "<video>";
const AUDIO_TAG: &str = "<audio>";

/// Which media a judge takes; at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// The clip's MP4.
    pub video: bool,
    /// The clip's WAV.
    pub audio: bool,
}

/// One piece of the user message, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptPart {
    /// Text, with its leading and trailing blanks exactly as in training.
    Text(String),
    /// The clip's MP4 goes here.
    Video,
    /// The clip's WAV goes here.
    Audio,
}

/// A prompt cut at its media tags: text, media, text, media, text, as interleaved in training.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    parts: Vec<PromptPart>,
}

/// Why a text cannot be a judge's prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// A medium the judge accepts has no place in the text.
    #[error("the prompt has no {0} tag, but the judge accepts that medium")]
    Missing(&'static str),
    /// A tag occurs twice; a clip has one of each.
    #[error("the prompt has more than one {0} tag")]
    Twice(&'static str),
}

impl Prompt {
    /// Cuts `text` at its `<video>` and `<audio>` tags; one final line break is no part of it.
    ///
    /// A medium the judge does not accept leaves no trace: its tag goes, with the " and " or ", " that joined it to the
    /// other one, since servers would take a tag without media as plain text, silently.
    ///
    /// # Errors
    /// If an accepted medium has no tag, or a tag occurs twice.
    pub fn parse(text: &str, accepts: Accepts) -> Result<Self, PromptError> {
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        let mut text = text.to_owned();
        for (tag, accepted) in [(VIDEO_TAG, accepts.video), (AUDIO_TAG, accepts.audio)] {
            match text.matches(tag).count() {
                0 if accepted => return Err(PromptError::Missing(tag)),
                0 | 1 => {}
                _ => return Err(PromptError::Twice(tag)),
            }
            if !accepted {
                text = without(&text, tag);
            }
        }
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        loop {
            let next = [(VIDEO_TAG, PromptPart::Video), (AUDIO_TAG, PromptPart::Audio)]
                .into_iter()
                .filter_map(|(tag, part)| rest.find(tag).map(|at| (at, tag, part)))
                .min_by_key(|(at, ..)| *at);
            let (before, after) =
                next.as_ref().map_or((rest, ""), |(at, tag, _)| (&rest[..*at], &rest[at + tag.len()..]));
            if !before.is_empty() {
                parts.push(PromptPart::Text(before.to_owned()));
            }
            let Some((.., part)) = next else { break };
            parts.push(part);
            rest = after;
        }
        Ok(Self { parts })
    }

    /// The pieces in order.
    #[must_use]
    pub fn parts(&self) -> &[PromptPart] {
        &self.parts
    }
}

/// `text` without `tag` and without what joined it to its neighbours.
fn without(text: &str, tag: &str) -> String {
    for joined in [
        format!("{tag} and "),
        format!(" and {tag}"),
        format!("{tag}, "),
        format!(", {tag}"),
        format!("{tag} "),
        format!(" {tag}"),
    ] {
        if text.contains(&joined) {
            return text.replace(&joined, "");
        }
    }
    text.replace(tag, "")
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.parts).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Accepts = Accepts { video: true, audio: true };

    fn text(text: &str) -> PromptPart {
        PromptPart::Text(text.into())
    }

    #[test]
    fn the_trained_prompt_is_the_published_one_to_the_letter() {
        assert_eq!(
            SHIPPED[0].1,
            "Combine the <video> and <audio> content to analyze whether this video clip exhibits Ambivalence/Hesitancy emotions. \
             Output the answer in the format <answer>answer is here</answer>, responding only with Yes or No.\n"
        );
        assert_eq!(
            Prompt::parse(SHIPPED[0].1, BOTH).unwrap().parts(),
            [
                text("Combine the "),
                PromptPart::Video,
                text(" and "),
                PromptPart::Audio,
                text(
                    " content to analyze whether this video clip exhibits Ambivalence/Hesitancy emotions. Output the answer in the \
                     format <answer>answer is here</answer>, responding only with Yes or No."
                ),
            ]
        );
    }

    #[test]
    fn a_medium_not_accepted_leaves_no_trace() {
        for (_, prompt) in SHIPPED {
            let video = Prompt::parse(prompt, Accepts { video: true, audio: false }).unwrap();
            let audio = Prompt::parse(prompt, Accepts { video: false, audio: true }).unwrap();
            for (parts, medium) in [(video.parts(), PromptPart::Video), (audio.parts(), PromptPart::Audio)] {
                assert_eq!(parts[0], text("Combine the "));
                assert_eq!(parts[1], medium);
                assert!(matches!(&parts[2], PromptPart::Text(rest) if rest.starts_with(" content to ")));
                assert_eq!(parts.len(), 3);
            }
        }
    }

    #[test]
    fn media_may_stand_anywhere() {
        let parts = |prompt: &str| Prompt::parse(prompt, BOTH).unwrap().parts;
        assert_eq!(parts("<audio><video>"), [PromptPart::Audio, PromptPart::Video]);
        assert_eq!(parts("<audio>x<video>\r\n"), [PromptPart::Audio, text("x"), PromptPart::Video]);
    }

    #[test]
    fn tags_missing_or_doubled_are_refused() {
        assert_eq!(Prompt::parse("<video>", BOTH), Err(PromptError::Missing("<audio>")));
        assert_eq!(Prompt::parse("<video><audio><video>", BOTH), Err(PromptError::Twice("<video>")));
    }
}
