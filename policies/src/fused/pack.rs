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

/// The hidden layers of an expert, of the gate, or of a value net that is no linear function.
#[derive(Clone, Debug)]
pub(super) struct Trunk {
    /// The parameters' common prefix, `experts.NAME`, `gate` or `value`.
    pub prefix: String,
    /// Whether a 1×1 convolution comes first, which is folded into the first layer.
    pub has_conv: bool,
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

/// The layout of packed weights and of their gradient: experts' trunks from 0 on, then the gate's and the value net's;
/// head; gate output; the value net's last layer, or all of it folded to one weight vector and a bias.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub trunks: Vec<Trunk>,
    pub head: PackedLayer,
    pub gate: Option<PackedLayer>,
    pub value: PackedLayer,
    /// Which of the trunks is the value net's; none where it is folded.
    pub value_trunk: Option<usize>,
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
        let mut nets: Vec<_> =
            config.experts.iter().map(|name| (format!("experts.{name}"), &config.hidden, false)).collect();
        if config.has_gate() {
            nets.push(("gate".to_owned(), &config.hidden, config.has_gate_conv()));
        }
        let value_trunk = config.has_value_trunk().then_some(nets.len());
        if value_trunk.is_some() {
            nets.push(("value".to_owned(), &config.value_hidden, true));
        }
        let trunks = nets
            .into_iter()
            .map(|(prefix, hidden, has_conv)| Trunk {
                prefix,
                has_conv,
                table: dense(config.inputs(), hidden[0]),
                dense: hidden.windows(2).map(|pair| dense(pair[0], pair[1])).collect(),
            })
            .collect();
        let last = config.hidden[config.hidden.len() - 1];
        let head = dense(last, config.actions);
        let gate = config.has_gate().then(|| dense(last, config.gate_outputs()));
        let value_inputs = config.value_hidden.last().filter(|_| value_trunk.is_some());
        let value = dense(value_inputs.copied().unwrap_or_else(|| config.inputs()), 1);
        Self { trunks, head, gate, value, value_trunk, len }
    }
}
