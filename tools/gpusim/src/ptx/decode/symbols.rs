//! Names in nested scopes, and the special registers.

use crate::ptx::program::{Constant, Slot};
use crate::ptx::types::Space;
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Symbol {
    Register(Slot),
    /// A variable: its space, and its address in it.
    Address(Space, u64),
    DynamicShared,
}

#[derive(Default)]
struct Scope<'a> {
    names: HashMap<&'a str, Symbol>,
    /// `%r<8>`: prefix, first slot, count.
    families: HashMap<&'a str, (Slot, u32)>,
}

pub struct Symbols<'a> {
    scopes: Vec<Scope<'a>>,
}

impl Default for Symbols<'_> {
    fn default() -> Self {
        Self { scopes: vec![Scope::default()] }
    }
}

impl<'a> Symbols<'a> {
    pub fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    pub fn close(&mut self) {
        self.scopes.pop();
    }

    pub fn define(&mut self, name: &'a str, symbol: Symbol) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.names.insert(name, symbol);
        }
    }

    /// Defines a name for the whole program.
    pub fn define_outermost(&mut self, name: &'a str, symbol: Symbol) {
        self.scopes[0].names.insert(name, symbol);
    }

    pub fn define_family(&mut self, prefix: &'a str, first: Slot, count: u32) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.families.insert(prefix, (first, count));
        }
    }

    pub fn get(&self, name: &str) -> Option<Symbol> {
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = name[prefix.len()..].parse::<u32>().ok();
        self.scopes.iter().rev().find_map(|scope| {
            if let Some(&symbol) = scope.names.get(name) {
                return Some(symbol);
            }
            let &(first, count) = scope.families.get(prefix)?;
            number.filter(|&n| n < count).map(|n| Symbol::Register(first + n))
        })
    }
}

/// Special registers that do not change while a warp runs.
pub fn special(name: &str) -> Option<Constant> {
    let axis = |c: &str| match c {
        "x" => Some(0),
        "y" => Some(1),
        "z" => Some(2),
        _ => None,
    };
    if let Some((base, component)) = name.rsplit_once('.') {
        let axis = axis(component)?;
        return Some(match base {
            "%tid" => Constant::Tid(axis),
            "%ntid" => Constant::Ntid(axis),
            "%ctaid" => Constant::Ctaid(axis),
            "%nctaid" => Constant::Nctaid(axis),
            _ => return None,
        });
    }
    Some(match name {
        "%laneid" => Constant::LaneId,
        "%warpid" => Constant::WarpId,
        "%nwarpid" => Constant::NumWarps,
        "%lanemask_eq" => Constant::LaneMaskEq,
        "%lanemask_lt" => Constant::LaneMaskLt,
        "%lanemask_le" => Constant::LaneMaskLe,
        "%lanemask_gt" => Constant::LaneMaskGt,
        "%lanemask_ge" => Constant::LaneMaskGe,
        "%dynamic_smem_size" => Constant::DynamicSharedBytes,
        "%total_smem_size" => Constant::TotalSharedBytes,
        "%gridid" => Constant::GridId,
        "%smid" => Constant::SmId,
        "%nsmid" => Constant::NumSms,
        _ => return None,
    })
}
