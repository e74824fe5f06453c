//! Which buffer is where: allocation, delayed reuse, named parts, and an address put into words.

use super::ALIGN;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Live,
    Freed,
}

#[derive(Debug)]
struct Buffer {
    bytes: u64,
    name: String,
    state: State,
    /// Parts declared by the owner, by start; present once the first was declared.
    parts: Option<BTreeMap<u64, Buffer>>,
}

/// What a report says about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub name: String,
    pub start: u64,
    pub bytes: u64,
    /// Bytes from the start; at or past `bytes` when the address is behind the buffer.
    pub offset: u64,
    pub state: State,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            return write!(f, "no buffer");
        }
        write!(f, "`{}` + {}, {} bytes", self.name, self.offset, self.bytes)?;
        match self.state {
            State::Freed => write!(f, ", freed"),
            State::Live if self.offset >= self.bytes => write!(f, ", behind its end"),
            State::Live => Ok(()),
        }
    }
}

pub struct Buffers {
    by_start: BTreeMap<u64, Buffer>,
    /// Freed ranges, red zones included, oldest first.
    quarantine: VecDeque<Range<u64>>,
    next: u64,
    end: u64,
}

fn footprint(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(ALIGN) + ALIGN
}

impl Buffers {
    pub fn new(range: Range<u64>) -> Self {
        Self {
            by_start: BTreeMap::new(),
            quarantine: VecDeque::new(),
            next: range.start + ALIGN,
            end: range.end,
        }
    }

    pub fn alloc(&mut self, bytes: u64, name: &str) -> Option<u64> {
        let need = footprint(bytes);
        let start = if need <= self.end - self.next {
            self.next += need;
            self.next - need
        } else {
            self.reuse(need)?
        };
        let name = match name {
            "" => format!("buffer at {start:#x}"),
            _ => name.to_owned(),
        };
        self.by_start.insert(start, Buffer { bytes, name, state: State::Live, parts: None });
        Some(start)
    }

    /// The oldest freed range that is large enough, after joining neighbours.
    fn reuse(&mut self, need: u64) -> Option<u64> {
        let fits = |r: &Range<u64>| r.end - r.start >= need;
        if !self.quarantine.iter().any(fits) {
            let mut ranges: Vec<_> = self.quarantine.drain(..).collect();
            ranges.sort_by_key(|r| r.start);
            for range in ranges {
                match self.quarantine.back_mut() {
                    Some(last) if last.end == range.start => last.end = range.end,
                    _ => self.quarantine.push_back(range),
                }
            }
        }
        let i = self.quarantine.iter().position(fits)?;
        let start = self.quarantine[i].start;
        self.quarantine[i].start += need;
        if self.quarantine[i].is_empty() {
            self.quarantine.remove(i);
        }
        let stale: Vec<u64> = self.by_start.range(start..start + need).map(|(&s, _)| s).collect();
        stale.iter().for_each(|s| drop(self.by_start.remove(s)));
        Some(start)
    }

    pub fn free(&mut self, address: u64) -> Option<u64> {
        let buffer = self.by_start.get_mut(&address).filter(|b| b.state == State::Live)?;
        buffer.state = State::Freed;
        self.quarantine.push_back(address..address + footprint(buffer.bytes));
        Some(buffer.bytes)
    }

    pub fn live(&self, address: u64) -> Option<(u64, u64)> {
        let (&start, buffer) = self.by_start.range(..=address).next_back()?;
        let inside = buffer.state == State::Live && address - start < buffer.bytes.max(1);
        inside.then_some((start, buffer.bytes))
    }

    pub fn all_live(&self) -> Vec<(u64, u64, String)> {
        let live = self.by_start.iter().filter(|(_, buffer)| buffer.state == State::Live);
        live.map(|(start, buffer)| (*start, buffer.bytes, buffer.name.clone())).collect()
    }

    pub fn set_name(&mut self, address: u64, name: &str) {
        if let Some((_, buffer)) = self.by_start.range_mut(..=address).next_back() {
            match buffer.parts.as_mut().and_then(|p| p.get_mut(&address)) {
                Some(part) => part.name = name.to_owned(),
                None => buffer.name = name.to_owned(),
            }
        }
    }

    /// Adds a part to the allocation at `base`, in place of those it overlaps; true for the first.
    pub fn add_part(&mut self, base: u64, start: u64, bytes: u64, name: &str) -> bool {
        let Some(buffer) = self.by_start.get_mut(&base) else { return false };
        let first = buffer.parts.is_none();
        let parts = buffer.parts.get_or_insert_default();
        parts.retain(|&s, p| s + p.bytes <= start || start + bytes <= s);
        let part = Buffer { bytes, name: name.to_owned(), state: State::Live, parts: None };
        parts.insert(start, part);
        first
    }

    pub fn retire_parts(&mut self, base: u64, start: u64, bytes: u64) {
        let parts = self.by_start.get_mut(&base).and_then(|b| b.parts.as_mut());
        for (_, part) in parts.into_iter().flat_map(|p| p.range_mut(start..start + bytes.max(1))) {
            part.state = State::Freed;
        }
    }

    pub fn locate(&self, address: u64) -> Location {
        let nearest = self.by_start.range(..=address).next_back();
        let Some((&start, buffer)) = nearest else {
            let name = String::new();
            return Location { name, start: 0, bytes: 0, offset: address, state: State::Freed };
        };
        let part = buffer.parts.as_ref().and_then(|p| p.range(..=address).next_back());
        let (start, buffer) = match part {
            Some((&s, part)) if buffer.state == State::Live => (s, part),
            _ => (start, buffer),
        };
        Location {
            name: buffer.name.clone(),
            start,
            bytes: buffer.bytes,
            offset: address - start,
            state: buffer.state,
        }
    }
}
