//! Parameters into a module and out of it, by their paths.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;

use crate::loader::weights::{Weights, transposed};
use crate::loader::{Form, Origin};
use crate::{ClipError, Precision};

/// The path of the parameter at hand, such as `text.blocks.0.query.weight`.
#[derive(Clone, Debug, Default)]
struct Place(Vec<String>);

impl Place {
    fn new(prefix: &str) -> Self {
        Self(if prefix.is_empty() { Vec::new() } else { vec![prefix.to_owned()] })
    }

    fn path(&self) -> String {
        self.0.join(".")
    }
}

/// Puts the file's values in the place of a module's lazy parameters, which are then never drawn.
pub(crate) struct Fill<'a> {
    weights: &'a Weights,
    origins: BTreeMap<String, Origin>,
    place: Place,
    device: &'a Device,
    precision: Precision,
    failed: Option<ClipError>,
}

impl<'a> Fill<'a> {
    pub(crate) fn new(
        weights: &'a Weights,
        origins: BTreeMap<String, Origin>,
        prefix: &str,
        device: &'a Device,
        precision: Precision,
    ) -> Self {
        Self { weights, origins, place: Place::new(prefix), device, precision, failed: None }
    }

    pub(crate) fn fill<M: Module>(mut self, module: M) -> Result<M, ClipError> {
        let filled = module.map(&mut self);
        match self.failed {
            Some(error) => Err(error),
            None => Ok(filled),
        }
    }

    /// A parameter's tensor. Its shape is the parameter's, as [`Weights::problem`] has found.
    fn tensor<const D: usize>(&self, path: &str) -> Result<Tensor<D>, ClipError> {
        let Some(origin) = self.origins.get(path) else {
            let reason = format!("no tensor is known for the parameter {path}");
            return Err(ClipError::Format { path: self.weights.path().to_owned(), reason });
        };
        let precision = match origin.form {
            Form::Norm | Form::Scalar => Precision::F32,
            _ => self.precision,
        };
        let data = TensorData::new(self.weights.read(origin)?, origin.shape.clone());
        Ok(Tensor::from_data(data, (self.device, precision.dtype())))
    }
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.0.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.tensor(&self.place.path()) {
            Ok(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            // A panic in here would end the process: burn has moved the module out.
            Err(error) => {
                self.failed.get_or_insert(error);
                param
            }
        }
    }
}

/// Takes a module's parameters out, in the shape and order of a Hugging Face file.
pub(crate) struct Take<'a> {
    origins: &'a BTreeMap<String, Origin>,
    place: Place,
    taken: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl<'a> Take<'a> {
    pub(crate) fn new(origins: &'a BTreeMap<String, Origin>) -> Self {
        Self { origins, place: Place::default(), taken: BTreeMap::new() }
    }

    /// Tensors by their names in the file, with shapes.
    pub(crate) fn take<M: Module>(
        mut self,
        module: &M,
        prefix: &str,
    ) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        self.place = Place::new(prefix);
        module.visit(&mut self);
        self.taken
    }
}

impl ModuleVisitor for Take<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.place.0.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.0.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(origin) = self.origins.get(&self.place.path()) else { return };
        let values: Vec<f32> = param.val().into_data().iter::<f32>().collect();
        let values = match (origin.form, origin.shape.as_slice()) {
            (Form::Linear | Form::Patches, &[rows, columns]) => transposed(&values, rows, columns),
            _ => values,
        };
        self.taken.insert(origin.name.clone(), (origin.shape_in_file(), values));
    }
}
