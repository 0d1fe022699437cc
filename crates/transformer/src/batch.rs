//! Sequences as the network takes them, and what is lost on them.

/// Sequences of equal length: each token's successor is its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Tokens of a sequence.
    pub tokens: usize,
    /// (sequences · tokens).
    pub inputs: Vec<u32>,
    /// The token that follows each input; any where its weight is 0.
    pub targets: Vec<u32>,
    /// The weight of each target in the loss: 0 after the end of a document, else 1; below 0 where its loss is to rise.
    pub weights: Vec<f32>,
}

impl Batch {
    /// Documents cut to `tokens` + 1 tokens or filled up with `filler` of weight 0.
    pub fn new<'a>(documents: impl IntoIterator<Item = &'a [u32]>, tokens: usize, filler: u32) -> Self {
        let mut batch = Self { tokens, inputs: Vec::new(), targets: Vec::new(), weights: Vec::new() };
        for document in documents {
            let pairs = document.len().saturating_sub(1).min(tokens);
            for place in 0..tokens {
                let here = place < pairs;
                let input = document.get(place).filter(|_| place <= pairs).copied().unwrap_or(filler);
                batch.inputs.push(input);
                batch.targets.push(if here { document[place + 1] } else { filler });
                batch.weights.push(if here { 1.0 } else { 0.0 });
            }
        }
        batch
    }

    /// Contexts filled up after their ends, without targets.
    ///
    /// # Panics
    /// Panics if a context is longer than `tokens`.
    pub fn contexts(contexts: &[&[u32]], tokens: usize, filler: u32) -> Self {
        let mut inputs = Vec::with_capacity(contexts.len() * tokens);
        for context in contexts {
            assert!(context.len() <= tokens, "a context of {} tokens for {tokens}", context.len());
            inputs.extend_from_slice(context);
            inputs.extend(std::iter::repeat_n(filler, tokens - context.len()));
        }
        let targets = vec![filler; inputs.len()];
        Self { tokens, targets, weights: vec![0.0; inputs.len()], inputs }
    }

    /// Sequences in it.
    pub fn sequences(&self) -> usize {
        self.inputs.len() / self.tokens.max(1)
    }

    /// The sum of the weights, each without its sign: the targets that count.
    pub fn total_weight(&self) -> f64 {
        self.weights.iter().map(|weight| f64::from(weight.abs())).sum()
    }
}

/// What a gradient step has lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepLoss {
    /// The mean cross-entropy of the batch's targets, each with its weight.
    pub loss: f64,
    /// The penalties of the hooks.
    pub penalty: f64,
}

impl StepLoss {
    pub(crate) fn new(losses: &[f32], batch: &Batch, penalty: f64) -> Self {
        let sum: f64 = losses.iter().zip(&batch.weights).map(|(l, w)| f64::from(*l) * f64::from(*w)).sum();
        Self { loss: sum / batch.total_weight().max(1e-9), penalty }
    }
}
