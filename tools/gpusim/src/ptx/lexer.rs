//! Words, numbers and punctuation of PTX text, with their lines. Comments are dropped.
//!
//! An opcode with its modifiers (`ld.global.v4.f32`) is one word, as is `%tid.x`.

use super::Refusal;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    Word(&'a str),
    Int(u64),
    /// Bits of an f32 written as `0f...`.
    F32(u32),
    /// Bits of an f64 written as `0d...` or in decimal.
    F64(u64),
    Text(&'a str),
    Punct(u8),
    End,
}

pub fn refuse<T>(line: u32, reason: &str, text: &str) -> Result<T, Refusal> {
    Err(Refusal { line, reason: reason.to_owned(), text: text.to_owned() })
}

fn starts_word(c: u8) -> bool {
    c.is_ascii_alphabetic() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

fn in_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'.')
}

/// All tokens of a text, each with its line.
pub fn tokens(text: &str) -> Result<Vec<(Token<'_>, u32)>, Refusal> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(text.len() / 4);
    let (mut at, mut line) = (0, 1);
    while let Some(&c) = bytes.get(at) {
        let rest = &bytes[at..];
        if c == b'\n' {
            line += 1;
            at += 1;
        } else if c.is_ascii_whitespace() || c == 0 {
            at += 1;
        } else if rest.starts_with(b"//") {
            at += rest.iter().position(|&c| c == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            let Some(end) = text[at..].find("*/") else {
                return refuse(line, "comment without end", "/*");
            };
            line += rest[..end].iter().filter(|&&c| c == b'\n').count() as u32;
            at += end + 2;
        } else if c == b'"' {
            let Some(end) = rest[1..].iter().position(|&c| c == b'"') else {
                return refuse(line, "string without end", "\"");
            };
            out.push((Token::Text(&text[at + 1..at + 1 + end]), line));
            at += end + 2;
        } else if starts_word(c) {
            let mut end = 1;
            while let Some(&c) = rest.get(end) {
                // `.reg.b32` is two directives, `add.s32` one opcode.
                if in_word(c) && !(rest[0] == b'.' && c == b'.') {
                    end += 1;
                } else if rest[end..].starts_with(b"::")
                    && rest.get(end + 2).is_some_and(|c| c.is_ascii_alphanumeric())
                {
                    end += 2;
                } else {
                    break;
                }
            }
            out.push((Token::Word(&text[at..at + end]), line));
            at += end;
        } else if c.is_ascii_digit() {
            let fraction =
                |i: usize| rest[i] == b'.' && rest.get(i + 1).is_some_and(u8::is_ascii_digit);
            let end = (1..rest.len())
                .find(|&i| !rest[i].is_ascii_alphanumeric() && !fraction(i))
                .unwrap_or(rest.len());
            let word = &text[at..at + end];
            match number(word) {
                Some(token) => out.push((token, line)),
                None => return refuse(line, "not a number", word),
            }
            at += end;
        } else {
            out.push((Token::Punct(c), line));
            at += 1;
        }
    }
    out.push((Token::End, line));
    Ok(out)
}

fn number(word: &str) -> Option<Token<'_>> {
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    match word.get(..2) {
        Some("0f" | "0F") => return u32::from_str_radix(&word[2..], 16).ok().map(Token::F32),
        Some("0d" | "0D") => return hex(&word[2..]).map(Token::F64),
        _ => {}
    }
    if word.contains('.') {
        return word.parse::<f64>().ok().map(|x| Token::F64(x.to_bits()));
    }
    let digits = word.trim_end_matches(['U', 'u']);
    let value = match digits.get(..2) {
        Some("0x" | "0X") => hex(&digits[2..]),
        Some("0b" | "0B") => u64::from_str_radix(&digits[2..], 2).ok(),
        _ if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8).ok(),
        _ => digits.parse().ok(),
    };
    value.map(Token::Int)
}
