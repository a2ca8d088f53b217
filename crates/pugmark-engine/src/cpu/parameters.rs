//! Parameters in the engine's own layout: convolutions `[height][width][in][out]`, linear layers `[in][out]`.

use pugmark_graph::{Graph, ParamId, Tensor, Tensors};
use pugmark_kernels as kernels;

use crate::EngineError;
use crate::plan::lookup;

/// One parameter or running statistic.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    pub trained: bool,
    /// It is of a backbone that is not run: nothing is kept of it.
    absent: bool,
    pub value: Vec<f32>,
    /// Empty unless trained.
    pub gradient: Vec<f32>,
    /// The optimiser's state; as many as it needs, empty unless trained.
    pub moments: Vec<Vec<f32>>,
    /// Steps that moved it: fewer than the training's where it was frozen at first.
    pub steps: u64,
    /// The gradients of earlier batches of a step; empty before a step had several.
    pub sum: Vec<f32>,
    /// The running average of its values; empty where none is kept.
    pub average: Vec<f32>,
}

impl Parameter {
    /// Adds the gradient to those of earlier batches; the `last` one leaves the whole as the gradient.
    pub fn accumulate(&mut self, first: bool, last: bool) {
        if first && last {
            return;
        }
        if first {
            self.sum.clone_from(&self.gradient);
        } else {
            kernels::add(&mut self.sum, &self.gradient);
        }
        if last {
            std::mem::swap(&mut self.sum, &mut self.gradient);
        }
    }
}

/// Prefixes of the names in a training's state.
const STEPS: &str = "steps";
const AVERAGE: &str = "average";

/// All parameters of a graph, in its order.
#[derive(Debug, Clone)]
pub(super) struct Parameters(Vec<Parameter>);

impl Parameters {
    /// Takes the graph's tensors from `tensors`; `moments` buffers are kept for each parameter that `trained` names.
    pub fn new(
        graph: &Graph,
        tensors: &Tensors,
        trained: &dyn Fn(ParamId) -> bool,
        moments: usize,
    ) -> Result<Self, EngineError> {
        let mut list = Vec::with_capacity(graph.params().len());
        let head_alone = graph.given().is_some();
        for (index, param) in graph.params().iter().enumerate() {
            let absent = head_alone && !param.head;
            let trained = trained(ParamId(index)) && !absent;
            let kept = if trained { param.len() } else { 0 };
            list.push(Parameter {
                name: param.name.clone(),
                shape: param.shape.clone(),
                trained,
                absent,
                value: match absent {
                    true => Vec::new(),
                    false => to_engine(lookup(tensors, &param.name, &param.shape)?),
                },
                gradient: vec![0.0; kept],
                moments: if trained { vec![vec![0.0; kept]; moments] } else { Vec::new() },
                steps: 0,
                sum: Vec::new(),
                average: Vec::new(),
            });
        }
        Ok(Self(list))
    }

    /// Replaces all values; on an error none.
    pub fn set(&mut self, tensors: &Tensors) -> Result<(), EngineError> {
        let values: Result<Vec<_>, _> =
            self.present().map(|p| lookup(tensors, &p.name, &p.shape).map(to_engine)).collect();
        for (parameter, value) in self.0.iter_mut().filter(|p| !p.absent).zip(values?) {
            parameter.value = value;
        }
        Ok(())
    }

    /// The values in PyTorch's layout.
    pub fn tensors(&self) -> Tensors {
        self.present().map(|p| (p.name.clone(), to_pytorch(&p.shape, &p.value))).collect()
    }

    fn present(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter().filter(|p| !p.absent)
    }

    /// The values in PyTorch's layout, averages in place of those that have one.
    pub fn averaged_tensors(&self) -> Tensors {
        let values = |p: &Parameter| match p.average.as_slice() {
            [] => to_pytorch(&p.shape, &p.value),
            average => to_pytorch(&p.shape, average),
        };
        self.present().map(|p| (p.name.clone(), values(p))).collect()
    }

    /// Keeps a running average of a parameter from its value on.
    pub fn average(&mut self, id: ParamId) {
        let parameter = &mut self.0[id.0];
        parameter.average.clone_from(&parameter.value);
    }

    /// The gradients in PyTorch's layout.
    pub fn gradients(&self) -> Tensors {
        self.trained().map(|p| (p.name.clone(), to_pytorch(&p.shape, &p.gradient))).collect()
    }

    /// The state of a training that did `steps` steps, in PyTorch's layout; `names` has one prefix a moment.
    pub fn state(&self, names: &[&str], steps: u64) -> Tensors {
        let mut state = Tensors::new();
        for parameter in &self.0 {
            let Parameter { name, shape, .. } = parameter;
            for (prefix, moment) in names.iter().zip(&parameter.moments) {
                state.insert(format!("{prefix}.{name}"), to_pytorch(shape, moment));
            }
            if parameter.trained && parameter.steps != steps {
                // As PyTorch keeps it: a f32, exact up to 16 million.
                let own = Tensor { shape: vec![1], values: vec![parameter.steps as f32] };
                state.insert(format!("{STEPS}.{name}"), own);
            }
            if !parameter.average.is_empty() {
                state.insert(format!("{AVERAGE}.{name}"), to_pytorch(shape, &parameter.average));
            }
        }
        state
    }

    /// Takes a state that [`Parameters::state`] gave after `steps` steps; a parameter it knows nothing of starts now. On an
    /// error the state is of no use.
    pub fn set_state(&mut self, names: &[&str], state: &Tensors, steps: u64) -> Result<(), EngineError> {
        for parameter in &mut self.0 {
            let Parameter { name, shape, .. } = &*parameter;
            let known = names.iter().any(|prefix| state.contains_key(&format!("{prefix}.{name}")));
            if parameter.trained && known {
                let moments: Result<_, _> = names
                    .iter()
                    .map(|prefix| lookup(state, &format!("{prefix}.{name}"), shape).map(to_engine))
                    .collect();
                let own = state.get(&format!("{STEPS}.{name}")).and_then(|own| own.values.first());
                let own = own.map_or(steps, |&own| own as u64);
                (parameter.moments, parameter.steps) = (moments?, own);
            } else {
                parameter.moments.iter_mut().for_each(|moment| moment.fill(0.0));
                parameter.steps = 0;
            }
            if !parameter.average.is_empty() {
                let name = format!("{AVERAGE}.{}", parameter.name);
                parameter.average = match state.contains_key(&name) {
                    true => to_engine(lookup(state, &name, &parameter.shape)?),
                    false => parameter.value.clone(),
                };
            }
        }
        Ok(())
    }

    /// A parameter's values.
    pub fn value(&self, id: ParamId) -> &[f32] {
        &self.0[id.0].value
    }

    /// PyTorch's shape of a parameter.
    pub fn shape(&self, id: ParamId) -> &[usize] {
        &self.0[id.0].shape
    }

    /// The inputs and outputs of a linear layer's weight; none for another parameter.
    pub fn linear_features(&self, id: ParamId) -> Option<(usize, usize)> {
        match *self.0[id.0].shape {
            [outputs, inputs] => Some((inputs, outputs)),
            _ => None,
        }
    }

    /// One parameter.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Parameter {
        &mut self.0[id.0]
    }

    /// Whether it has a gradient.
    pub fn is_trained(&self, id: ParamId) -> bool {
        self.0[id.0].trained
    }

    /// Those that have a gradient, with the index each has in the graph.
    pub fn trained_mut(&mut self) -> impl Iterator<Item = (usize, &mut Parameter)> {
        self.0.iter_mut().enumerate().filter(|(_, p)| p.trained)
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.0.iter_mut()
    }

    pub fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter().filter(|p| p.trained)
    }
}

/// The number of outputs and of inputs and kernel positions of a weight; 1 input where there is nothing to turn.
fn dimensions(shape: &[usize]) -> (usize, usize, usize) {
    match *shape {
        [out, inputs, height, width] => (out, inputs, height * width),
        [out, inputs] => (out, inputs, 1),
        _ => (shape.iter().product(), 1, 1),
    }
}

/// Calls `f(ours, pytorchs)` for each value's index, block by block so that both sides stay in the cache.
fn for_each_index(shape: &[usize], mut f: impl FnMut(usize, usize)) {
    const BLOCK: usize = 16;
    let (out, inputs, taps) = dimensions(shape);
    for first_output in (0..out).step_by(BLOCK) {
        for first_input in (0..inputs).step_by(BLOCK) {
            for tap in 0..taps {
                for i in first_input..inputs.min(first_input + BLOCK) {
                    for o in first_output..out.min(first_output + BLOCK) {
                        f((tap * inputs + i) * out + o, (o * inputs + i) * taps + tap);
                    }
                }
            }
        }
    }
}

fn to_engine(tensor: &Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.values.len()];
    for_each_index(&tensor.shape, |ours, pytorchs| values[ours] = tensor.values[pytorchs]);
    values
}

fn to_pytorch(shape: &[usize], engine: &[f32]) -> Tensor {
    let mut values = vec![0.0; engine.len()];
    for_each_index(shape, |ours, pytorchs| values[pytorchs] = engine[ours]);
    Tensor { shape: shape.to_vec(), values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_turn_back() {
        for shape in [vec![5], vec![4, 3], vec![2, 3, 5, 7], vec![33, 17, 3, 3]] {
            let values = (0..shape.iter().product::<usize>()).map(|v| v as f32).collect();
            let tensor = Tensor { shape: shape.clone(), values };
            assert_eq!(to_pytorch(&shape, &to_engine(&tensor)), tensor);
        }
        let tensor = Tensor { shape: vec![2, 1, 1, 2], values: vec![0.0, 1.0, 2.0, 3.0] };
        assert_eq!(to_engine(&tensor), [0.0, 2.0, 1.0, 3.0]);
    }
}
