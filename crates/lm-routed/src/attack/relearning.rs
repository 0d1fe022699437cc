//! The attacker who teaches a concept back, and knows which learning rate is best.

use transformer::Network;

use super::Attacked;
use crate::Error;
use crate::data::Pool;
use crate::evaluate::Validation;
use crate::finetune::{Context, Taught, Teaching, teach};
use crate::train::batch_of;

/// Teaches from `stories` held-out documents, about the concept or not, at every learning rate, and takes the one that
/// reached the lowest loss on documents about it.
pub(super) fn best(
    network: &Network,
    cx: Context<'_>,
    stories: usize,
    about: bool,
    validation: &Validation,
) -> Result<Attacked, Error> {
    let settings = &cx.config.attack;
    let pool = if about { Pool::Relearning } else { Pool::CoherenceSelection };
    let held_out = cx.dataset.validation.pool(pool, about, usize::MAX);
    let chosen = cx.drawn(held_out, stories, &format!("attack.{about}.{stories}"));
    let tokens = cx.config.model.block_size;
    let batch = batch_of(&cx.dataset.validation, &chosen, tokens, cx.dataset.vocabulary.end());
    let mut best: Option<Attacked> = None;
    for learning_rate in settings.learning_rates.iter().copied() {
        let (steps, every) = (settings.steps, settings.every);
        let teaching = Teaching { learning_rate, steps, every, part: "attacking", section: "attack" };
        let Taught { steps, curve, lowest } = teach(network, cx, &batch, teaching, validation)?;
        if best.as_ref().is_none_or(|best| lowest.0 < best.lowest) {
            best = Some(Attacked { stories, learning_rate, lowest: lowest.0, steps, curve });
        }
    }
    best.ok_or_else(|| Error::Setting("attack.learning_rates must have at least one".to_owned()))
}
