//! Reading YAML as it streams by: events with their place, for files far too large for a tree.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use saphyr_parser::{BufferedInput, Event, Parser, ScalarStyle, Span, Tag};

use super::BahError;

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;
/// The one tag that the files use, for what Python had as a tuple: a sequence like any other.
const TUPLE: &str = "tag:yaml.org,2002:python/tuple";

/// A YAML file, event by event.
pub(super) struct Yaml {
    file: PathBuf,
    parser: Parser<'static, BufferedInput<Chars>>,
    /// Why the characters ended early, if they did.
    broken: Rc<RefCell<Option<String>>>,
    /// Line and column of the newest event, from 1.
    place: (usize, usize),
}

/// What stands at a place.
#[derive(Debug, PartialEq)]
pub(super) enum Node {
    /// Text, a number or null.
    Scalar(Scalar),
    /// A list begins.
    List,
    /// A mapping begins.
    Map,
    /// The list or mapping ends.
    End,
}

/// A scalar as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scalar {
    /// Its text.
    pub text: String,
    /// It was in quotes: text, whatever it looks like.
    pub quoted: bool,
}

impl Scalar {
    /// It is YAML's null.
    pub fn is_null(&self) -> bool {
        !self.quoted && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

impl Yaml {
    /// Opens a file and enters its top mapping. False: the file is empty.
    pub fn open(file: &Path) -> Result<(Self, bool), BahError> {
        let opened = File::open(file).map_err(|e| BahError::unreadable(file, &e))?;
        let broken = Rc::default();
        let chars = Chars { file: opened, text: String::new(), at: 0, rest: Vec::new(), broken: Rc::clone(&broken) };
        let parser = Parser::new_from_iter(chars);
        let mut yaml = Self { file: file.to_owned(), parser, broken, place: (1, 1) };
        loop {
            match yaml.event()? {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd => return Ok((yaml, false)),
                Event::MappingStart(..) => return Ok((yaml, true)),
                Event::Scalar(text, ..) if text.is_empty() => return Ok((yaml, false)),
                _ => return Err(yaml.wrong("the file must hold one mapping (`key: value` lines)")),
            }
        }
    }

    /// Line of the newest event.
    pub const fn line(&self) -> usize {
        self.place.0
    }

    /// An error at the newest event.
    pub fn wrong(&self, what: impl Into<String>) -> BahError {
        let (line, column) = self.place;
        BahError::Malformed { file: self.file.clone(), line, column: Some(column), what: what.into() }
    }

    fn event(&mut self) -> Result<Event<'static>, BahError> {
        let next = self.parser.next_event();
        if let Some(reason) = self.broken.borrow_mut().take() {
            return Err(self.wrong(reason));
        }
        match next {
            Some(Ok((event, Span { start, .. }))) => {
                self.place = (start.line(), start.col() + 1);
                Ok(event)
            }
            Some(Err(error)) => {
                let mark = error.marker();
                self.place = (mark.line(), mark.col() + 1);
                Err(self.wrong(format!("is no YAML: {}", error.info())))
            }
            None => Ok(Event::StreamEnd),
        }
    }

    /// What comes next inside of what was entered.
    pub fn next(&mut self) -> Result<Node, BahError> {
        loop {
            let (node, tag) = match self.event()? {
                Event::Scalar(text, style, _, tag) => {
                    let quoted = style != ScalarStyle::Plain;
                    (Node::Scalar(Scalar { text: text.into_owned(), quoted }), tag)
                }
                Event::SequenceStart(_, tag) => (Node::List, tag),
                Event::MappingStart(_, tag) => (Node::Map, tag),
                Event::SequenceEnd | Event::MappingEnd => (Node::End, None),
                Event::Alias(_) => {
                    return Err(self.wrong("an alias (`*name`) cannot be read here; write the value out"));
                }
                Event::DocumentEnd | Event::StreamEnd => return Err(self.wrong("the file ends in the middle")),
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
            };
            return match tag {
                Some(tag) if !known(&tag) => Err(self.wrong(format!("the tag {tag} is not known"))),
                _ => Ok(node),
            };
        }
    }

    /// Passes over what comes next, whatever it is. Aliases are fine here.
    pub fn skip(&mut self) -> Result<(), BahError> {
        let mut depth = 0usize;
        loop {
            let tag = match self.event()? {
                Event::Scalar(_, _, _, tag) => tag,
                Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => {
                    depth += 1;
                    tag
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    depth = depth.saturating_sub(1);
                    None
                }
                Event::Alias(_) => None,
                Event::DocumentEnd | Event::StreamEnd => return Err(self.wrong("the file ends in the middle")),
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
            };
            if let Some(tag) = tag.filter(|tag| !known(tag)) {
                return Err(self.wrong(format!("the tag {tag} is not known")));
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// The next key of a mapping; None at its end.
    pub fn key(&mut self) -> Result<Option<String>, BahError> {
        match self.next()? {
            Node::Scalar(scalar) => Ok(Some(scalar.text)),
            Node::End => Ok(None),
            Node::List | Node::Map => Err(self.wrong("a key must be text")),
        }
    }

    /// A scalar.
    pub fn scalar(&mut self, what: &str) -> Result<Scalar, BahError> {
        match self.next()? {
            Node::Scalar(scalar) => Ok(scalar),
            _ => Err(self.wrong(format!("{what} must be a single value"))),
        }
    }

    /// Enters a list; false: null stands there instead.
    pub fn list(&mut self, what: &str) -> Result<bool, BahError> {
        match self.next()? {
            Node::List => Ok(true),
            Node::Scalar(scalar) if scalar.is_null() => Ok(false),
            _ => Err(self.wrong(format!("{what} must be a list"))),
        }
    }

    /// The next pair of a list of pairs; None at the list's end.
    pub fn pair(&mut self, what: &str) -> Result<Option<(Scalar, Scalar)>, BahError> {
        match self.next()? {
            Node::End => return Ok(None),
            Node::List => {}
            _ => return Err(self.wrong(format!("an entry of {what} must be a pair"))),
        }
        let pair = (self.scalar(what)?, self.scalar(what)?);
        match self.next()? {
            Node::End => Ok(Some(pair)),
            _ => Err(self.wrong(format!("an entry of {what} must be a pair"))),
        }
    }
}

fn known(tag: &Tag) -> bool {
    const CORE: [&str; 7] = ["str", "int", "float", "bool", "null", "seq", "map"];
    let whole = format!("{}{}", tag.handle, tag.suffix);
    whole == TUPLE || (tag.is_yaml_core_schema() && CORE.contains(&tag.suffix.as_str()))
}

/// The characters of a file, read block by block.
struct Chars {
    file: File,
    text: String,
    at: usize,
    /// The first bytes of a character whose others come with the next block.
    rest: Vec<u8>,
    broken: Rc<RefCell<Option<String>>>,
}

impl Chars {
    /// Reads on; false at the end.
    fn refill(&mut self) -> bool {
        let mut bytes = std::mem::take(&mut self.rest);
        let begun = bytes.len();
        if let Err(error) = (&self.file).take(BLOCK as u64).read_to_end(&mut bytes) {
            self.broken.replace(Some(format!("cannot be read on: {error}")));
            return false;
        }
        if bytes.is_empty() {
            return false;
        }
        let ended = bytes.len() == begun;
        self.at = 0;
        match String::from_utf8(bytes) {
            Ok(text) => self.text = text,
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                if error.utf8_error().error_len().is_some() || ended {
                    self.broken.replace(Some("is not UTF-8 text from here on".into()));
                    return false;
                }
                let mut bytes = error.into_bytes();
                self.rest = bytes.split_off(valid);
                // Checked just above; nothing is lost if it were not so.
                self.text = String::from_utf8(bytes).unwrap_or_default();
            }
        }
        true
    }
}

impl Iterator for Chars {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            if let Some(c) = self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
                self.at += c.len_utf8();
                // A byte order mark is no character of the file.
                if c == '\u{feff}' {
                    continue;
                }
                return Some(c);
            }
            if !self.refill() {
                return None;
            }
        }
    }
}
