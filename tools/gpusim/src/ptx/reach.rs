//! What a kernel can reach: the functions it calls, and the names it and they mention.

use super::syntax::{File, Function, Operand, Statement};
use std::collections::HashSet;

/// The kernel and the functions it calls, directly or not.
pub fn functions<'a>(file: &File<'a>, kernel: &Function<'a>) -> Vec<&'a str> {
    let mut out = vec![kernel.name];
    let mut at = 0;
    while at < out.len() {
        let here = file.functions.iter().find(|f| f.name == out[at] && f.body.is_some());
        at += 1;
        for name in here.into_iter().flat_map(mentioned) {
            if !out.contains(&name) && file.functions.iter().any(|f| f.name == name) {
                out.push(name);
            }
        }
    }
    out
}

/// All names mentioned in code that the kernel can reach.
pub fn names<'a>(file: &File<'a>, kernel: &Function<'a>) -> HashSet<&'a str> {
    let reached = functions(file, kernel);
    let bodies = file.functions.iter().filter(|f| reached.contains(&f.name));
    bodies.flat_map(mentioned).collect()
}

fn mentioned<'a>(f: &Function<'a>) -> HashSet<&'a str> {
    let mut out = HashSet::new();
    for statement in f.body.iter().flatten() {
        if let Statement::Instruction(i) = statement {
            i.operands.iter().for_each(|operand| collect(operand, &mut out));
        }
    }
    out
}

fn collect<'a>(operand: &Operand<'a>, out: &mut HashSet<&'a str>) {
    match operand {
        Operand::Name(name, _) | Operand::Not(name) | Operand::Address(Some(name), _) => {
            out.insert(name);
        }
        Operand::Vector(list) | Operand::List(list) => list.iter().for_each(|o| collect(o, out)),
        Operand::Pair(a, b) => {
            out.insert(a);
            out.insert(b);
        }
        _ => {}
    }
}
