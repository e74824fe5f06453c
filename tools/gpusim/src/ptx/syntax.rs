//! The syntax tree: what the text says, before any meaning is given to opcodes.

use super::types::{Space, Ty};

#[derive(Debug, Clone, PartialEq)]
pub enum Operand<'a> {
    /// A register, variable, label or function, with an added constant.
    Name(&'a str, i64),
    Not(&'a str),
    Int(u64),
    F32(u32),
    F64(u64),
    /// `[name + offset]`, `[offset]`.
    Address(Option<&'a str>, i64),
    Vector(Vec<Operand<'a>>),
    /// `d|p`: two results.
    Pair(&'a str, &'a str),
    /// The parenthesised lists of a call.
    List(Vec<Operand<'a>>),
}

#[derive(Debug, Clone)]
pub struct Instruction<'a> {
    /// Line of the PTX text.
    pub line: u32,
    /// Index into the module's source places.
    pub place: u32,
    /// Predicate, and whether it is negated.
    pub guard: Option<(&'a str, bool)>,
    pub opcode: &'a str,
    pub operands: Vec<Operand<'a>>,
}

#[derive(Debug, Clone)]
pub struct Variable<'a> {
    pub space: Space,
    pub name: &'a str,
    pub align: u32,
    pub ty: Ty,
    pub bytes: u32,
    /// `extern .shared x[]`: its size comes with the launch.
    pub dynamic: bool,
    pub initial: Vec<Initial<'a>>,
}

/// One element of an initialiser: bits, or the address of a variable.
#[derive(Debug, Clone)]
pub enum Initial<'a> {
    Bits(u64),
    Address(&'a str, i64),
}

#[derive(Debug, Clone)]
pub enum Statement<'a> {
    Open,
    Close,
    Label(&'a str),
    /// A register, or with a count the family `name0..name{count-1}`.
    Register(Ty, &'a str, Option<u32>),
    Variable(Variable<'a>),
    /// `name: .branchtargets a, b;`
    BranchTargets(&'a str, Vec<&'a str>),
    Instruction(Instruction<'a>),
}

#[derive(Debug, Clone)]
pub struct Function<'a> {
    pub entry: bool,
    pub name: &'a str,
    pub results: Vec<Variable<'a>>,
    pub params: Vec<Variable<'a>>,
    pub required_block: Option<[u32; 3]>,
    pub max_block: Option<[u32; 3]>,
    /// `None`: declared only.
    pub body: Option<Vec<Statement<'a>>>,
}

#[derive(Debug, Default)]
pub struct File<'a> {
    pub variables: Vec<Variable<'a>>,
    pub functions: Vec<Function<'a>>,
    /// Names of `.file`, by number.
    pub files: Vec<(u64, String)>,
    /// Each `.loc`; entry 0 is "unknown".
    pub places: Vec<Place>,
}

/// A place in a source text.
#[derive(Debug, Default, Clone, Copy)]
pub struct Place {
    /// Number of its `.file`.
    pub file: u64,
    pub line: u32,
    pub column: u64,
    /// Where the function that it stands in was inlined: index of a place, 0 for nowhere.
    pub caller: u32,
}

impl Place {
    pub fn is_at(&self, other: &Place) -> bool {
        (self.file, self.line, self.column) == (other.file, other.line, other.column)
    }
}
