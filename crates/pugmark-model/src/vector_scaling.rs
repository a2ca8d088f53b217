use pugmark_graph::Op;

use crate::Model;

impl Model {
    /// The model whose logits are `scales * z + shifts` of this one's `z`, one of each a class, at temperature 1: the last
    /// linear layer takes them up, so that nothing else need know of them. The card keeps `how` they were found.
    ///
    /// Weights are rounded to f32 once more: a logit differs from that formula by some 1e-6 of the largest term of its sum.
    ///
    /// # Panics
    /// If there is not one of each a class, or the tensors are not the architecture's.
    #[must_use]
    pub fn scaled(mut self, scales: &[f32], shifts: &[f32], how: String) -> Self {
        let classes = self.card.classes.len();
        assert_eq!((scales.len(), shifts.len()), (classes, classes), "one a class");
        let graph = self.card.architecture.graph(classes);
        let last = graph.nodes().last().map(|node| &node.op);
        let Some(&Op::Linear { weight, bias: Some(bias), in_features, .. }) = last else {
            unreachable!("every architecture ends with a linear layer that has a bias")
        };
        // A model has the tensors of its architecture.
        let tensor = "a tensor of the architecture";
        let weight = self.tensors.get_mut(&graph.param(weight).name).expect(tensor);
        for (row, &scale) in weight.values.chunks_exact_mut(in_features).zip(scales) {
            row.iter_mut().for_each(|weight| *weight *= scale);
        }
        let bias = self.tensors.get_mut(&graph.param(bias).name).expect(tensor);
        for (bias, (scale, shift)) in bias.values.iter_mut().zip(scales.iter().zip(shifts)) {
            *bias = scale * *bias + shift;
        }
        self.card.temperature = 1.0;
        self.card.calibration = Some(how);
        self
    }
}
