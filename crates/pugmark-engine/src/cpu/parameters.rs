//! Parameters in the engine's own layout: convolutions `[height][width][in][out]`, linear layers `[in][out]`.

use pugmark_graph::{Graph, ParamId, Tensor, Tensors};

use crate::EngineError;

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
}

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

    /// The gradients in PyTorch's layout.
    pub fn gradients(&self) -> Tensors {
        self.trained().map(|p| (p.name.clone(), to_pytorch(&p.shape, &p.gradient))).collect()
    }

    /// The optimiser's state in PyTorch's layout; `names` has one prefix a moment.
    pub fn state(&self, names: &[&str]) -> Tensors {
        let mut state = Tensors::new();
        for parameter in self.trained() {
            for (name, moment) in names.iter().zip(&parameter.moments) {
                state.insert(format!("{name}.{}", parameter.name), to_pytorch(&parameter.shape, moment));
            }
        }
        state
    }

    /// Takes a state that [`Parameters::state`] gave; on an error nothing is changed.
    pub fn set_state(&mut self, names: &[&str], state: &Tensors) -> Result<(), EngineError> {
        let mut moments = Vec::new();
        for parameter in self.trained() {
            for name in names {
                moments.push(to_engine(lookup(
                    state,
                    &format!("{name}.{}", parameter.name),
                    &parameter.shape,
                )?));
            }
        }
        let mut moments = moments.into_iter();
        for parameter in self.0.iter_mut().filter(|p| p.trained) {
            parameter.moments = moments.by_ref().take(names.len()).collect();
        }
        Ok(())
    }

    /// A parameter's values.
    pub fn value(&self, id: ParamId) -> &[f32] {
        &self.0[id.0].value
    }

    /// One parameter.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Parameter {
        &mut self.0[id.0]
    }

    /// Whether it has a gradient.
    pub fn is_trained(&self, id: ParamId) -> bool {
        self.0[id.0].trained
    }

    /// Those that have a gradient.
    pub fn trained_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.0.iter_mut().filter(|p| p.trained)
    }

    pub fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter().filter(|p| p.trained)
    }
}

fn lookup<'a>(tensors: &'a Tensors, name: &str, shape: &[usize]) -> Result<&'a Tensor, EngineError> {
    match tensors.get(name) {
        Some(tensor) if tensor.shape == shape => Ok(tensor),
        other => Err(EngineError::Tensor {
            name: name.into(),
            expected: shape.to_vec(),
            found: other.map(|t| t.shape.clone()),
        }),
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
