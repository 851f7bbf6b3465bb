//! A line of the certificate in the making.

use crate::ClipError;
use crate::parity::golden::largest;
use crate::parity::{Line, Session};

/// What the error of a tensor may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// This much.
    Fixed(f64),
    /// `base · max(1, largest finite value of the tensor)`, and at least `least`.
    Scaled { base: f64, least: f64 },
}

impl Bound {
    fn of(self, expected: &[f32]) -> f64 {
        match self {
            Self::Fixed(bound) => bound,
            Self::Scaled { base, least } => {
                // A value that is no number has an infinite error, which must not find an infinite bound.
                let sizes =
                    expected.iter().map(|value| f64::from(value.abs())).filter(|size| size.is_finite());
                (base * sizes.fold(1.0, f64::max)).max(least)
            }
        }
    }
}

/// A stage, tensor by tensor.
pub(super) struct Stage<'a, 'b> {
    pub(super) session: &'a mut Session<'b>,
    bound: Bound,
    line: Line,
}

impl<'a, 'b> Stage<'a, 'b> {
    pub(super) fn new(session: &'a mut Session<'b>, stage: &'static str, bound: Bound) -> Self {
        let line = Line {
            stage,
            tensors: 0,
            values: 0,
            worst: String::new(),
            largest: 0.0,
            nearest: String::new(),
            error: 0.0,
            tolerance: 0.0,
        };
        Self { session, bound, line }
    }

    /// Compares one tensor, if the golden folder has it; of `[texts, tokens, width]` only the rows that are real.
    pub(super) fn add(&mut self, name: &str, found: &[f32], real: Option<&[i64]>) -> Result<(), ClipError> {
        if !self.session.golden.has(name) {
            return Ok(());
        }
        let mut expected = self.session.golden.floats(name)?;
        let mut found = found.to_vec();
        if let Some(real) = real {
            let width = expected.len() / real.len().max(1);
            let kept = |values: &[f32]| -> Vec<f32> {
                let rows = values.chunks(width.max(1)).zip(real).filter(|(_, real)| **real != 0);
                rows.flat_map(|(row, _)| row.iter().copied()).collect()
            };
            // Of another length it is wrong as a whole, and stays so.
            if found.len() == expected.len() {
                (found, expected) = (kept(&found), kept(&expected));
            }
        }
        self.note(name, expected.len(), largest(&found, &expected), self.bound.of(&expected));
        Ok(())
    }

    /// A tensor whose error is known.
    pub(super) fn error(&mut self, name: &str, values: usize, error: f64) {
        self.note(name, values, error, self.bound.of(&[]));
    }

    fn note(&mut self, name: &str, values: usize, error: f64, tolerance: f64) {
        let share = |error: f64, tolerance: f64| if error == 0.0 { 0.0 } else { error / tolerance };
        let line = &mut self.line;
        if line.tensors == 0 || error > line.largest {
            (line.worst, line.largest) = (name.to_owned(), error);
        }
        if line.tensors == 0 || share(error, tolerance) > share(line.error, line.tolerance) {
            (line.nearest, line.error, line.tolerance) = (name.to_owned(), error, tolerance);
        }
        line.tensors += 1;
        line.values += values;
        self.session.compared.insert(name.to_owned());
    }

    pub(super) fn done(self) {
        if self.line.tensors > 0 {
            self.session.lines.push(self.line);
        }
    }
}
