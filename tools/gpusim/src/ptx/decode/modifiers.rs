//! The modifiers of an opcode, consumed one by one; what is left over in the end is not modelled.

use crate::ptx::program::Round;
use crate::ptx::types::{Space, Ty};

pub struct Modifiers<'a> {
    left: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    /// Splits `add.rn.f32` into `add` and its modifiers.
    pub fn split(opcode: &'a str) -> (&'a str, Self) {
        let mut parts = opcode.split('.');
        let base = parts.next().unwrap_or("");
        (base, Self { left: parts.collect() })
    }

    /// Consumes a modifier if it is there.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.left.iter().position(|w| *w == word);
        found.map(|i| self.left.remove(i)).is_some()
    }

    pub fn take_any(&mut self, words: &[&str]) -> Option<&'a str> {
        let found = self.left.iter().position(|w| words.contains(w));
        found.map(|i| self.left.remove(i))
    }

    /// Consumes the next modifier, whatever it is, if `known` understands it.
    pub fn find<T>(&mut self, known: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (i, value) = self.left.iter().enumerate().find_map(|(i, w)| Some((i, known(w)?)))?;
        self.left.remove(i);
        Some(value)
    }

    /// Consumes the first type.
    pub fn ty(&mut self) -> Option<Ty> {
        self.find(Ty::named)
    }

    pub fn space(&mut self) -> Option<Space> {
        self.find(Space::named)
    }

    pub fn round(&mut self) -> Option<Round> {
        self.find(|w| {
            Some(match w {
                "rn" => Round::Nearest,
                "rz" => Round::Zero,
                "rm" => Round::Down,
                "rp" => Round::Up,
                _ => return None,
            })
        })
    }

    pub fn left(&self) -> &[&'a str] {
        &self.left
    }
}
