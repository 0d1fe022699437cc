//! The attacker who teaches a concept back, and knows which learning rate is best.

use transformer::Network;

use super::Attacked;
use crate::Error;
use crate::data::Pool;
use crate::evaluate::{Validation, batches_of};
use crate::finetune::{Context, Taught, Teaching, teach};

/// What is taught, and how.
#[derive(Clone, Copy)]
pub(super) struct Lesson {
    /// Documents.
    pub stories: usize,
    /// Whether they are about the concept.
    pub about: bool,
    /// Whether the weights stay, and matrices of low rank are taught beside them.
    pub low_rank: bool,
}

/// Teaches from held-out documents at every learning rate, and takes the one that reached the lowest loss on documents
/// about the concept, with the network there.
pub(super) fn best(
    network: &Network,
    cx: Context<'_>,
    lesson: Lesson,
    validation: &Validation,
) -> Result<(Attacked, Network), Error> {
    let settings = &cx.config.attack;
    let Lesson { stories, about, low_rank } = lesson;
    let pool = if about { Pool::Relearning } else { Pool::CoherenceSelection };
    let held_out = cx.dataset.validation.pool(pool, about, usize::MAX);
    let chosen = cx.drawn(held_out, stories, &format!("attack.{about}.{stories}"));
    let (tokens, end) = (cx.config.model.block_size, cx.dataset.vocabulary.end());
    let batches = batches_of(settings.batch_size, &cx.dataset.validation, &chosen, tokens, end);
    let rates = if low_rank { &settings.lora_learning_rates } else { &settings.learning_rates };
    let mut best: Option<(Attacked, Network)> = None;
    for learning_rate in rates.iter().copied() {
        let teaching = Teaching {
            learning_rate,
            steps: settings.steps,
            every: settings.every,
            lora: low_rank.then_some((settings.lora_rank, cx.streams)),
            part: "attacking",
            section: "attack",
        };
        let Taught { steps, curve, lowest } = teach(network, cx, &batches, teaching, validation)?;
        if best.as_ref().is_none_or(|(best, _)| lowest.0 < best.lowest) {
            let kept = Network { architecture: network.architecture.clone(), parameters: lowest.1 };
            best = Some((Attacked { stories, learning_rate, lowest: lowest.0, steps, curve }, kept));
        }
    }
    best.ok_or_else(|| Error::Setting("attack.learning_rates must have at least one".to_owned()))
}
