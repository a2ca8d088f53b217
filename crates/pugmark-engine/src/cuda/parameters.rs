//! Parameters on a GPU: convolutions `[out][height][width][in]`, depthwise ones `[height][width][channels]`, linear layers
//! `[out][in]`, tables of relative positions `[heads][positions]`; all in one place, the trained ones first.

use std::collections::BTreeMap;
use std::ops::Range;

use pugmark_cuda::{Buffer, GRANULE, Gpu, Slice, Type, accumulate, convert, copy};
use pugmark_graph::{Graph, Op, ParamId, Tensor, Tensors};

use crate::EngineError;
use crate::plan::lookup;

/// How a tensor lies in memory, against PyTorch's `[out, in, taps]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The same.
    Same,
    /// `[out, taps, in]`.
    TapsBeforeInputs,
    /// `[in, out]`, or `[taps, out]` where each output has an input of its own.
    Turned,
}

/// One parameter or running statistic.
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    order: Order,
    pub trained: bool,
    /// Whether a running average is kept.
    pub averaged: bool,
    /// It is of a backbone that is not run: nothing is kept of it.
    absent: bool,
    /// Where it lies.
    pub place: Range<usize>,
    /// Steps that moved it: fewer than the training's where it was frozen at first.
    pub steps: u64,
}

impl Parameter {
    /// Values of an output lie apart.
    pub fn is_turned(&self) -> bool {
        self.order == Order::Turned
    }
}

/// Prefixes of the names in a training's state.
const STEPS: &str = "steps";
const AVERAGE: &str = "average";

/// What is kept of parameters besides their values.
pub(super) struct Kept<'a> {
    /// Those that have a gradient.
    pub trained: &'a dyn Fn(ParamId) -> bool,
    /// Running statistics that move.
    pub moving: &'a [ParamId],
    /// Buffers of the optimiser.
    pub moments: usize,
    /// Whether there is a running average of all that changes.
    pub averaged: bool,
}

impl Kept<'_> {
    /// Nothing.
    pub const NONE: Self = Self { trained: &|_| false, moving: &[], moments: 0, averaged: false };
}

/// All parameters of a graph, in its order.
#[derive(Debug)]
pub(super) struct Parameters {
    list: Vec<Parameter>,
    values: Buffer,
    /// The values as the products read them, where those are not f32.
    rounded: Option<Buffer>,
    /// Of the trained ones.
    gradients: Buffer,
    /// Of earlier batches of a step.
    sums: Option<Buffer>,
    moments: Vec<Buffer>,
    averages: Option<Buffer>,
    /// The running statistics before a step.
    before: Buffer,
    trained: Range<usize>,
    moving: Range<usize>,
}

impl Parameters {
    /// Takes the graph's tensors from `tensors`.
    pub fn new(
        gpu: &Gpu,
        of: Type,
        graph: &Graph,
        tensors: &Tensors,
        kept: &Kept<'_>,
    ) -> Result<Self, EngineError> {
        let &Kept { trained, moving, moments, averaged } = kept;
        let orders = orders(graph);
        let head_alone = graph.given().is_some();
        let mut list: Vec<Parameter> = Vec::with_capacity(graph.params().len());
        for (index, param) in graph.params().iter().enumerate() {
            let absent = head_alone && !param.head;
            let trained = trained(ParamId(index)) && !absent;
            let changes = trained || moving.contains(&ParamId(index));
            list.push(Parameter {
                name: param.name.clone(),
                shape: param.shape.clone(),
                order: orders.get(&index).copied().unwrap_or(Order::Same),
                trained,
                averaged: averaged && changes,
                absent,
                place: 0..0,
                steps: 0,
            });
        }
        let rank = |index: usize, p: &Parameter| match p.trained {
            true => 0,
            false if moving.contains(&ParamId(index)) => 1,
            false => 2,
        };
        let mut ends = [0; 3];
        let mut end = 0;
        for (turn, end_of_turn) in ends.iter_mut().enumerate() {
            for (_, p) in list.iter_mut().enumerate().filter(|(i, p)| rank(*i, p) == turn && !p.absent) {
                let len = p.shape.iter().product::<usize>();
                p.place = end..end + len;
                end = (end + len).next_multiple_of(GRANULE);
            }
            *end_of_turn = end;
        }
        let (trained, moving) = (0..ends[0], ends[0]..ends[1]);
        let moments: Result<_, _> = (0..moments).map(|_| gpu.allocate(Type::F32, trained.len())).collect();
        let parameters = Self {
            list,
            values: gpu.allocate(Type::F32, end)?,
            rounded: (of != Type::F32).then(|| gpu.allocate(of, end)).transpose()?,
            gradients: gpu.allocate(Type::F32, trained.len())?,
            sums: None,
            moments: moments?,
            averages: averaged.then(|| gpu.allocate(Type::F32, end)).transpose()?,
            before: gpu.allocate(Type::F32, moving.len())?,
            trained,
            moving,
        };
        parameters.set(tensors)?;
        if let Some(averages) = &parameters.averages {
            copy(parameters.values.all(), averages.all())?;
        }
        Ok(parameters)
    }

    /// Bytes that parameters take.
    pub fn bytes(of: Type, graph: &Graph, kept: &Kept<'_>) -> usize {
        let of_each = |(index, param): (usize, &pugmark_graph::Param)| {
            let len = param.len().next_multiple_of(GRANULE);
            let rounded = if of == Type::F32 { 0 } else { of.bytes() };
            // Its value, its gradient, the sum of several batches' gradients, and the optimiser's state.
            let moved = if (kept.trained)(ParamId(index)) { 2 + kept.moments } else { 0 };
            len * (rounded + Type::F32.bytes() * (1 + moved + usize::from(kept.averaged)))
        };
        graph.params().iter().enumerate().map(of_each).sum()
    }

    /// Replaces all values; on an error of theirs none.
    pub fn set(&self, tensors: &Tensors) -> Result<(), EngineError> {
        let values = self
            .to_engine(self.values.len(), self.present(), |p| lookup(tensors, &p.name, &p.shape).map(Some))?;
        self.values.all().write(&values)?;
        self.round()
    }

    /// Makes the values that the products read.
    pub fn round(&self) -> Result<(), EngineError> {
        if let Some(rounded) = &self.rounded {
            convert(self.values.all(), rounded.all())?;
        }
        Ok(())
    }

    fn present(&self) -> impl Iterator<Item = &Parameter> {
        self.list.iter().filter(|p| !p.absent)
    }

    fn trained(&self) -> impl Iterator<Item = &Parameter> {
        self.list.iter().filter(|p| p.trained)
    }

    /// The values of a place from tensors; zeros where there is none.
    fn to_engine<'a, 't>(
        &self,
        len: usize,
        list: impl Iterator<Item = &'a Parameter>,
        tensor: impl Fn(&Parameter) -> Result<Option<&'t Tensor>, EngineError>,
    ) -> Result<Vec<f32>, EngineError> {
        let mut values = vec![0.0; len];
        for p in list {
            if let Some(tensor) = tensor(p)? {
                let own = &mut values[p.place.clone()];
                for_each_index(p, |ours, pytorchs| own[ours] = tensor.values[pytorchs]);
            }
        }
        Ok(values)
    }

    /// The values in PyTorch's layout.
    pub fn tensors(&self) -> Result<Tensors, EngineError> {
        let values = self.values.all().read::<f32>()?;
        Ok(self.present().map(|p| (p.name.clone(), to_pytorch(p, &values))).collect())
    }

    /// The values in PyTorch's layout, averages in place of those that have one.
    pub fn averaged_tensors(&self) -> Result<Tensors, EngineError> {
        let mut tensors = self.tensors()?;
        if let Some(averages) = &self.averages {
            let averages = averages.all().read::<f32>()?;
            for p in self.list.iter().filter(|p| p.averaged) {
                tensors.insert(p.name.clone(), to_pytorch(p, &averages));
            }
        }
        Ok(tensors)
    }

    /// The gradients in PyTorch's layout.
    pub fn gradients(&self) -> Result<Tensors, EngineError> {
        let values = self.gradients.all().read::<f32>()?;
        Ok(self.trained().map(|p| (p.name.clone(), to_pytorch(p, &values))).collect())
    }

    /// The state of a training that did `steps` steps, in PyTorch's layout; `names` has one prefix a moment.
    pub fn state(&self, names: &[&str], steps: u64) -> Result<Tensors, EngineError> {
        let mut state = Tensors::new();
        for (prefix, moment) in names.iter().zip(&self.moments) {
            let moment = moment.all().read::<f32>()?;
            state.extend(self.trained().map(|p| (format!("{prefix}.{}", p.name), to_pytorch(p, &moment))));
        }
        for p in self.trained().filter(|p| p.steps != steps) {
            // As PyTorch keeps it: a f32, exact up to 16 million.
            let own = Tensor { shape: vec![1], values: vec![p.steps as f32] };
            state.insert(format!("{STEPS}.{}", p.name), own);
        }
        if let Some(averages) = &self.averages {
            let averages = averages.all().read::<f32>()?;
            let averaged = self.list.iter().filter(|p| p.averaged);
            state.extend(averaged.map(|p| (format!("{AVERAGE}.{}", p.name), to_pytorch(p, &averages))));
        }
        Ok(state)
    }

    /// Takes values, and a state that [`Parameters::state`] gave after `steps` steps; a parameter it knows nothing of starts
    /// now. On an error of theirs nothing is taken.
    pub fn restore(
        &mut self,
        names: &[&str],
        tensors: &Tensors,
        state: &Tensors,
        steps: u64,
    ) -> Result<(), EngineError> {
        let optional = |name: String, p: &Parameter| match state.contains_key(&name) {
            true => lookup(state, &name, &p.shape).map(Some),
            false => Ok(None),
        };
        let known =
            |p: &Parameter| names.iter().any(|prefix| state.contains_key(&format!("{prefix}.{}", p.name)));
        let mut moments = Vec::with_capacity(names.len());
        for prefix in names {
            moments.push(self.to_engine(self.trained.len(), self.trained(), |p| match known(p) {
                true => lookup(state, &format!("{prefix}.{}", p.name), &p.shape).map(Some),
                false => Ok(None),
            })?);
        }
        let averages = self.to_engine(self.values.len(), self.present(), |p| {
            match optional(format!("{AVERAGE}.{}", p.name), p)? {
                Some(average) if p.averaged => Ok(Some(average)),
                _ => lookup(tensors, &p.name, &p.shape).map(Some),
            }
        })?;
        self.set(tensors)?;
        for (moment, values) in self.moments.iter().zip(&moments) {
            moment.all().write(values)?;
        }
        if let Some(buffer) = &self.averages {
            buffer.all().write(&averages)?;
        }
        for p in self.list.iter_mut().filter(|p| p.trained) {
            let own = state.get(&format!("{STEPS}.{}", p.name)).and_then(|own| own.values.first());
            p.steps = if known(p) { own.map_or(steps, |&own| own as u64) } else { 0 };
        }
        Ok(())
    }

    /// A parameter's values, f32.
    pub fn value(&self, id: ParamId) -> Slice<'_> {
        self.values.slice(self.list[id.0].place.clone())
    }

    /// A weight as the products read it.
    pub fn weight(&self, id: ParamId) -> Slice<'_> {
        self.rounded.as_ref().unwrap_or(&self.values).slice(self.list[id.0].place.clone())
    }

    /// A parameter's gradient; none where it is not trained.
    pub fn gradient(&self, id: ParamId) -> Option<Slice<'_>> {
        let p = &self.list[id.0];
        p.trained.then(|| self.gradients.slice(p.place.clone()))
    }

    /// Whether it has a gradient.
    pub fn is_trained(&self, id: ParamId) -> bool {
        self.list[id.0].trained
    }

    /// One parameter.
    pub fn get(&self, id: ParamId) -> &Parameter {
        &self.list[id.0]
    }

    /// Those that have a gradient, with the index each has in the graph.
    pub fn trained_mut(&mut self) -> impl Iterator<Item = (usize, &mut Parameter)> {
        self.list.iter_mut().enumerate().filter(|(_, p)| p.trained)
    }

    /// Trained values, their gradients, and the optimiser's buffers.
    pub fn moved(&self) -> (Slice<'_>, Slice<'_>, Vec<Slice<'_>>) {
        let moments = self.moments.iter().map(Buffer::all).collect();
        (self.values.slice(self.trained.clone()), self.gradients.all(), moments)
    }

    /// All values and their averages, where those are kept.
    pub fn averaged(&self) -> Option<(Slice<'_>, Slice<'_>)> {
        self.averages.as_ref().map(|averages| (averages.all(), self.values.all()))
    }

    /// Adds the gradients to those of earlier batches; the `last` one leaves the whole as the gradients.
    pub fn accumulate(&mut self, gpu: &Gpu, first: bool, last: bool) -> Result<(), EngineError> {
        if first && last {
            return Ok(());
        }
        let sums = match self.sums.take() {
            Some(sums) => sums,
            None => gpu.allocate(Type::F32, self.gradients.len())?,
        };
        if first {
            copy(self.gradients.all(), sums.all())?;
        } else {
            accumulate(self.gradients.all(), sums.all())?;
        }
        if last {
            copy(sums.all(), self.gradients.all())?;
        }
        self.sums = Some(sums);
        Ok(())
    }

    /// Keeps the running statistics as they are, for [`Parameters::undo`].
    pub fn remember(&self) -> Result<(), EngineError> {
        Ok(copy(self.values.slice(self.moving.clone()), self.before.all())?)
    }

    /// Puts them back.
    pub fn undo(&self) -> Result<(), EngineError> {
        Ok(copy(self.before.all(), self.values.slice(self.moving.clone()))?)
    }

    /// Which of the trained parameters, counted in the graph, the values of each granule are of.
    pub fn owners(&self) -> Vec<u32> {
        let mut owners = vec![0; self.trained.len() / GRANULE];
        for (index, p) in self.list.iter().enumerate().filter(|(_, p)| p.trained) {
            owners[p.place.start / GRANULE..p.place.end.div_ceil(GRANULE)].fill(index as u32);
        }
        owners
    }

    /// The number of all parameters.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

/// How weights lie, by their index in the graph.
fn orders(graph: &Graph) -> BTreeMap<usize, Order> {
    let of = |op: &Op| match *op {
        Op::Conv2d { weight, .. } => Some((weight.0, Order::TapsBeforeInputs)),
        Op::DepthwiseConv2d { weight, .. } => Some((weight.0, Order::Turned)),
        Op::WindowAttention { table, .. } => Some((table.0, Order::Turned)),
        _ => None,
    };
    graph.nodes().iter().filter_map(|node| of(&node.op)).collect()
}

/// Calls `f(ours, pytorchs)` for each value's index.
fn for_each_index(p: &Parameter, mut f: impl FnMut(usize, usize)) {
    let len = p.place.len();
    let outputs = p.shape[0];
    match p.order {
        Order::Same => (0..len).for_each(|i| f(i, i)),
        Order::TapsBeforeInputs => {
            let (inputs, taps) = (p.shape[1], p.shape[2..].iter().product::<usize>());
            for output in 0..outputs {
                for tap in 0..taps {
                    for input in 0..inputs {
                        f((output * taps + tap) * inputs + input, (output * inputs + input) * taps + tap);
                    }
                }
            }
        }
        Order::Turned => {
            let others = len / outputs;
            for output in 0..outputs {
                for other in 0..others {
                    f(other * outputs + output, output * others + other);
                }
            }
        }
    }
}

fn to_pytorch(p: &Parameter, engine: &[f32]) -> Tensor {
    let own = &engine[p.place.clone()];
    let mut values = vec![0.0; own.len()];
    for_each_index(p, |ours, pytorchs| values[pytorchs] = own[ours]);
    Tensor { shape: p.shape.clone(), values }
}
