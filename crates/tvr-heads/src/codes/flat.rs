//! Codes and their gradients as rows of plain numbers: the form in which they travel between devices.
//!
//! ```text
//! codes      items, width, steps, step width, one width per extra │ pooled │ sequence │ mask │ extras
//! gradients  whether there is one, for pooled, sequence, each extra │ pooled │ sequence │ extras
//! ```
//!
//! Gradients of one head's codes have one length, and the sum of two such rows is the row of the sum.

use burn::prelude::*;
use burn::tensor::DType;

use crate::codes::{CodeGradients, Codes, Sequence};
use crate::error::HeadError;

impl<Side> Codes<Side> {
    /// These codes as numbers, on the host.
    pub fn to_flat(&self) -> Vec<f32> {
        let [items, width] = self.pooled.dims();
        let [steps, step_width] = self.sequence.as_ref().map_or([0, 0], |sequence| {
            let [_, steps, width] = sequence.features.dims();
            [steps, width]
        });
        let mut sizes = vec![items, width, steps, step_width];
        sizes.extend(self.extras.iter().map(|(_, rows)| rows.dims()[1]));
        let mut flat: Vec<f32> = sizes.into_iter().map(|size| size as f32).collect();
        flat.extend(values(self.pooled.clone()));
        if let Some(sequence) = &self.sequence {
            flat.extend(values(sequence.features.clone()));
            flat.extend(sequence.mask.to_data().iter::<bool>().map(|real| f32::from(u8::from(real))));
        }
        self.extras.iter().for_each(|(_, rows)| flat.extend(values(rows.clone())));
        flat
    }

    /// Codes of other items, out of what [`Codes::to_flat`] made of codes of the same head; outside any graph, on the
    /// device of these.
    ///
    /// # Errors
    /// Numbers that are no codes of this head.
    pub fn of_flat(&self, flat: &[f32]) -> Result<Self, HeadError> {
        let mut rest = Reader { rest: flat };
        let [items, width, steps, step_width] = [rest.size()?, rest.size()?, rest.size()?, rest.size()?];
        let widths = self.extras.iter().map(|_| rest.size()).collect::<Result<Vec<_>, _>>()?;
        let kind = (&self.pooled.clone().without_autodiff().device(), self.pooled.dtype());
        let mut codes = Self::new(rest.tensor([items, width], kind)?);
        if self.sequence.is_some() {
            let features = rest.tensor([items, steps, step_width], kind)?;
            let mask = rest.take(items * steps)?.iter().map(|&real| real > 0.5).collect::<Vec<bool>>();
            let mask = Tensor::from_data(TensorData::new(mask, [items, steps]), kind.0);
            codes.sequence = Some(Sequence { features, mask });
        }
        for ((name, _), width) in self.extras.iter().zip(widths) {
            codes.extras.push((name, rest.tensor([items, width], kind)?));
        }
        if rest.rest.is_empty() { Ok(codes) } else { Err(HeadError::Parts) }
    }
}

impl<Side> CodeGradients<Side> {
    /// These gradients as numbers, on the host; zeros where the loss did not touch a tensor. `of`: the codes that they
    /// are of
    pub fn to_flat(&self, of: &Codes<Side>) -> Vec<f32> {
        let extras = self.extras.iter();
        let touched = [self.pooled.is_some(), self.sequence.is_some()].into_iter();
        let touched = touched.chain(extras.map(Option::is_some));
        let mut flat: Vec<f32> = touched.map(|touched| f32::from(u8::from(touched))).collect();
        add(&mut flat, self.pooled.clone(), of.pooled.shape().num_elements());
        let count = of.sequence.as_ref().map_or(0, |sequence| sequence.features.shape().num_elements());
        add(&mut flat, self.sequence.clone(), count);
        for (gradient, (_, rows)) in self.extras.iter().zip(&of.extras) {
            add(&mut flat, gradient.clone(), rows.shape().num_elements());
        }
        flat
    }

    /// Gradients out of a row, or a sum of rows, that [`CodeGradients::to_flat`] made for these codes.
    ///
    /// # Errors
    /// Numbers that are no gradients of such codes.
    pub fn of_flat(of: &Codes<Side>, flat: &[f32]) -> Result<Self, HeadError> {
        let mut rest = Reader { rest: flat };
        let kind = (&of.pooled.clone().without_autodiff().device(), of.pooled.dtype());
        let touched = rest.take(2 + of.extras.len())?;
        let pooled = rest.tensor(of.pooled.dims(), kind)?;
        let sequence = match &of.sequence {
            Some(sequence) => Some(rest.tensor(sequence.features.dims(), kind)?),
            None => None,
        };
        let extras = of.extras.iter().zip(&touched[2..]).map(|((_, rows), touched)| {
            let gradient = rest.tensor(rows.dims(), kind)?;
            Ok((*touched > 0.0).then_some(gradient))
        });
        let extras = extras.collect::<Result<Vec<_>, HeadError>>()?;
        if !rest.rest.is_empty() {
            return Err(HeadError::Parts);
        }
        let (pooled, sequence) =
            ((touched[0] > 0.0).then_some(pooled), sequence.filter(|_| touched[1] > 0.0));
        Ok(Self::new(pooled, sequence, extras))
    }
}

struct Reader<'a> {
    rest: &'a [f32],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [f32], HeadError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(HeadError::Parts)?;
        self.rest = rest;
        Ok(taken)
    }

    fn size(&mut self) -> Result<usize, HeadError> {
        Ok(self.take(1)?[0] as usize)
    }

    fn tensor<const D: usize>(
        &mut self,
        shape: [usize; D],
        kind: (&Device, DType),
    ) -> Result<Tensor<D>, HeadError> {
        let values = self.take(shape.iter().product())?.to_vec();
        Ok(Tensor::from_data(TensorData::new(values, shape), kind))
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn add<const D: usize>(flat: &mut Vec<f32>, gradient: Option<Tensor<D>>, count: usize) {
    match gradient {
        Some(gradient) => flat.extend(values(gradient)),
        None => flat.resize(flat.len() + count, 0.0),
    }
}
