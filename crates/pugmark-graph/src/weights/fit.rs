use std::collections::BTreeMap;
use std::fmt;

use super::error::{Mismatch, WeightsError, WrongShape};
use crate::{Architecture, Graph, Param, Tensors};

/// What to do when the head differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadPolicy {
    /// It must fit as all else: for our own model files.
    Exact,
    /// It keeps its initial values: for weights trained on other classes.
    Replace,
}

/// What [`fit`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitReport {
    /// Tensors taken from the file.
    pub loaded: usize,
    /// What became of the head.
    pub head: HeadFit,
}

/// What became of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFit {
    /// It was taken from the file.
    Loaded,
    /// It has its initial values.
    New {
        /// Classes of the model.
        classes: usize,
        /// Classes of the file's head, where it has one.
        file: Option<usize>,
    },
}

impl fmt::Display for FitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.head {
            HeadFit::Loaded => write!(f, "all {} tensors loaded", self.loaded),
            HeadFit::New { classes, file } => {
                write!(f, "{} tensors loaded, new head for {classes} classes; the file has ", self.loaded)?;
                match file {
                    Some(file) => write!(f, "{file}"),
                    None => write!(f, "no head"),
                }
            }
        }
    }
}

/// Takes `loaded` tensors into the graph's parameters, which start from `initial` ([`Graph::initialise`]).
///
/// # Errors
/// [`WeightsError::Mismatch`] when names or shapes differ other than as `head` allows.
pub fn fit(
    graph: &Graph,
    loaded: &Tensors,
    initial: Tensors,
    head: HeadPolicy,
) -> Result<(Tensors, FitReport), WeightsError> {
    let fits = |param: &Param| loaded.get(&param.name).is_some_and(|tensor| tensor.shape == param.shape);
    let own: Vec<&Param> = graph.params().iter().filter(|param| param.head).collect();
    let replaced = head == HeadPolicy::Replace && !own.iter().all(|param| fits(param));
    let wanted = graph.params().iter().filter(|param| !(replaced && param.head));

    let mut tensors = initial;
    let mut mismatch = Mismatch { missing: vec![], unexpected: vec![], wrong_shape: vec![], fits: None };
    let mut report = FitReport { loaded: 0, head: HeadFit::Loaded };
    for Param { name, shape, .. } in wanted {
        match loaded.get(name) {
            None => mismatch.missing.push((name.clone(), shape.clone())),
            Some(tensor) if tensor.shape != *shape => mismatch.wrong_shape.push(WrongShape {
                name: name.clone(),
                file: tensor.shape.clone(),
                model: shape.clone(),
            }),
            Some(tensor) => {
                report.loaded += 1;
                tensors.insert(name.clone(), tensor.clone());
            }
        }
    }
    let known = shapes(graph);
    let unexpected = loaded.iter().filter(|(name, _)| !known.contains_key(name.as_str()));
    mismatch.unexpected = unexpected.map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    if !(mismatch.missing.is_empty() && mismatch.unexpected.is_empty() && mismatch.wrong_shape.is_empty()) {
        mismatch.fits = architecture(loaded).filter(|found| shapes(&found.graph(1)).keys().ne(known.keys()));
        return Err(WeightsError::Mismatch(Box::new(mismatch)));
    }
    if replaced {
        let classes = own.first().map_or(0, |param| param.shape[0]);
        let file = own.iter().find_map(|param| loaded.get(&param.name)?.shape.first().copied());
        report.head = HeadFit::New { classes, file };
    }
    Ok((tensors, report))
}

/// Shapes by name.
fn shapes(graph: &Graph) -> BTreeMap<&str, &Param> {
    graph.params().iter().map(|param| (param.name.as_str(), param)).collect()
}

/// The architecture whose names, and shapes but for the head's, the tensors have.
fn architecture(loaded: &Tensors) -> Option<Architecture> {
    Architecture::ALL.into_iter().find(|architecture| {
        let graph = architecture.graph(1);
        let mut backbone = graph.params().iter().filter(|param| !param.head);
        let known = shapes(&graph);
        backbone.all(|param| loaded.get(&param.name).is_some_and(|tensor| tensor.shape == param.shape))
            && loaded.keys().all(|name| known.contains_key(name.as_str()))
    })
}
