//! Where each packed parameter stands in one flat buffer.

use std::ops::Range;

use learning::kernels::Dense;

use crate::PolicyConfig;

/// A dense layer: weight (out, in) row-major and bias (out).
#[derive(Clone, Debug)]
pub(super) struct PackedLayer {
    pub weight: Range<usize>,
    pub bias: Range<usize>,
    pub inputs: usize,
    pub outputs: usize,
}

impl PackedLayer {
    /// The layer's products with its weight as it is packed.
    pub(crate) fn dense(&self) -> Dense {
        Dense::new(self.inputs, self.outputs)
    }

    /// The same layer in a buffer that begins at `start` of this one.
    pub(crate) fn moved_back(self, start: usize) -> Self {
        let Self { weight, bias, inputs, outputs } = self;
        let moved = |range: Range<usize>| range.start - start..range.end - start;
        Self { weight: moved(weight), bias: moved(bias), inputs, outputs }
    }
}

/// An expert's or the gate's hidden layers.
#[derive(Clone, Debug)]
pub(super) struct Trunk {
    /// The parameters' common prefix, `experts.NAME` or `gate`.
    pub prefix: String,
    /// The first layer; its weight is stored transposed, (in, out), so that an input is a row.
    pub table: PackedLayer,
    pub dense: Vec<PackedLayer>,
}

impl Trunk {
    /// Where its parameters begin; they stand together.
    pub(crate) fn start(&self) -> usize {
        self.table.weight.start
    }

    /// The number of its parameters.
    pub(crate) fn len(&self) -> usize {
        self.dense.last().unwrap_or(&self.table).bias.end - self.start()
    }
}

/// The layout of packed weights and of their gradient: experts' trunks from 0 on, then the gate's; head; gate output;
/// the folded value net, which is one weight vector and a bias.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub trunks: Vec<Trunk>,
    pub head: PackedLayer,
    pub gate: Option<PackedLayer>,
    pub value: PackedLayer,
    pub len: usize,
}

impl Layout {
    pub(crate) fn new(config: &PolicyConfig) -> Self {
        let mut len = 0;
        let mut dense = |inputs: usize, outputs: usize| {
            let weight = len..len + inputs * outputs;
            let bias = weight.end..weight.end + outputs;
            len = bias.end;
            PackedLayer { weight, bias, inputs, outputs }
        };
        let mut prefixes: Vec<_> = config.experts.iter().map(|name| format!("experts.{name}")).collect();
        if config.has_gate() {
            prefixes.push("gate".to_owned());
        }
        let trunks = prefixes
            .into_iter()
            .map(|prefix| Trunk {
                prefix,
                table: dense(config.inputs(), config.hidden[0]),
                dense: config.hidden.windows(2).map(|pair| dense(pair[0], pair[1])).collect(),
            })
            .collect();
        let last = config.hidden[config.hidden.len() - 1];
        let head = dense(last, config.actions);
        let gate = config.has_gate().then(|| dense(last, config.gate_outputs()));
        let value = dense(config.inputs(), 1);
        Self { trunks, head, gate, value, len }
    }
}
