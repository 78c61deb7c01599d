//! Named arrays of numbers, and how networks and their surroundings become some and come back.

use crate::net::{Dense, Gru, NetConfig, Tower};
use crate::normalizer::Normalizer;
use crate::optimizer::Optimizer;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use std::collections::BTreeMap;

/// An array's numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Weights and observations.
    F32(Vec<f32>),
    /// Moments.
    F64(Vec<f64>),
    /// Actions.
    U16(Vec<u16>),
    /// Counts and masks.
    U64(Vec<u64>),
}

impl Numbers {
    fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::F64(x) => x.len(),
            Self::U16(x) => x.len(),
            Self::U64(x) => x.len(),
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F64(_) => Dtype::F64,
            Self::U16(_) => Dtype::U16,
            Self::U64(_) => Dtype::U64,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(x) => x.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F64(x) => x.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::U16(x) => x.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::U64(x) => x.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    fn parse(dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        Some(match dtype {
            Dtype::F32 => Self::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
            Dtype::F64 => Self::F64(bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
            Dtype::U16 => Self::U16(bytes.as_chunks().0.iter().map(|&b| u16::from_le_bytes(b)).collect()),
            Dtype::U64 => Self::U64(bytes.as_chunks().0.iter().map(|&b| u64::from_le_bytes(b)).collect()),
            _ => return None,
        })
    }
}

impl From<Vec<f32>> for Numbers {
    fn from(numbers: Vec<f32>) -> Self {
        Self::F32(numbers)
    }
}

impl From<Vec<f64>> for Numbers {
    fn from(numbers: Vec<f64>) -> Self {
        Self::F64(numbers)
    }
}

impl From<Vec<u16>> for Numbers {
    fn from(numbers: Vec<u16>) -> Self {
        Self::U16(numbers)
    }
}

impl From<Vec<u64>> for Numbers {
    fn from(numbers: Vec<u64>) -> Self {
        Self::U64(numbers)
    }
}

/// Numbers in a shape.
#[derive(Clone, Debug, PartialEq)]
struct Array {
    shape: Vec<usize>,
    numbers: Numbers,
}

/// Arrays by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrays(BTreeMap<String, Array>);

impl Arrays {
    /// Keeps a list of numbers.
    pub fn put(&mut self, name: impl Into<String>, numbers: impl Into<Numbers>) {
        let numbers = numbers.into();
        self.0.insert(name.into(), Array { shape: vec![numbers.len()], numbers });
    }

    /// The list that was put.
    ///
    /// # Errors
    /// When there is none of this name and type.
    pub fn get<T: TryFromNumbers>(&self, name: &str) -> Result<&[T], String> {
        let array = self.0.get(name).ok_or_else(|| format!("it has no {name}"))?;
        T::of(&array.numbers).ok_or_else(|| format!("{name} has numbers of another type"))
    }

    /// The same, of which there must be `length`.
    ///
    /// # Errors
    /// When there are not.
    pub fn exactly<T: TryFromNumbers>(&self, name: &str, length: usize) -> Result<&[T], String> {
        let numbers = self.get(name)?;
        if numbers.len() == length {
            Ok(numbers)
        } else {
            Err(format!("{name} has {} numbers, expected {length}", numbers.len()))
        }
    }

    /// The names of all, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Leaves out all whose names begin like this.
    pub fn remove_all(&mut self, prefix: &str) {
        self.0.retain(|name, _| !name.starts_with(prefix));
    }

    /// Takes in all others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Keeps a tower's layers: `NAME.LAYER.weight`, `[inputs, outputs]`, and `NAME.LAYER.bias`.
    pub(crate) fn put_tower(&mut self, name: &str, tower: &Tower) {
        for (layer, dense) in tower.layers() {
            let weight =
                Array { shape: vec![dense.inputs, dense.outputs], numbers: dense.weight.clone().into() };
            self.0.insert(format!("{name}.{layer}.weight"), weight);
            self.put(format!("{name}.{layer}.bias"), dense.bias.clone());
        }
    }

    /// The tower of this shape.
    pub(crate) fn tower(
        &self,
        name: &str,
        inputs: usize,
        config: &NetConfig,
        outputs: usize,
    ) -> Result<Tower, String> {
        let dense = |layer: &str, inputs: usize, outputs: usize| {
            let weight = format!("{name}.{layer}.weight");
            let shape = self.0.get(&weight).map(|array| array.shape.as_slice()).unwrap_or_default();
            if shape != [inputs, outputs] {
                return Err(format!("{weight} has the shape {shape:?}, expected {:?}", [inputs, outputs]));
            }
            Ok(Dense {
                inputs,
                outputs,
                weight: self.get(&weight)?.to_vec(),
                bias: self.exactly(&format!("{name}.{layer}.bias"), outputs)?.to_vec(),
            })
        };
        let mut width = inputs;
        let mut hidden = Vec::new();
        for (k, &next) in config.hidden.iter().enumerate() {
            hidden.push(dense(&format!("hidden.{k}"), width, next)?);
            width = next;
        }
        let mut gru = None;
        if let Some(next) = config.gru {
            let (input, state) = (dense("gru.input", width, 3 * next)?, dense("gru.hidden", next, 3 * next)?);
            gru = Some(Gru { input, hidden: state });
            width = next;
        }
        Ok(Tower::new(hidden, gru, dense("output", width, outputs)?))
    }

    /// Keeps a normaliser's moments.
    pub(crate) fn put_normalizer(&mut self, name: &str, normalizer: &Normalizer) {
        self.put(format!("{name}.count"), vec![normalizer.count]);
        self.put(format!("{name}.mean"), normalizer.mean.clone());
        self.put(format!("{name}.variance"), normalizer.variance.clone());
    }

    pub(crate) fn normalizer(&self, name: &str, width: usize) -> Result<Normalizer, String> {
        let count = self.exactly::<f64>(&format!("{name}.count"), 1)?[0];
        let mean = self.exactly(&format!("{name}.mean"), width)?.to_vec();
        Ok(Normalizer::of(count, mean, self.exactly(&format!("{name}.variance"), width)?.to_vec()))
    }

    /// Keeps what an optimiser remembers.
    pub(crate) fn put_optimizer(&mut self, name: &str, optimizer: &Optimizer) {
        self.put(format!("{name}.first"), optimizer.first.clone());
        self.put(format!("{name}.second"), optimizer.second.clone());
        self.put(format!("{name}.steps"), vec![optimizer.steps]);
    }

    pub(crate) fn restore_optimizer(&self, name: &str, optimizer: &mut Optimizer) -> Result<(), String> {
        let moments =
            |part: &str, length| Ok::<_, String>(self.exactly(&format!("{name}.{part}"), length)?.to_vec());
        let (first, second) =
            (moments("first", optimizer.first.len())?, moments("second", optimizer.second.len())?);
        (optimizer.first, optimizer.second) = (first, second);
        optimizer.steps = self.exactly::<u64>(&format!("{name}.steps"), 1)?[0];
        Ok(())
    }

    /// A safetensors file with this header.
    pub(crate) fn to_bytes(&self, header: (String, String)) -> Result<Vec<u8>, String> {
        let bytes: Vec<Vec<u8>> = self.0.values().map(|array| array.numbers.bytes()).collect();
        let views = self.0.iter().zip(&bytes).map(|((name, array), bytes)| {
            Ok((name, TensorView::new(array.numbers.dtype(), array.shape.clone(), bytes)?))
        });
        let views = views.collect::<Result<Vec<_>, SafeTensorError>>().map_err(|e| e.to_string())?;
        safetensors::serialize(views, Some([header].into())).map_err(|e| e.to_string())
    }

    /// The arrays of a safetensors file.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let array = |(name, view): (&str, TensorView<'_>)| {
            let numbers = Numbers::parse(view.dtype(), view.data());
            let numbers = numbers.ok_or_else(|| format!("{name} is of type {:?}", view.dtype()))?;
            Ok((name.to_owned(), Array { shape: view.shape().to_vec(), numbers }))
        };
        Ok(Self(file.iter().map(array).collect::<Result<_, String>>()?))
    }
}

/// A type of numbers.
pub trait TryFromNumbers: Copy {
    /// The numbers, if they are of this type.
    fn of(numbers: &Numbers) -> Option<&[Self]>;
}

macro_rules! of_type {
    ($type:ty, $variant:ident) => {
        impl TryFromNumbers for $type {
            fn of(numbers: &Numbers) -> Option<&[Self]> {
                if let Numbers::$variant(numbers) = numbers { Some(numbers) } else { None }
            }
        }
    };
}
of_type!(f32, F32);
of_type!(f64, F64);
of_type!(u16, U16);
of_type!(u64, U64);
