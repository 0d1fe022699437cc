//! What the frozen blocks below the adapters make of documents: the same for every model, step and measure, so it is
//! computed once and kept while there is room.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;
use pretrained::Decoder;
use transformer::Batch;

use crate::Error;
use crate::data::{Dataset, Documents};
use crate::train::batch_of;

/// Which documents are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Train,
    Validation,
}

impl Kind {
    fn of(self, dataset: &Dataset) -> &Documents {
        match self {
            Self::Train => &dataset.train,
            Self::Validation => &dataset.validation,
        }
    }
}

/// The residual stream of documents after the blocks that have no adapter.
pub(super) struct LowerStreams {
    /// Blocks without one.
    pub blocks: usize,
    tokens: usize,
    room: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    streams: HashMap<(Kind, usize), Tensor>,
    bytes: usize,
}

impl LowerStreams {
    /// Of documents cut to `tokens` tokens, in at most `room` bytes.
    pub(super) fn new(blocks: usize, tokens: usize, room: usize) -> Self {
        Self { blocks, tokens, room, kept: Mutex::default() }
    }

    /// Documents as a batch with its stream. Each document is computed by itself, so that no result depends on what is
    /// kept.
    ///
    /// # Errors
    /// Fails where the model does.
    pub(super) fn batch(
        &self,
        decoder: &Decoder,
        dataset: &Dataset,
        kind: Kind,
        chosen: &[usize],
    ) -> Result<(Batch, Tensor), Error> {
        let batch = batch_of(kind.of(dataset), chosen, self.tokens, dataset.vocabulary.end());
        let mut streams = Vec::new();
        for (document, inputs) in chosen.iter().zip(batch.inputs.chunks(self.tokens)) {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let found = kept.streams.get(&(kind, *document)).cloned();
            drop(kept);
            let stream = match found {
                Some(stream) => stream,
                None => self.add((kind, *document), decoder.stream(inputs, 1, self.blocks)?),
            };
            streams.push(stream);
        }
        Ok((batch, Tensor::cat(&streams, 0)?))
    }

    fn add(&self, key: (Kind, usize), stream: Tensor) -> Tensor {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = stream.elem_count() * size_of::<f32>();
        if kept.bytes + bytes <= self.room && kept.streams.insert(key, stream.clone()).is_none() {
            kept.bytes += bytes;
        }
        stream
    }
}
