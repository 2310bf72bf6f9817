//! What a model wrote, read strictly: one `<answer>Yes|No</answer>` or nothing; and P(Yes) at the token that decided.

use super::canary::LabelLogprobs;
use super::{Label, Score};

/// The text is not exactly one `<answer>Yes|No</answer>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not exactly one <answer>Yes|No</answer>")]
pub struct Unparsable;

/// Present for `<answer>Yes</answer>`, Absent for `<answer>No</answer>`.
///
/// Letter case is free, and so is white space around the whole, around the label and inside the angle brackets.
/// Anything else (text around, two answers, "maybe", an unfinished tag) is no answer.
///
/// # Errors
/// [`Unparsable`] for everything else; there is no default.
pub fn parse_answer(text: &str) -> Result<Label, Unparsable> {
    let mut rest = text;
    for word in ["<", "answer", ">"] {
        rest = strip(rest, word).ok_or(Unparsable)?;
    }
    let (label, mut rest) = match (strip(rest, "yes"), strip(rest, "no")) {
        (Some(rest), _) => (Label::Present, rest),
        (_, Some(rest)) => (Label::Absent, rest),
        _ => return Err(Unparsable),
    };
    for word in ["<", "/", "answer", ">"] {
        rest = strip(rest, word).ok_or(Unparsable)?;
    }
    if rest.trim_start().is_empty() { Ok(label) } else { Err(Unparsable) }
}

/// `text` after leading white space and `word` (lower case ASCII), in any letter case.
fn strip<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let text = text.trim_start();
    let head = text.get(..word.len())?;
    head.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

/// One generated token with the log-probabilities the server gave for its position (`choices[0].logprobs.content[i]`).
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// Its natural log-probability; `-9999` is vLLM's "masked out".
    pub logprob: f64,
    /// The most likely tokens at this position, at most 20, usually with the generated one.
    #[serde(default)]
    pub top_logprobs: Vec<Alternative>,
}

/// A token that could have been generated instead.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct Alternative {
    /// The token's text.
    pub token: String,
    /// Its natural log-probability.
    pub logprob: f64,
}

/// Why there is no P(Yes) although it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoScore {
    /// The server sent no log-probabilities.
    #[error("the server sent no log-probabilities")]
    NotGiven,
    /// The answer was cut into other tokens than in training, so no single token decided between the labels.
    #[error("no single token decided between the labels")]
    OtherTokens,
    /// The label not chosen is not among the listed alternatives, and is not made up.
    #[error("the other label is not among the listed tokens")]
    OutOfList,
    /// Not a log-probability, or nothing left of both.
    #[error("the log-probabilities are not usable")]
    Senseless,
}

/// The token that leads to Yes after `<answer` (id 29 of Qwen3-Omni's tokenizer).
pub(super) const TO_YES: &str = ">";
/// The token that leads to No there (id 41157).
pub(super) const TO_NO: &str = ">No";

/// P(Yes) and the label mass, read from the tokens of one answer that said `label`.
///
/// As the tokenizer cuts the two answers, `<answer>Yes</answer>` is `<` `answer` `>` `Yes` … and `<answer>No</answer>` is
/// `<` `answer` `>No` …: the models decide by `>` against `>No` after `<answer`, and after `>` Yes is all but certain.
/// So P(Yes) is `e^lp(>) / (e^lp(>) + e^lp(>No))` at that token. A constrained answer may come in other pieces; what
/// counts is the text before the token and the token itself. Where they differ (`>` and then `No`) nothing is made up.
///
/// With `constrained` the mass is None: the server renormalises after its mask.
///
/// # Errors
/// If the tokens do not say.
pub fn read_score(tokens: &[TokenLogprob], label: Label, constrained: bool) -> Result<Score, NoScore> {
    let LabelLogprobs { yes, no } = read_labels(tokens, label)?;
    let mass = yes.exp() + no.exp();
    if mass <= 0.0 {
        return Err(NoScore::Senseless);
    }
    // 1 / (1 + e^(no - yes)) is e^yes / (e^yes + e^no) without underflow.
    let p_yes = 1.0 / (1.0 + (no - yes).exp());
    Ok(Score { p_yes, label_mass: (!constrained).then_some(mass.min(1.0)) })
}

/// The log-probabilities of both labels at that token.
///
/// # Errors
/// If the tokens do not say.
pub fn read_labels(tokens: &[TokenLogprob], label: Label) -> Result<LabelLogprobs, NoScore> {
    if tokens.is_empty() {
        return Err(NoScore::NotGiven);
    }
    let mut before = String::new();
    let mut decision = None;
    for token in tokens {
        if before.trim_start() == "<answer" {
            decision = Some(token);
            break;
        }
        before.push_str(&token.token);
    }
    let decision = decision.ok_or(NoScore::OtherTokens)?;
    let other = match (decision.token.as_str(), label) {
        (TO_YES, Label::Present) => TO_NO,
        (TO_NO, Label::Absent) => TO_YES,
        _ => return Err(NoScore::OtherTokens),
    };
    let other = decision.top_logprobs.iter().find(|a| a.token == other).ok_or(NoScore::OutOfList)?.logprob;
    let (yes, no) = if label == Label::Present { (decision.logprob, other) } else { (other, decision.logprob) };
    // Rounding may put a certainty a hair above 0.
    if !(yes <= 1e-3 && no <= 1e-3) {
        return Err(NoScore::Senseless);
    }
    Ok(LabelLogprobs { yes, no })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_answer_and_nothing_else() {
        for (text, label) in [
            ("<answer>Yes</answer>", Label::Present),
            ("<answer>No</answer>", Label::Absent),
            (" \n<ANSWER>\tyEs </Answer>\n", Label::Present),
            ("< answer > NO < / answer >", Label::Absent),
            ("\u{a0}<answer>yes</answer>\u{2003}", Label::Present),
        ] {
            assert_eq!(parse_answer(text), Ok(label), "{text:?}");
        }
        for text in [
            "",
            "Yes",
            "No",
            "<answer>",
            "<answer></answer>",
            "<answer>maybe</answer>",
            "<answer>Yes",
            "Yes</answer>",
            "<answer>Yes</answer><answer>Yes</answer>",
            "<answer>Yes</answer>.",
            "The answer: <answer>No</answer>",
            "<answer>Yes No</answer>",
            "<answer>Yesno</answer>",
            "<answer>N o</answer>",
            "<answer>Not</answer>",
            "<answer>YesYes</answer>",
            "<answer>Yes.</answer>",
            "<think></think><answer>No</answer>",
            "<answer>Nо</answer>",
            "<answer>answer is here</answer>",
            "<ans wer>No</answer>",
        ] {
            assert_eq!(parse_answer(text), Err(Unparsable), "{text:?}");
        }
    }

    type Piece<'a> = (&'a str, f64, &'a [(&'a str, f64)]);

    fn tokens(pieces: &[Piece<'_>]) -> Vec<TokenLogprob> {
        pieces
            .iter()
            .map(|(token, logprob, top)| TokenLogprob {
                token: (*token).into(),
                logprob: *logprob,
                top_logprobs: top
                    .iter()
                    .map(|(token, logprob)| Alternative { token: (*token).into(), logprob: *logprob })
                    .collect(),
            })
            .collect()
    }

    #[test]
    fn the_score_is_read_where_the_labels_part() {
        let (yes, no) = (0.7_f64.ln(), 0.2_f64.ln());
        let said_yes = tokens(&[
            ("<", 0.0, &[]),
            ("answer", 0.0, &[]),
            (">", yes, &[(">", yes), (">No", no)]),
            ("Yes", -0.1, &[]),
        ]);
        let score = read_score(&said_yes, Label::Present, false).unwrap();
        assert!((score.p_yes - 7.0 / 9.0).abs() < 1e-12);
        assert!((score.label_mass.unwrap() - 0.9).abs() < 1e-12);
        assert_eq!(read_score(&said_yes, Label::Present, true).unwrap().label_mass, None);

        // In other pieces, as a constrained answer may come; the chosen token need not be in the list.
        let said_no = tokens(&[("<", 0.0, &[]), ("an", 0.0, &[]), ("swer", 0.0, &[]), (">No", no, &[(">", yes)])]);
        assert!((read_score(&said_no, Label::Absent, false).unwrap().p_yes - 7.0 / 9.0).abs() < 1e-12);

        // Masked out is probability 0, far-away odds do not overflow.
        let sure = tokens(&[("<", 0.0, &[]), ("answer", 0.0, &[]), (">", -0.0, &[(">No", -9999.0)])]);
        assert!(read_score(&sure, Label::Present, true).unwrap().p_yes > 0.999_999);
    }

    #[test]
    fn no_score_is_made_up() {
        let at = |token: &str, top: &[(&str, f64)]| {
            tokens(&[("<", 0.0, &[]), ("answer", 0.0, &[]), (token, -0.5, top), ("No", 0.0, &[])])
        };
        for (tokens, label, why) in [
            (vec![], Label::Present, NoScore::NotGiven),
            (at(">", &[(">", -0.5)]), Label::Present, NoScore::OutOfList),
            (at(">", &[(">No", -0.9)]), Label::Absent, NoScore::OtherTokens),
            (at(">Y", &[(">No", -0.9)]), Label::Present, NoScore::OtherTokens),
            (at(">", &[(">No", f64::NAN)]), Label::Present, NoScore::Senseless),
            (at(">", &[(">No", 3.0)]), Label::Present, NoScore::Senseless),
            (tokens(&[("<answer>", -0.1, &[]), ("Yes", -0.1, &[("No", -3.0)])]), Label::Present, NoScore::OtherTokens),
            (
                tokens(&[("<", 0.0, &[]), ("answer", 0.0, &[]), (">", -9999.0, &[(">No", -9999.0)])]),
                Label::Present,
                NoScore::Senseless,
            ),
        ] {
            assert_eq!(read_score(&tokens, label, false), Err(why), "{tokens:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _ = parse_answer(&text);
        }

        #[test]
        fn tag_soup_has_one_reading(pieces in proptest::collection::vec(prop_oneof![
            Just("<answer>"), Just("</answer>"), Just("Yes"), Just("No"), Just(" "), Just("<"), Just("é"), Just("maybe")], 0..8)) {
            let text = pieces.concat();
            let bare: String = text.split_whitespace().collect();
            let expected = match bare.as_str() {
                "<answer>Yes</answer>" => Ok(Label::Present),
                "<answer>No</answer>" => Ok(Label::Absent),
                _ => Err(Unparsable),
            };
            prop_assert_eq!(parse_answer(&text), expected);
        }

        #[test]
        fn the_free_parts_are_case_and_white_space(yes: bool, upper in proptest::collection::vec(any::<bool>(), 20), blanks in proptest::collection::vec("[ \t\r\n]{0,2}", 8)) {
            let words = ["<", "answer", ">", if yes { "yes" } else { "no" }, "<", "/", "answer", ">"];
            let text: String = words.iter().zip(&blanks).flat_map(|(word, blank)| [blank.as_str(), word]).collect();
            let text: String = text.chars().enumerate().map(|(i, c)| if upper[i % upper.len()] { c.to_ascii_uppercase() } else { c }).collect();
            prop_assert_eq!(parse_answer(&text), Ok(if yes { Label::Present } else { Label::Absent }));
        }

        #[test]
        fn scores_are_probabilities(yes in -30.0..0.0_f64, no in -30.0..0.0_f64, said_yes: bool) {
            let (token, other, label) = if said_yes { (">", ">No", Label::Present) } else { (">No", ">", Label::Absent) };
            let (own, second) = if said_yes { (yes, no) } else { (no, yes) };
            let tokens = tokens(&[("<", 0.0, &[]), ("answer", 0.0, &[]), (token, own, &[(other, second)])]);
            let score = read_score(&tokens, label, false).unwrap();
            prop_assert!((0.0..=1.0).contains(&score.p_yes));
            prop_assert!((score.p_yes - yes.exp() / (yes.exp() + no.exp())).abs() < 1e-9);
        }
    }
}
