//! One kernel and the functions it calls, from syntax to a flat [`Program`].
//!
//! Each kernel gets its own copy of the functions it calls: their registers, locals and parameters have
//! fixed places, which is why recursion is refused.

mod arith;
mod control;
mod convert;
mod memory;
mod modifiers;
mod symbols;
mod tensor;

use super::Refusal;
use super::program::{
    Constant, D, Guard, Instr, NO_SLOT, Op, P, Program, R, SharedVariable, Slot, SourcePlace,
};
use super::syntax::{File, Function, Instruction, Operand, Place, Statement, Variable};
use super::types::{Space, Ty};
use modifiers::Modifiers;
use std::collections::HashMap;
use symbols::{Symbol, Symbols};

/// Addresses of module variables, by name.
pub type Globals = HashMap<String, (u64, u64)>;

pub(super) type Decoded<T> = Result<T, Refusal>;

/// Shared variables are set apart by this much, a multiple of the bank cycle so that bank conflicts
/// stay as they would be.
pub const SHARED_RED_ZONE: u32 = 128;

pub struct Decoder<'f, 'a> {
    file: &'f File<'a>,
    globals: &'f Globals,
    pub program: Program,
    symbols: Symbols<'a>,
    constants: HashMap<(Constant, Slot), Slot>,
    /// First instruction, formal parameters and results of each function already decoded.
    functions: HashMap<&'a str, Entry>,
    /// Calls to functions that come later in the flat code.
    calls: Vec<(usize, &'a str)>,
    /// Functions being decoded, to find recursion.
    call_graph: HashMap<&'a str, Vec<&'a str>>,
    labels: HashMap<&'a str, usize>,
    jumps: Vec<(usize, &'a str, u32)>,
    table_jumps: Vec<(u32, usize, &'a str)>,
    branch_targets: HashMap<&'a str, Vec<&'a str>>,
    current: &'a str,
    in_kernel: bool,
    line: u32,
    opcode: &'a str,
    /// Size of the shared memory that the source asks for, without red zones.
    pub nominal_shared: u32,
}

#[derive(Clone)]
struct Entry {
    pc: Option<usize>,
    params: Vec<(u32, u32)>,
    results: Vec<(u32, u32)>,
}

/// Decodes kernel `name` of a file.
pub fn decode<'a>(
    file: &File<'a>,
    globals: &Globals,
    kernel: &Function<'a>,
) -> Decoded<(Program, u32)> {
    let mut decoder = Decoder {
        file,
        globals,
        program: Program::default(),
        symbols: Symbols::default(),
        constants: HashMap::new(),
        functions: HashMap::new(),
        calls: Vec::new(),
        call_graph: HashMap::new(),
        labels: HashMap::new(),
        jumps: Vec::new(),
        table_jumps: Vec::new(),
        branch_targets: HashMap::new(),
        current: kernel.name,
        in_kernel: true,
        line: 0,
        opcode: "",
        nominal_shared: 0,
    };
    decoder.places();
    decoder.module_symbols(kernel)?;
    decoder.kernel(kernel)?;
    Ok((decoder.program, decoder.nominal_shared))
}

impl<'f, 'a> Decoder<'f, 'a> {
    fn refuse<T>(&self, reason: impl Into<String>) -> Decoded<T> {
        Err(self.refusal(reason))
    }

    fn refusal(&self, reason: impl Into<String>) -> Refusal {
        Refusal { line: self.line, reason: reason.into(), text: self.opcode.to_owned() }
    }

    /// Numbers files densely and keeps the line of each place.
    fn places(&mut self) {
        let mut number = HashMap::new();
        self.program.files.push(String::new());
        for (n, name) in &self.file.files {
            number.insert(*n, self.program.files.len() as u32);
            self.program.files.push(name.clone());
        }
        let place = |p: &Place| {
            let file = number.get(&p.file).copied().unwrap_or(0);
            SourcePlace { file, line: p.line, caller: p.caller }
        };
        self.program.places = self.file.places.iter().map(place).collect();
    }

    /// Module variables: addresses of global and const ones, places of shared ones that are used.
    fn module_symbols(&mut self, kernel: &Function<'a>) -> Decoded<()> {
        let used = super::reach::names(self.file, kernel);
        for v in &self.file.variables {
            match v.space {
                Space::Shared if used.contains(v.name) => self.shared_variable(v)?,
                Space::Shared => {}
                _ => {
                    let Some(&(address, _)) = self.globals.get(v.name) else {
                        return self.refuse(format!("variable {} has no address", v.name));
                    };
                    self.symbols.define(v.name, Symbol::Address(v.space, address));
                }
            }
        }
        Ok(())
    }

    fn shared_variable(&mut self, v: &Variable<'a>) -> Decoded<()> {
        if v.dynamic {
            // All dynamic arrays share one start, placed when the static size is known.
            self.symbols.define(v.name, Symbol::DynamicShared);
            return Ok(());
        }
        self.nominal_shared = self.nominal_shared.next_multiple_of(v.align) + v.bytes;
        let offset = self.program.shared_end.next_multiple_of(v.align.max(16));
        self.program.shared_end = (offset + v.bytes).next_multiple_of(16) + SHARED_RED_ZONE;
        self.symbols.define(v.name, Symbol::Address(Space::Shared, u64::from(offset)));
        let name = v.name.to_owned();
        self.program.shared.push(SharedVariable { name, offset, bytes: v.bytes, dynamic: false });
        Ok(())
    }

    fn local_place(&mut self, v: &Variable<'a>) -> u32 {
        let offset = self.program.local_bytes.next_multiple_of(v.align.max(8));
        self.program.local_bytes = offset + v.bytes.next_multiple_of(8);
        offset
    }

    fn kernel(&mut self, kernel: &Function<'a>) -> Decoded<()> {
        self.shared_in(kernel)?;
        let mut offset = 0_u32;
        self.symbols.open();
        for p in &kernel.params {
            offset = offset.next_multiple_of(p.align);
            self.symbols.define(p.name, Symbol::Address(Space::Param, u64::from(offset)));
            offset += p.bytes;
        }
        self.body(kernel)?;
        self.emit(Op::Exit);
        self.symbols.close();
        self.in_kernel = false;
        let mut done = 0;
        while done < self.calls.len() {
            let (at, name) = self.calls[done];
            done += 1;
            let pc = match self.functions.get(name).and_then(|e| e.pc) {
                Some(pc) => pc,
                None => self.function(name)?,
            };
            self.program.code[at].imm = pc as i64;
        }
        self.no_recursion(kernel.name, &mut Vec::new())
    }

    /// Shared variables declared inside the kernel and the functions it calls, before any code, so that
    /// dynamic shared memory has its place.
    fn shared_in(&mut self, kernel: &Function<'a>) -> Decoded<()> {
        for name in super::reach::functions(self.file, kernel) {
            let Some(f) = self.file.functions.iter().find(|f| f.name == name && f.body.is_some())
            else {
                continue;
            };
            for statement in f.body.iter().flatten() {
                if let Statement::Variable(v) = statement
                    && v.space == Space::Shared
                {
                    self.shared_variable(v)?;
                }
            }
        }
        Ok(())
    }

    fn no_recursion(&self, name: &'a str, path: &mut Vec<&'a str>) -> Decoded<()> {
        if path.contains(&name) {
            return Err(Refusal {
                line: 0,
                reason: "recursion is not modelled".into(),
                text: name.into(),
            });
        }
        path.push(name);
        for callee in self.call_graph.get(name).into_iter().flatten() {
            self.no_recursion(callee, path)?;
        }
        path.pop();
        Ok(())
    }

    fn function(&mut self, name: &'a str) -> Decoded<usize> {
        let file = self.file;
        let Some(f) = file.functions.iter().find(|f| f.name == name && f.body.is_some()) else {
            return self.refuse(format!("function {name} has no body"));
        };
        let entry = self.entry(f);
        let pc = self.program.code.len();
        if let Some(e) = self.functions.get_mut(name) {
            e.pc = Some(pc);
        }
        self.current = f.name;
        self.symbols.open();
        let formals =
            f.params.iter().zip(&entry.params).chain(f.results.iter().zip(&entry.results));
        for (v, &(offset, _)) in formals {
            self.symbols.define(v.name, Symbol::Address(Space::Local, u64::from(offset)));
        }
        self.body(f)?;
        self.emit(Op::Ret);
        self.symbols.close();
        Ok(pc)
    }

    /// Places of a function's parameters and results, made at its first mention.
    fn entry(&mut self, f: &Function<'a>) -> Entry {
        if let Some(entry) = self.functions.get(f.name) {
            return entry.clone();
        }
        let mut places = |vs: &[Variable<'a>]| -> Vec<(u32, u32)> {
            vs.iter().map(|v| (self.local_place(v), v.bytes)).collect()
        };
        let (params, results) = (places(&f.params), places(&f.results));
        let entry = Entry { pc: None, params, results };
        self.functions.insert(f.name, entry.clone());
        entry
    }

    fn body(&mut self, f: &Function<'a>) -> Decoded<()> {
        self.labels.clear();
        self.jumps.clear();
        self.table_jumps.clear();
        self.symbols.open();
        let statements = f.body.as_deref().unwrap_or_default();
        let mut depth = 0;
        for statement in statements {
            match statement {
                Statement::Open => {
                    depth += 1;
                    self.symbols.open();
                }
                Statement::Close => {
                    depth -= 1;
                    self.symbols.close();
                }
                Statement::Label(name) => {
                    // Labels of inline assembly are local to their braces, but NVRTC makes them unique.
                    if self.labels.insert(name, self.program.code.len()).is_some() {
                        self.opcode = name;
                        return self.refuse("label is defined twice");
                    }
                }
                Statement::Register(ty, name, count) => self.registers(*ty, name, *count),
                Statement::Variable(v) => self.local_variable(v)?,
                Statement::BranchTargets(name, targets) => {
                    self.branch_targets.insert(name, targets.clone());
                }
                Statement::Instruction(i) => self.instruction(i)?,
            }
        }
        debug_assert_eq!(depth, 0);
        for (at, label, line) in std::mem::take(&mut self.jumps) {
            (self.line, self.opcode) = (line, label);
            let Some(&pc) = self.labels.get(label) else {
                return self.refuse("label is not defined");
            };
            self.program.code[at].imm = pc as i64;
        }
        for (list, i, label) in std::mem::take(&mut self.table_jumps) {
            let Some(&pc) = self.labels.get(label) else {
                return self.refuse(format!("label {label} is not defined"));
            };
            self.program.lists[list as usize][i] = pc as u32;
        }
        self.symbols.close();
        Ok(())
    }

    fn local_variable(&mut self, v: &Variable<'a>) -> Decoded<()> {
        match v.space {
            // Placed before any code was decoded.
            Space::Shared => {}
            Space::Local | Space::Param => {
                let offset = self.local_place(v);
                self.symbols.define(v.name, Symbol::Address(Space::Local, u64::from(offset)));
            }
            _ => {
                self.opcode = v.name;
                return self.refuse("variable is not modelled here");
            }
        }
        Ok(())
    }

    fn registers(&mut self, ty: Ty, name: &'a str, count: Option<u32>) {
        let class = class_of(ty);
        let next = match class {
            R => &mut self.program.r_slots,
            D => &mut self.program.d_slots,
            _ => &mut self.program.p_slots,
        };
        let first = class | *next;
        *next += count.unwrap_or(1);
        match count {
            None => self.symbols.define(name, Symbol::Register(first)),
            Some(count) => self.symbols.define_family(name, first, count),
        }
    }

    fn new_slot(&mut self, class: Slot) -> Slot {
        let next = match class {
            R => &mut self.program.r_slots,
            D => &mut self.program.d_slots,
            _ => &mut self.program.p_slots,
        };
        *next += 1;
        class | (*next - 1)
    }

    fn constant(&mut self, value: Constant, class: Slot) -> Slot {
        if let Some(&slot) = self.constants.get(&(value, class)) {
            return slot;
        }
        let slot = self.new_slot(class);
        self.constants.insert((value, class), slot);
        self.program.constants.push((slot, value));
        slot
    }

    fn emit(&mut self, op: Op) -> &mut Instr {
        let place = self.program.place.last().copied().unwrap_or(0);
        self.program.place.push(place);
        self.program.code.push(Instr {
            op,
            guard: Guard { slot: NO_SLOT, negated: false },
            d: NO_SLOT,
            q: NO_SLOT,
            a: NO_SLOT,
            b: NO_SLOT,
            c: NO_SLOT,
            imm: 0,
            list: u32::MAX,
        });
        let last = self.program.code.len() - 1;
        &mut self.program.code[last]
    }

    fn add_list(&mut self, list: Vec<Slot>) -> u32 {
        self.program.lists.push(list.into_boxed_slice());
        self.program.lists.len() as u32 - 1
    }

    fn instruction(&mut self, i: &Instruction<'a>) -> Decoded<()> {
        self.line = i.line;
        self.opcode = i.opcode;
        let (base, mut m) = Modifiers::split(i.opcode);
        let first = self.program.code.len();
        let known = self.arith(base, &mut m, &i.operands)?
            || self.convert(base, &mut m, &i.operands)?
            || self.memory(base, &mut m, &i.operands)?
            || self.tensor(base, &mut m, &i.operands)?
            || self.control(base, &mut m, &i.operands)?;
        if !known {
            return self.refuse("instruction is not modelled");
        }
        if !m.left().is_empty() {
            return self.refuse(format!("modifier .{} is not modelled", m.left().join(".")));
        }
        let guard = match i.guard {
            None => Guard { slot: NO_SLOT, negated: false },
            Some((name, negated)) => Guard { slot: self.register(name, P)?, negated },
        };
        for at in first..self.program.code.len() {
            self.program.code[at].guard = guard;
            self.program.place[at] = i.place;
        }
        Ok(())
    }

    // Operands.

    fn count(&self, operands: &[Operand<'a>], n: usize) -> Decoded<()> {
        if operands.len() == n {
            return Ok(());
        }
        self.refuse(format!("takes {n} operands, has {}", operands.len()))
    }

    fn register(&self, name: &str, class: Slot) -> Decoded<Slot> {
        match self.symbols.get(name) {
            Some(Symbol::Register(slot)) if slot & super::program::CLASS == class => Ok(slot),
            Some(Symbol::Register(_)) => self.refuse(format!("register {name} has another width")),
            _ => self.refuse(format!("{name} is not a register")),
        }
    }

    /// A destination; `_` is a sink.
    fn dst(&mut self, operand: &Operand<'a>, class: Slot) -> Decoded<Slot> {
        match operand {
            Operand::Name("_", 0) => Ok(self.new_slot(class)),
            Operand::Name(name, 0) => self.register(name, class),
            _ => self.refuse("destination is not a register"),
        }
    }

    fn src(&mut self, operand: &Operand<'a>, class: Slot) -> Decoded<Slot> {
        match *operand {
            Operand::Name(name, added) => match self.symbols.get(name) {
                Some(Symbol::Register(_)) if added == 0 => self.register(name, class),
                Some(Symbol::Address(_, address)) => {
                    let bits = address.wrapping_add(added as u64);
                    Ok(self.constant(Constant::Bits(bits), class))
                }
                Some(Symbol::DynamicShared) => {
                    let bits = self.dynamic_shared_start().wrapping_add(added as u64);
                    Ok(self.constant(Constant::Bits(bits), class))
                }
                _ => match symbols::special(name) {
                    Some(value) => Ok(self.constant(value, class)),
                    None if name == "WARP_SZ" => Ok(self.constant(Constant::WarpSize, class)),
                    None => self.refuse(format!("operand {name} is not modelled")),
                },
            },
            Operand::Int(bits) if class == P => self.refuse(format!("predicate constant {bits}")),
            Operand::Int(bits) => Ok(self.constant(Constant::Bits(bits), class)),
            Operand::F32(bits) => Ok(self.constant(Constant::Bits(u64::from(bits)), class)),
            Operand::F64(bits) if class == D => Ok(self.constant(Constant::Bits(bits), class)),
            // A decimal constant of an f32 instruction.
            Operand::F64(bits) => {
                let bits = (f64::from_bits(bits) as f32).to_bits();
                Ok(self.constant(Constant::Bits(u64::from(bits)), class))
            }
            _ => self.refuse("operand is not modelled"),
        }
    }

    fn dynamic_shared_start(&self) -> u64 {
        u64::from(self.program.shared_end.next_multiple_of(128))
    }

    /// A predicate source, possibly negated.
    fn predicate(&mut self, operand: &Operand<'a>) -> Decoded<(Slot, bool)> {
        match operand {
            Operand::Name(name, 0) => Ok((self.register(name, P)?, false)),
            Operand::Not(name) => Ok((self.register(name, P)?, true)),
            // A constant predicate: a slot that nothing writes is false for all lanes.
            Operand::Int(bits) => {
                let slot = self.constant(Constant::Bits(0), P);
                Ok((slot, *bits != 0))
            }
            _ => self.refuse("operand is not a predicate"),
        }
    }

    /// Emits `op d, a, b, c` with all operands of given classes.
    fn simple(&mut self, op: Op, operands: &[Operand<'a>], classes: &[Slot]) -> Decoded<bool> {
        self.count(operands, classes.len())?;
        let d = self.dst(&operands[0], classes[0])?;
        let mut s = [NO_SLOT; 3];
        for (k, slot) in s.iter_mut().enumerate().take(classes.len() - 1) {
            *slot = self.src(&operands[k + 1], classes[k + 1])?;
        }
        let i = self.emit(op);
        (i.d, i.a, i.b, i.c) = (d, s[0], s[1], s[2]);
        Ok(true)
    }
}

/// The register file of a type.
pub fn class_of(ty: Ty) -> Slot {
    match ty {
        Ty::Pred => P,
        _ if ty.bytes() == 8 => D,
        _ => R,
    }
}
