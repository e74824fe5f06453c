//! Tokens to syntax tree. Directives that are not known are refused.

use super::Refusal;
use super::lexer::{Token, refuse, tokens};
use super::syntax::{File, Function, Initial, Instruction, Operand, Place, Statement, Variable};
use super::types::{Space, Ty};

type Parsed<T> = Result<T, Refusal>;

pub fn parse(text: &str) -> Parsed<File<'_>> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let mut file = File { places: vec![Place::default()], ..File::default() };
    parser.module(&mut file)?;
    Ok(file)
}

struct Parser<'a> {
    tokens: Vec<(Token<'a>, u32)>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens[self.at].0
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].1
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn refused<T>(&self, reason: &str) -> Parsed<T> {
        refuse(self.line(), reason, &format!("{:?}", self.peek()))
    }

    fn eat(&mut self, c: u8) -> bool {
        let found = self.peek() == Token::Punct(c);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, c: u8) -> Parsed<()> {
        if self.eat(c) { Ok(()) } else { self.refused(&format!("expected `{}`", c as char)) }
    }

    fn word(&mut self) -> Parsed<&'a str> {
        match self.peek() {
            Token::Word(word) => {
                self.next();
                Ok(word)
            }
            _ => self.refused("expected a name"),
        }
    }

    fn int(&mut self) -> Parsed<u64> {
        match self.peek() {
            Token::Int(value) => {
                self.next();
                Ok(value)
            }
            _ => self.refused("expected an integer"),
        }
    }

    fn module(&mut self, file: &mut File<'a>) -> Parsed<()> {
        loop {
            let line = self.line();
            let word = match self.next() {
                Token::End => return Ok(()),
                Token::Word(word) => word,
                other => return refuse(line, "expected a directive", &format!("{other:?}")),
            };
            match word {
                ".version" => drop(self.next()),
                ".address_size" => {
                    if self.int()? != 64 {
                        return refuse(line, "only 64-bit addresses are modelled", word);
                    }
                }
                ".target" => {
                    self.word()?;
                    while self.eat(b',') {
                        self.word()?;
                    }
                }
                ".file" => {
                    let number = self.int()?;
                    let Token::Text(name) = self.next() else {
                        return refuse(line, "expected a file name", word);
                    };
                    while self.eat(b',') {
                        self.int()?;
                    }
                    file.files.push((number, name.to_owned()));
                }
                ".section" => self.section()?,
                ".visible" | ".extern" | ".weak" | ".common" => {}
                ".entry" | ".func" => {
                    let function = self.function(word == ".entry", file)?;
                    file.functions.push(function);
                }
                ".global" | ".const" | ".shared" => {
                    let external =
                        self.at >= 2 && self.tokens[self.at - 2].0 == Token::Word(".extern");
                    let space = Space::named(&word[1..]).unwrap_or(Space::Generic);
                    let variables = self.variables(space)?;
                    if external && variables.iter().any(|v| !v.dynamic) {
                        return refuse(
                            line,
                            "external variables are not linked",
                            variables[0].name,
                        );
                    }
                    file.variables.extend(variables);
                }
                _ => return refuse(line, "directive is not modelled", word),
            }
        }
    }

    /// Debug sections carry nothing that is executed.
    fn section(&mut self) -> Parsed<()> {
        let name = self.word()?;
        if !name.starts_with(".debug") {
            return refuse(self.line(), "section is not modelled", name);
        }
        self.expect(b'{')?;
        while !self.eat(b'}') {
            if self.next() == Token::End {
                return self.refused("section without end");
            }
        }
        Ok(())
    }

    fn function(&mut self, entry: bool, file: &mut File<'a>) -> Parsed<Function<'a>> {
        let line = self.line();
        let results = if self.peek() == Token::Punct(b'(') { self.params()? } else { Vec::new() };
        let name = self.word()?;
        let params = if self.peek() == Token::Punct(b'(') { self.params()? } else { Vec::new() };
        let mut f = Function {
            entry,
            name,
            results,
            params,
            required_block: None,
            max_block: None,
            body: None,
        };
        loop {
            match self.next() {
                Token::Punct(b';') => return Ok(f),
                Token::Punct(b'{') => break,
                Token::Word(".noreturn" | ".unique") => {}
                Token::Word(".maxntid") => f.max_block = Some(self.shape()?),
                Token::Word(".reqntid") => f.required_block = Some(self.shape()?),
                Token::Word(".minnctapersm" | ".maxnreg" | ".maxnctapersm") => drop(self.int()?),
                Token::Word(".pragma") => {
                    self.next();
                    self.expect(b';')?;
                }
                other => {
                    return refuse(
                        line,
                        "function directive is not modelled",
                        &format!("{other:?}"),
                    );
                }
            }
        }
        f.body = Some(self.body(file)?);
        Ok(f)
    }

    fn shape(&mut self) -> Parsed<[u32; 3]> {
        let mut shape = [1; 3];
        shape[0] = self.int()? as u32;
        for extent in &mut shape[1..] {
            if self.eat(b',') {
                *extent = self.int()? as u32;
            }
        }
        Ok(shape)
    }

    fn params(&mut self) -> Parsed<Vec<Variable<'a>>> {
        self.expect(b'(')?;
        let mut out = Vec::new();
        while !self.eat(b')') {
            match self.word()? {
                ".param" => out.push(self.variable(Space::Param)?),
                other => return refuse(self.line(), "parameter outside .param space", other),
            }
            self.eat(b',');
        }
        Ok(out)
    }

    fn variables(&mut self, space: Space) -> Parsed<Vec<Variable<'a>>> {
        let first = self.variable(space)?;
        let mut out = vec![first];
        while self.eat(b',') {
            let (ty, align) = (out[0].ty, out[0].align);
            out.push(self.declarator(space, ty, align)?);
        }
        self.expect(b';')?;
        Ok(out)
    }

    /// `.align 8 .b8 name[64] = {...}` without what follows it.
    fn variable(&mut self, space: Space) -> Parsed<Variable<'a>> {
        let mut align = 0;
        loop {
            let word = self.word()?;
            match word {
                ".align" => align = self.int()? as u32,
                _ => match word.strip_prefix('.').and_then(Ty::named) {
                    Some(ty) => return self.declarator(space, ty, align),
                    None => return refuse(self.line(), "type is not modelled", word),
                },
            }
        }
    }

    fn declarator(&mut self, space: Space, ty: Ty, align: u32) -> Parsed<Variable<'a>> {
        // `.ptr .global .align 4` is an attribute of a pointer parameter.
        while let Token::Word(
            word @ (".ptr" | ".global" | ".shared" | ".const" | ".local" | ".align"),
        ) = self.peek()
        {
            self.next();
            if word == ".align" {
                self.int()?;
            }
        }
        let name = self.word()?;
        let mut elems = 1;
        let mut dynamic = false;
        while self.eat(b'[') {
            if self.eat(b']') {
                dynamic = true;
            } else {
                elems *= self.int()?;
                self.expect(b']')?;
            }
        }
        let mut initial = Vec::new();
        if self.eat(b'=') {
            self.initialiser(&mut initial)?;
            if dynamic {
                elems = initial.len() as u64;
                dynamic = false;
            }
        }
        if dynamic {
            elems = 0;
        }
        let Ok(bytes) = u32::try_from(elems * u64::from(ty.bytes())) else {
            return refuse(self.line(), "variable is too large", name);
        };
        let align = align.max(ty.bytes());
        Ok(Variable { space, name, align, ty, bytes, dynamic, initial })
    }

    fn initialiser(&mut self, out: &mut Vec<Initial<'a>>) -> Parsed<()> {
        if self.eat(b'{') {
            while !self.eat(b'}') {
                self.initialiser(out)?;
                self.eat(b',');
            }
            return Ok(());
        }
        let negative = self.eat(b'-');
        let element = match self.next() {
            Token::Int(value) if negative => Initial::Bits(value.wrapping_neg()),
            Token::Int(value) | Token::F64(value) => Initial::Bits(value),
            Token::F32(bits) => Initial::Bits(u64::from(bits)),
            // `generic(x)`: device addresses are generic ones already.
            Token::Word("generic") => {
                self.expect(b'(')?;
                let name = self.word()?;
                self.expect(b')')?;
                Initial::Address(name, self.added()?)
            }
            Token::Word(name) => Initial::Address(name, self.added()?),
            _ => return self.refused("initialiser is not modelled"),
        };
        out.push(element);
        Ok(())
    }

    /// `+ 4`, `- 4`, `+ -4` or nothing.
    fn added(&mut self) -> Parsed<i64> {
        let mut sign = match self.peek() {
            Token::Punct(b'+') => 1,
            Token::Punct(b'-') => -1,
            _ => return Ok(0),
        };
        self.next();
        if self.eat(b'-') {
            sign = -sign;
        }
        Ok(sign * self.int()? as i64)
    }

    fn body(&mut self, file: &mut File<'a>) -> Parsed<Vec<Statement<'a>>> {
        let mut out = Vec::new();
        let mut depth = 0;
        let mut place = 0;
        loop {
            let line = self.line();
            match self.peek() {
                Token::Punct(b'{') => {
                    self.next();
                    depth += 1;
                    out.push(Statement::Open);
                }
                Token::Punct(b'}') => {
                    self.next();
                    if depth == 0 {
                        return Ok(out);
                    }
                    depth -= 1;
                    out.push(Statement::Close);
                }
                Token::Punct(b';') => drop(self.next()),
                Token::Punct(b'@') => out.push(self.instruction(place)?),
                Token::Word(word) if word.starts_with('.') => {
                    self.next();
                    match word {
                        ".loc" => {
                            let mut here = self.place()?;
                            here.caller = self.inlined_at(&mut file.places)?;
                            place = file.places.len() as u32;
                            file.places.push(here);
                        }
                        ".reg" => self.registers(&mut out)?,
                        ".pragma" => {
                            self.next();
                            self.expect(b';')?;
                        }
                        ".shared" | ".local" | ".param" => {
                            let space = Space::named(&word[1..]).unwrap_or(Space::Generic);
                            let variables = self.variables(space)?;
                            out.extend(variables.into_iter().map(Statement::Variable));
                        }
                        ".global" | ".const" => {
                            let space = Space::named(&word[1..]).unwrap_or(Space::Generic);
                            file.variables.extend(self.variables(space)?);
                        }
                        ".branchtargets" => {
                            let Some(Statement::Label(name)) = out.pop() else {
                                return refuse(line, "table of branch targets without name", word);
                            };
                            let mut targets = vec![self.word()?];
                            while self.eat(b',') {
                                targets.push(self.word()?);
                            }
                            self.expect(b';')?;
                            out.push(Statement::BranchTargets(name, targets));
                        }
                        _ => return refuse(line, "directive is not modelled", word),
                    }
                }
                Token::Word(word) if self.tokens[self.at + 1].0 == Token::Punct(b':') => {
                    self.next();
                    self.next();
                    out.push(Statement::Label(word));
                }
                Token::Word(_) => out.push(self.instruction(place)?),
                _ => return self.refused("expected a statement"),
            }
        }
    }

    fn place(&mut self) -> Parsed<Place> {
        let (file, line) = (self.int()?, self.int()? as u32);
        Ok(Place { file, line, column: self.int()?, caller: 0 })
    }

    /// The rest of a `.loc`. The place of a call is that of an earlier `.loc`; the last such is taken.
    fn inlined_at(&mut self, places: &mut Vec<Place>) -> Parsed<u32> {
        let mut caller = 0;
        while self.eat(b',') {
            match self.word()? {
                "function_name" => {
                    self.word()?;
                    self.added()?;
                }
                "inlined_at" => {
                    let at = self.place()?;
                    let known = places.iter().rposition(|p| p.is_at(&at));
                    caller = known.unwrap_or(places.len()) as u32;
                    if known.is_none() {
                        places.push(at);
                    }
                }
                other => return refuse(self.line(), "part of .loc is not known", other),
            }
        }
        Ok(caller)
    }

    fn registers(&mut self, out: &mut Vec<Statement<'a>>) -> Parsed<()> {
        let word = self.word()?;
        let Some(ty) = word.strip_prefix('.').and_then(Ty::named) else {
            return refuse(self.line(), "register type is not modelled", word);
        };
        loop {
            let name = self.word()?;
            let mut count = None;
            if self.eat(b'<') {
                count = Some(self.int()? as u32);
                self.expect(b'>')?;
            }
            out.push(Statement::Register(ty, name, count));
            if !self.eat(b',') {
                return self.expect(b';');
            }
        }
    }

    fn instruction(&mut self, place: u32) -> Parsed<Statement<'a>> {
        let line = self.line();
        let mut guard = None;
        if self.eat(b'@') {
            let negated = self.eat(b'!');
            guard = Some((self.word()?, negated));
        }
        let opcode = self.word()?;
        let mut operands = Vec::new();
        while !self.eat(b';') {
            operands.push(self.operand()?);
            if !self.eat(b',') && self.peek() != Token::Punct(b';') {
                return self.refused(&format!("expected `,` or `;` after an operand of {opcode}"));
            }
        }
        Ok(Statement::Instruction(Instruction { line, place, guard, opcode, operands }))
    }

    fn list(&mut self, end: u8) -> Parsed<Vec<Operand<'a>>> {
        let mut out = Vec::new();
        while !self.eat(end) {
            out.push(self.operand()?);
            self.eat(b',');
        }
        Ok(out)
    }

    fn operand(&mut self) -> Parsed<Operand<'a>> {
        let line = self.line();
        Ok(match self.next() {
            Token::Punct(b'{') => Operand::Vector(self.list(b'}')?),
            Token::Punct(b'(') => Operand::List(self.list(b')')?),
            Token::Punct(b'!') => Operand::Not(self.word()?),
            Token::Punct(b'-') => match self.next() {
                Token::Int(value) => Operand::Int(value.wrapping_neg()),
                Token::F64(bits) => Operand::F64(bits ^ 1 << 63),
                other => return refuse(line, "expected a number after `-`", &format!("{other:?}")),
            },
            Token::Punct(b'[') => {
                let (base, offset) = match self.peek() {
                    Token::Word(name) => {
                        self.next();
                        (Some(name), self.added()?)
                    }
                    _ => (None, self.int()? as i64),
                };
                self.expect(b']')?;
                Operand::Address(base, offset)
            }
            Token::Int(value) => Operand::Int(value),
            Token::F32(bits) => Operand::F32(bits),
            Token::F64(bits) => Operand::F64(bits),
            Token::Word(name) => {
                if self.eat(b'|') {
                    Operand::Pair(name, self.word()?)
                } else {
                    Operand::Name(name, self.added()?)
                }
            }
            other => return refuse(line, "operand is not modelled", &format!("{other:?}")),
        })
    }
}
