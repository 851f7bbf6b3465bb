//! How deep the containers of a pickle lie in one another, counted by its opcodes before it is read.
//!
//! The library calls itself once for each level, both to hand a value out and to drop it: a file of some hundred
//! kilobytes can ask for more levels than the stack has room for, which no error catches.
//!
//! Source: CPython, `Lib/pickletools.py` (the opcodes and their arguments).

use std::collections::HashMap;

/// Most levels that are handed on; captions have three.
const DEPTH: usize = 8;

/// Whether a pickle stays above that depth, with every container in one place. Where it cannot be followed any more the
/// library fails at the same opcode, and says why.
pub(super) fn is_shallow(bytes: &[u8]) -> bool {
    let mut machine = Machine { rest: bytes, stack: Vec::new(), marked: Vec::new(), memo: HashMap::new() };
    loop {
        match machine.step() {
            Some(true) => {}
            Some(false) => return false,
            None => return true,
        }
    }
}

/// A pickle's machine, with the depth of each value in place of the value: 0 for a text or a number.
struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<usize>,
    /// What lay on the stack before each open mark.
    marked: Vec<Vec<usize>>,
    /// Noted values, by their number.
    memo: HashMap<u64, usize>,
}

impl Machine<'_> {
    /// Runs one opcode; whether what is on top now may stay. `None` at the end, or where it breaks off.
    fn step(&mut self) -> Option<bool> {
        match self.number(1)? as u8 {
            b'.' => return None,
            0x80 => {
                self.take(1)?;
            }
            0x95 => {
                self.take(8)?;
            }
            b'(' => self.marked.push(std::mem::take(&mut self.stack)),
            b'0' if !self.stack.is_empty() => {
                self.stack.pop();
            }
            b'0' | b'1' => {
                self.to_mark()?;
            }
            b'2' => self.stack.push(*self.stack.last()?),
            // Numbers and texts.
            b'N' | 0x88 | 0x89 => self.atom(0)?,
            b'K' => self.atom(1)?,
            b'M' => self.atom(2)?,
            b'J' => self.atom(4)?,
            b'G' => self.atom(8)?,
            b'C' | b'U' | 0x8a | 0x8c => self.counted(1)?,
            b'B' | b'T' | b'X' | 0x8b => self.counted(4)?,
            0x8d | 0x8e | 0x96 => self.counted(8)?,
            b'F' | b'I' | b'L' | b'S' | b'V' => {
                self.line()?;
                self.atom(0)?;
            }
            // Notes.
            b'q' => {
                let number = self.number(1)?;
                self.note(number)?;
            }
            b'r' => {
                let number = self.number(4)?;
                self.note(number)?;
            }
            b'p' => {
                let number = self.written()?;
                self.note(number)?;
            }
            0x94 => self.note(self.memo.len() as u64)?,
            b'h' => {
                let number = self.number(1)?;
                return self.noted(number);
            }
            b'j' => {
                let number = self.number(4)?;
                return self.noted(number);
            }
            b'g' => {
                let number = self.written()?;
                return self.noted(number);
            }
            // Containers: empty ones, of what lies above the mark, of the topmost values.
            b')' | b']' | b'}' | 0x8f => self.stack.push(1),
            b'd' | b'l' | b't' | 0x91 => {
                let inside = self.to_mark()?;
                self.stack.push(1 + inside);
            }
            opcode @ 0x85..=0x87 => self.around(usize::from(opcode) - 0x84)?,
            b'R' | 0x81 => self.around(2)?,
            0x92 => self.around(3)?,
            // What is added to the container below.
            b'a' | b'b' => self.into_top(1)?,
            b's' => self.into_top(2)?,
            b'e' | b'u' | 0x90 => {
                let inside = self.to_mark()?;
                let top = self.stack.last_mut()?;
                *top = (*top).max(1 + inside);
            }
            // Names of code, which the library refuses or takes for a set.
            b'c' => {
                self.line()?;
                self.line()?;
                self.atom(0)?;
            }
            0x93 => self.around(2)?,
            b'i' => {
                self.line()?;
                self.line()?;
                let inside = self.to_mark()?;
                self.stack.push(1 + inside);
            }
            b'o' => {
                let inside = self.to_mark()?;
                self.stack.pop()?;
                self.stack.push(1 + inside);
            }
            _ => return None,
        }
        Some(self.stack.last().is_none_or(|&depth| depth <= DEPTH))
    }

    fn take(&mut self, bytes: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    /// A number of so many bytes.
    fn number(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.take(bytes)?;
        Some(taken.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Option<&[u8]> {
        let end = self.rest.iter().position(|&byte| byte == b'\n')?;
        self.take(end + 1)
    }

    /// A number in digits, on a line.
    fn written(&mut self) -> Option<u64> {
        std::str::from_utf8(self.line()?).ok()?.trim().parse().ok()
    }

    fn atom(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes)?;
        self.stack.push(0);
        Some(())
    }

    /// Bytes behind their number.
    fn counted(&mut self, bytes: usize) -> Option<()> {
        let length = usize::try_from(self.number(bytes)?).ok()?;
        self.atom(length)
    }

    fn note(&mut self, number: u64) -> Option<()> {
        self.memo.insert(number, *self.stack.last()?);
        Some(())
    }

    /// A noted value again; no container, which would stand in two places.
    fn noted(&mut self, number: u64) -> Option<bool> {
        let depth = *self.memo.get(&number)?;
        self.stack.push(depth);
        Some(depth == 0)
    }

    /// The depth of what lies above the last mark, which goes.
    fn to_mark(&mut self) -> Option<usize> {
        let before = self.marked.pop()?;
        let above = std::mem::replace(&mut self.stack, before);
        Some(above.into_iter().max().unwrap_or(0))
    }

    /// The topmost values become one container.
    fn around(&mut self, values: usize) -> Option<()> {
        let inside = self.stack.split_off(self.stack.len().checked_sub(values)?);
        self.stack.push(1 + inside.into_iter().max().unwrap_or(0));
        Some(())
    }

    /// The topmost values go into the container below them.
    fn into_top(&mut self, values: usize) -> Option<()> {
        let inside = self.stack.split_off(self.stack.len().checked_sub(values)?);
        let top = self.stack.last_mut()?;
        *top = (*top).max(1 + inside.into_iter().max().unwrap_or(0));
        Some(())
    }
}
