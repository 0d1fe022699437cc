//! Neurons and heads in groups, and what they are in the parameters.

use std::collections::BTreeMap;

use learning::Partition;

use super::Architecture;
use crate::Error;

/// Neurons and heads of some blocks in groups that lie side by side: how many each group has in a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelGroups {
    /// The blocks.
    pub layers: Vec<usize>,
    /// Neurons of the MLP; empty where they are not divided.
    pub neurons: Vec<usize>,
    /// Attention heads; empty where they are not divided.
    pub heads: Vec<usize>,
}

impl ChannelGroups {
    /// For each parameter that has channels of several groups, the group of each channel: of a neuron its column of
    /// `W_in`, its number in `b_in` and its row of `W_out`, of a head its columns of `W_QKV`, its numbers in `b_QKV`
    /// and its rows of `W_O`. The biases behind the output matrices belong to no neuron and no head.
    ///
    /// # Errors
    /// [`Error::Groups`] where they are not all of a block's channels, or heads share keys and values.
    pub fn partitions(&self, architecture: &Architecture) -> Result<BTreeMap<String, Partition>, Error> {
        let mut all = BTreeMap::new();
        let Architecture { n_head, bias, .. } = *architecture;
        for layer in &self.layers {
            let name = |leaf: &str| format!("blocks.{layer}.{leaf}");
            let mut add = |leaf: &str, dim: usize, parts: &[usize]| {
                all.insert(name(leaf), Partition { dim, parts: parts.to_vec() });
            };
            if !self.neurons.is_empty() {
                require(self.neurons.iter().sum(), architecture.mlp_widths[*layer], "neurons", *layer)?;
                let neurons = spread(&self.neurons, 1);
                add("mlp.W_in", 1, &neurons);
                add("mlp.W_out", 0, &neurons);
                if bias {
                    add("mlp.b_in", 0, &neurons);
                }
            }
            if !self.heads.is_empty() {
                require(self.heads.iter().sum(), n_head, "heads", *layer)?;
                require(architecture.kv_heads(), n_head, "heads with keys of their own", *layer)?;
                let heads = spread(&self.heads, architecture.head_width());
                add("attn.W_QKV", 1, &heads.repeat(3));
                add("attn.W_O", 0, &heads);
                if bias {
                    add("attn.b_QKV", 0, &heads.repeat(3));
                }
            }
        }
        Ok(all)
    }
}

/// The group of each channel, of which one unit of a group has `each`.
fn spread(groups: &[usize], each: usize) -> Vec<usize> {
    groups.iter().enumerate().flat_map(|(group, units)| std::iter::repeat_n(group, units * each)).collect()
}

fn require(found: usize, needed: usize, what: &'static str, layer: usize) -> Result<(), Error> {
    if found == needed { Ok(()) } else { Err(Error::Groups { what, layer, needed, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Architecture {
        Architecture {
            n_layer: 2,
            n_head: 2,
            n_embd: 4,
            mlp_widths: vec![3, 3],
            vocab_size: 5,
            block_size: 3,
            ..Architecture::default()
        }
    }

    #[test]
    fn every_channel_of_a_head_and_a_neuron_has_its_group() {
        let groups = ChannelGroups { layers: vec![1], neurons: vec![1, 2], heads: vec![1, 1] };
        let partitions = groups.partitions(&network()).unwrap();
        let names: Vec<&str> = partitions.keys().map(String::as_str).collect();
        let expected = ["attn.W_O", "attn.W_QKV", "attn.b_QKV", "mlp.W_in", "mlp.W_out", "mlp.b_in"];
        assert_eq!(names, expected.map(|leaf| format!("blocks.1.{leaf}")));
        assert_eq!(partitions["blocks.1.mlp.W_in"], Partition { dim: 1, parts: vec![0, 1, 1] });
        let qkv = Partition { dim: 1, parts: vec![0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1] };
        assert_eq!(partitions["blocks.1.attn.W_QKV"], qkv);
        assert_eq!(partitions["blocks.1.attn.W_O"], Partition { dim: 0, parts: vec![0, 0, 1, 1] });
    }

    #[test]
    fn groups_that_are_not_all_channels_are_refused() {
        let of = |neurons: &[usize], heads: &[usize]| {
            let groups = ChannelGroups { layers: vec![0], neurons: neurons.to_vec(), heads: heads.to_vec() };
            groups.partitions(&network()).unwrap_err().to_string()
        };
        assert_eq!(of(&[1, 1], &[]), "the groups of block 0 have 2 neurons, the block has 3");
        assert_eq!(of(&[], &[1, 2]), "the groups of block 0 have 3 heads, the block has 2");
    }
}
