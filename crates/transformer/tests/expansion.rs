//! Widening a network and cutting neurons out of it.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic, as tests do")]

use candle_core::Device;
use learning::Parameters;
use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
use transformer::{
    Architecture, Backend, Batch, ChannelGroups, Hooks, Model, Network, Norm, Position, expanded, initial,
};

const TOKENS: usize = 6;

fn narrow() -> Architecture {
    Architecture {
        n_layer: 3,
        n_head: 2,
        n_embd: 8,
        mlp_widths: vec![12; 3],
        block_size: TOKENS,
        vocab_size: 20,
        position: Position::Learned,
        norm: Norm::LayerNorm,
        tied: true,
        ..Architecture::default()
    }
}

fn logits(architecture: &Architecture, parameters: Parameters, backend: Backend) -> Vec<f32> {
    let mut model = Model::new(architecture, parameters, TOKENS, 1, backend).unwrap();
    let documents: [&[u32]; 2] = [&[1, 2, 3, 4, 5, 6, 7], &[9, 8, 7]];
    model.logits(&Batch::new(documents, TOKENS, 0), &[5, 1], &Hooks::default()).unwrap()
}

#[test]
fn neurons_with_silent_outputs_change_nothing_and_cut_out_leave_the_old_model_exactly() {
    let (narrow, layers) = (narrow(), [0, 2]);
    let wide = narrow.expanded(&layers, 4);
    let groups = ChannelGroups { layers: layers.to_vec(), neurons: vec![12, 4], heads: Vec::new() };
    let before = initial(&narrow, &mut Xoshiro256PlusPlus::seed_from_u64(3), &Device::Cpu).unwrap();
    for backend in [Backend::Fused, Backend::Candle] {
        let grown = |silent| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
            expanded(&before, &narrow, &wide, silent, &mut rng).unwrap()
        };
        let plain = logits(&narrow, before.clone(), backend);
        let silent = logits(&wide, grown(true), backend);
        assert!(plain.iter().zip(&silent).all(|(a, b)| (a - b).abs() < 1e-6), "{backend:?}");
        let loud = logits(&wide, grown(false), backend);
        assert!(plain.iter().zip(&loud).any(|(a, b)| (a - b).abs() > 1e-6), "{backend:?}");
        for silent in [true, false] {
            let network = Network { architecture: wide.clone(), parameters: grown(silent) };
            let cut = network.keeping(&groups, &[0]).unwrap();
            assert_eq!(cut.architecture, narrow);
            assert_eq!(logits(&narrow, cut.parameters, backend), plain, "{backend:?}");
        }
    }
}
