//! Networks whose matrices are rounded or thinned out.

use candle_core::Tensor;
use learning::Parameters;
use transformer::Network;

use crate::Error;

/// Every matrix rounded to the nearest of 2ᵇⁱᵗˢ − 1 even steps, each of its output channels with a scale of its own.
///
/// ```text
/// s = max |w| / (2ᵇⁱᵗˢ⁻¹ − 1) of the channel        w ← s · round(w / s)
/// ```
pub(super) fn quantised(network: &Network, bits: u32) -> Result<Network, Error> {
    let levels = f64::from((1u32 << (bits - 1)) - 1);
    by_matrix(network, |name, matrix| {
        // embeddings have a channel a row, all other matrices one a column
        let dim = usize::from(!name.ends_with("W_E") && !name.ends_with("W_U") && !name.ends_with("W_pos"));
        let largest = matrix.abs()?.max_keepdim(1 - dim)?;
        let scale = (largest / levels)?.clamp(f32::MIN_POSITIVE, f32::MAX)?;
        matrix.broadcast_div(&scale)?.round()?.broadcast_mul(&scale)
    })
}

/// Every matrix without a share of its numbers, the smallest ones.
pub(super) fn pruned(network: &Network, share: f64) -> Result<Network, Error> {
    by_matrix(network, |_, matrix| {
        let mut sizes: Vec<f32> = matrix.abs()?.flatten_all()?.to_vec1()?;
        let cut = ((share * sizes.len() as f64).round() as usize).min(sizes.len().saturating_sub(1));
        if cut == 0 {
            return Ok(matrix.clone());
        }
        let (_, border, _) = sizes.select_nth_unstable_by(cut, f32::total_cmp);
        let kept = matrix.abs()?.ge(f64::from(*border))?;
        kept.where_cond(matrix, &matrix.zeros_like()?)
    })
}

fn by_matrix(
    network: &Network,
    change: impl Fn(&str, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<Network, Error> {
    let mut parameters = Parameters::default();
    for (name, var) in network.parameters.iter() {
        let values = var.as_detached_tensor();
        let values = if values.rank() == 2 { change(name, &values)? } else { values };
        parameters.insert(name, &values)?;
    }
    Ok(Network { architecture: network.architecture.clone(), parameters })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use transformer::Architecture;

    fn network(rows: &[[f32; 4]; 2]) -> Network {
        let mut parameters = Parameters::default();
        parameters.insert("blocks.0.mlp.W_in", &Tensor::new(rows, &Device::Cpu).unwrap()).unwrap();
        parameters.insert("embed.W_E", &Tensor::new(rows, &Device::Cpu).unwrap()).unwrap();
        parameters.insert("ln_final.w", &Tensor::new(&[0.3f32], &Device::Cpu).unwrap()).unwrap();
        Network { architecture: Architecture::default(), parameters }
    }

    fn rows(network: &Network, name: &str) -> Vec<Vec<f32>> {
        network.parameters.get(name).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn a_channel_is_rounded_by_its_own_largest_weight() {
        let before = network(&[[3.0, -1.0, 0.0, 0.02], [1.4, 1.0, 0.0, 0.07]]);
        // three bits: from −3 to 3 steps
        let after = quantised(&before, 3).unwrap();
        let near = |a: &[Vec<f32>], b: [[f32; 4]; 2]| {
            a.concat().iter().zip(b.concat()).all(|(a, b)| (a - b).abs() < 1e-6)
        };
        let found = rows(&after, "blocks.0.mlp.W_in");
        assert!(near(&found, [[3.0, -1.0, 0.0, 0.07 / 3.0], [1.0, 1.0, 0.0, 0.07]]), "{found:?}");
        let found = rows(&after, "embed.W_E");
        assert!(near(&found, [[3.0, -1.0, 0.0, 0.0], [1.4, 2.8 / 3.0, 0.0, 0.0]]), "{found:?}");
        assert_eq!(after.parameters.get("ln_final.w").unwrap().to_vec1::<f32>().unwrap(), [0.3]);
    }

    #[test]
    fn the_smallest_weights_are_pruned() {
        let before = network(&[[3.0, -1.0, 0.5, 0.02], [1.4, 1.1, -0.3, 0.07]]);
        let after = pruned(&before, 0.5).unwrap();
        assert_eq!(rows(&after, "embed.W_E"), [[3.0, -1.0, 0.0, 0.0], [1.4, 1.1, 0.0, 0.0]]);
        assert_eq!(rows(&pruned(&before, 0.0).unwrap(), "embed.W_E"), rows(&before, "embed.W_E"));
    }
}
