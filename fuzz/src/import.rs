//! Result files of the released scripts: what cannot be read is an abstention, never a "No", and every answer is counted once.

use ahwatch::bah::import::import;
use ahwatch::bah::metrics::Bootstrap;
use ahwatch::bah::run_dir::Said;
use ahwatch::bah::score::score;
use ahwatch::judge::Label;
use serde_json::Value;

/// One to three files, with a form feed between them.
pub fn run(data: &[u8]) {
    let texts: Vec<&[u8]> = data.split(|byte| *byte == 0x0c).take(3).collect();
    let names = ["v1.json", "v2.json", "v3.json"];
    let paths: Vec<_> = texts.iter().zip(names).map(|(text, name)| super::file(name, text)).collect();
    let imported = match import(&paths) {
        Ok(imported) => imported,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(texts.len() % 2 == 1, "an even panel can tie");
    let run = &imported.run;
    assert_eq!(run.info.panel.len(), texts.len());
    // No more of either label than the files plainly say.
    let given = |wanted: Said| {
        let lines = run.samples.values().flat_map(|windows| windows.values()).flat_map(|judges| judges.values());
        lines.filter(|line| line.answer == wanted).count()
    };
    let written = |wanted: bool| texts.iter().map(|text| count(text, wanted)).sum::<usize>();
    assert!(given(Said::Absent) <= written(false), "a No that nobody wrote");
    assert!(given(Said::Present) <= written(true), "a Yes that nobody wrote");
    assert!(run.samples.is_empty() || given(Said::Absent) + given(Said::Present) + given(Said::Abstained) > 0);
    let scored = score(run, Bootstrap { draws: 0, seed: 0 });
    assert_eq!(scored.videos.len(), run.info.videos.len());
    for video in &scored.videos {
        assert_eq!(video.maxima.len(), texts.len());
    }
    let released = imported.compare(&scored);
    assert_eq!(released.rows.len(), texts.len() + 1);
    assert_eq!(serde_json::to_value(&released).map(|value| value.is_object()).ok(), Some(true));
}

/// How many predictions of a file are plainly this label.
fn count(text: &[u8], wanted: bool) -> usize {
    // What the typed reader takes and this does not (numbers that no float holds, lists for objects) is not counted here.
    let value: Option<Value> = serde_json::from_slice(text).ok();
    let Some(details) = value.as_ref().and_then(|value| value["details"].as_array()) else { return text.len() };
    if !details.iter().all(Value::is_object) {
        return text.len();
    }
    details.iter().filter(|detail| plainly(&detail["prediction_label"]) == Some(wanted)).count()
}

fn plainly(prediction: &Value) -> Option<bool> {
    let words = match prediction {
        Value::String(text) => text.trim().to_ascii_lowercase(),
        other => other.to_string(),
    };
    match words.as_str() {
        "yes" | "1" | "true" | "1.0" => Some(true),
        "no" | "0" | "false" | "0.0" | "-0.0" => Some(false),
        text => super::answer::plainly(text).map(|label| label == Label::Present),
    }
}
