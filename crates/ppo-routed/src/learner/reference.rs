//! Gradients by autograd on the policy in candle operations.

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor};
use learning::ops::{clamp, cross_entropy, log_softmax, maximum};
use policies::{Policy, RouteMasks};

use super::batch::{Batch, Losses, PolicyLoss};
use crate::Error;
use crate::rollout::dense_rows;

/// The gradient of a batch's loss by autograd, on any device: the same losses as
/// [`super::FusedLearner::gradient`], written with tensors.
///
/// # Errors
/// Fails where candle does.
pub fn reference_gradient(
    policy: &Policy,
    batch: &Batch<'_>,
    device: &Device,
) -> Result<(GradStore, Losses), Error> {
    if batch.indices.is_empty() {
        return Ok((GradStore::default(), Losses::default()));
    }
    let (loss, losses) = reference_loss(policy, batch, device)?;
    Ok((loss.backward()?, losses))
}

/// The loss of a batch that is not empty, with its graph, and the parts that it is the sum of.
///
/// # Errors
/// Fails where candle does.
pub fn reference_loss(
    policy: &Policy,
    batch: &Batch<'_>,
    device: &Device,
) -> Result<(Tensor, Losses), Error> {
    let n = batch.indices.len();
    let column = |f: &dyn Fn(usize) -> f32| -> Result<Tensor, Error> {
        Ok(Tensor::from_vec(batch.indices.iter().map(|i| f(*i as usize)).collect::<Vec<_>>(), n, device)?)
    };
    let samples = batch.samples;
    let rows: Vec<u32> = batch.indices.iter().map(|i| samples.rows[*i as usize]).collect();
    let observations = dense_rows(batch.unique.rows(), &rows, device)?;
    let weight = column(&|i| batch.weight(i) / n.max(1) as f32)?;
    let weighted = |x: &Tensor| -> Result<Tensor, Error> { Ok((x * &weight)?.sum_all()?) };

    let experts = policy.config().experts.len();
    let masks = batch.indices.iter().map(|i| batch.route(samples.labels[*i as usize], experts));
    let expert_masks: Vec<f32> = masks.clone().flat_map(|route| route.experts).copied().collect();
    let masks = RouteMasks {
        experts: Tensor::from_vec(expert_masks, (n, experts), device)?,
        gate: Tensor::from_vec(masks.map(|route| route.gate).collect::<Vec<_>>(), (n, 1), device)?,
    };
    let output = policy.forward_routed(&observations, &masks)?;
    let log_probs = log_softmax(&output.logits)?;
    let actions: Vec<u32> = batch.indices.iter().map(|i| u32::from(samples.actions[*i as usize])).collect();
    let actions = Tensor::from_vec(actions, (n, 1), device)?;
    let log_prob = log_probs.gather(&actions, 1)?.squeeze(1)?;
    let entropy = (log_probs.exp()? * &log_probs)?.sum(D::Minus1)?.neg()?;
    let advantages = Tensor::from_slice(batch.advantages, n, device)?;
    let targets = column(&|i| batch.targets[i])?;
    let value = policy.value(&observations)?;
    let mut losses = Losses::default();
    let squared = (&value - &targets)?.sqr()?;
    let (policy_loss, value_loss) = match batch.policy_loss {
        PolicyLoss::Reinforce => ((log_prob * advantages)?.neg()?, squared),
        PolicyLoss::Ppo { clip_coef, clip_vloss } => {
            let log_ratio = (log_prob - column(&|i| samples.log_probs[i])?)?;
            let ratio = log_ratio.exp()?;
            let clip = f64::from(clip_coef);
            let limited = clamp(&ratio, 1.0 - clip, 1.0 + clip)?;
            let loss = maximum(&(&ratio * &advantages)?.neg()?, &(limited * advantages)?.neg()?)?;
            let outside = (ratio.detach() - 1.0)?.abs()?.gt(clip)?.to_dtype(DType::F32)?;
            losses.clipfrac = mean(&outside)?;
            losses.approx_kl = mean(&((ratio - 1.0)? - log_ratio)?)?;
            let value_loss = if clip_vloss {
                let old = column(&|i| samples.values[i])?;
                let limited = (&old + clamp(&(&value - &old)?, -clip, clip)?)?;
                maximum(&squared, &(limited - &targets)?.sqr()?)?
            } else {
                squared
            };
            (loss, value_loss)
        }
    };
    let (policy_loss, value_loss, entropy) =
        (weighted(&policy_loss)?, weighted(&value_loss)?, weighted(&entropy)?);
    losses.policy = scalar(&policy_loss)?;
    losses.value = scalar(&value_loss)?;
    losses.entropy = scalar(&entropy)?;
    let weights = batch.weights;
    let mut total = (policy_loss + (value_loss * f64::from(weights.vf_coef))?)?;
    total = (total - (entropy * f64::from(weights.ent_coef))?)?;
    if let Some(gate_logits) = &output.gate_logits {
        let supervised = batch.supervised().max(1) as f32;
        let mask = column(&|i| if samples.labels[i].kind().is_some() { 1.0 / supervised } else { 0.0 })?;
        let kind = |i: &u32| samples.labels[*i as usize].kind().unwrap_or(0) as u32;
        let kinds = Tensor::from_vec(batch.indices.iter().map(kind).collect::<Vec<_>>(), n, device)?;
        let gate_loss = (gate_cross_entropy(gate_logits, &kinds)? * mask)?.sum_all()?;
        losses.gate = scalar(&gate_loss)?;
        total = (total + (gate_loss * f64::from(weights.gate_coef))?)?;
    }
    Ok((total, losses))
}

/// −ln of the gate's weight on each sample's own kind, the last expert's logit being 0.
///
/// # Shapes
/// `gate_logits` (n, experts − 1), `kinds` (n) → (n).
fn gate_cross_entropy(gate_logits: &Tensor, kinds: &Tensor) -> Result<Tensor, Error> {
    let last = gate_logits.narrow(1, 0, 1)?.zeros_like()?;
    Ok(cross_entropy(&Tensor::cat(&[gate_logits, &last], 1)?, kinds)?)
}

fn scalar(x: &Tensor) -> Result<f64, Error> {
    Ok(f64::from(x.detach().to_scalar::<f32>()?))
}

fn mean(x: &Tensor) -> Result<f64, Error> {
    if x.elem_count() == 0 { Ok(0.0) } else { scalar(&x.detach().mean_all()?) }
}
