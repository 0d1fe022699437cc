//! Selective gradient masking: forget neurons and heads set apart inside the width.

use gradient_routing::{Class, Group, Profile, RouteTable, RouteTableError, Semantics, Site};
use plots::Colour;
use rand::seq::SliceRandom;
use transformer::HookPoint;

use super::{MethodContext, Spec, Start};
use crate::config::{Config, Experiment, StepSemantics};
use crate::routing::{Labels, Place, Routes, StepLabels};

/// The rows of the table; documents have the same labels.
const UNLABELLED: usize = 0;
const FORGET: usize = 1;
const RETAIN: usize = 2;

/// Some neurons and heads of the network itself learn from labelled documents, and nothing else does; documents with
/// the label `retain` run without them; on all others everything runs and learns. They are removed in the end.
///
/// # Source
/// Shilov et al. 2025, arXiv 2512.05648.
pub(super) static SGTM: Spec = Spec {
    name: "sgtm",
    title: "SGTM",
    about: "steps on labelled documents train neurons and heads set apart inside the width, which are ablated",
    colour: Colour::Purple,
    experiments: &[Experiment::Era],
    files: "sgtm",
    needs_labels: true,
    filters: false,
    start: Start::Scratch,
    routes,
    labels: |cx| Ok(Labels::Steps(three_ways(cx))),
};

fn routes(config: &Config) -> Result<Routes, RouteTableError> {
    let (sgtm, model) = (&config.sgtm, &config.model);
    let semantics = match sgtm.semantics {
        StepSemantics::Frozen => Semantics::Frozen,
        StepSemantics::ZeroGradient => Semantics::ZeroGradient,
    };
    let head = model.n_embd / model.n_head.max(1);
    let mut groups = vec![
        Group::of_channels("retain", model.d_mlp.saturating_sub(sgtm.neurons)),
        Group::of_channels("forget", sgtm.neurons),
    ];
    let mut places = vec![Place {
        point: HookPoint::MlpPost,
        channels: groups.iter().map(|group| group.channels).collect(),
    }];
    if sgtm.heads > 0 {
        let forget = sgtm.heads * head;
        let channels = vec![model.n_embd.saturating_sub(forget), forget];
        places.push(Place { point: HookPoint::AttnZ, channels });
    }
    let mut rows = [vec![1.0, 1.0], vec![0.0, 1.0], vec![1.0, 0.0]];
    let mut keep = vec![0];
    if !sgtm.mask_embeddings {
        groups.push(Group::of_parameters("embeddings and norms", unmasked(config)));
        for place in &mut places {
            place.channels.push(0);
        }
        for row in &mut rows {
            row.push(1.0);
        }
        keep.push(2);
    }
    let [unlabelled, forget, retain] = rows;
    let forward = retain.clone();
    let classes = vec![
        Class::new("unlabelled", unlabelled),
        Class::new("forget", forget),
        Class { forward, ..Class::new("retain", retain) },
    ];
    let table = RouteTable::new(Site::Parameters(semantics), groups, classes)?
        .with_profiles(vec![Profile { name: "ablated".to_owned(), keep }])?;
    Ok(Routes { table, places, layers: config.routing.layers.clone(), added: 0, l1: 0.0, silent: false })
}

/// The parameters that learn from labelled documents too where embeddings are not masked.
fn unmasked(config: &Config) -> Vec<String> {
    let norms = (0..config.model.n_layer)
        .flat_map(|layer| ["ln1", "ln2"].map(|norm| format!("blocks.{layer}.{norm}")));
    ["embed", "pos_embed", "unembed", "ln_final"].map(str::to_owned).into_iter().chain(norms).collect()
}

/// *Forget* for labelled documents, *retain* for a share of those without the concept, drawn from the stream
/// `labels.retain`, and no label for all others.
fn three_ways(cx: &MethodContext<'_>) -> StepLabels {
    let train = &cx.dataset.train;
    let mut of: Vec<usize> =
        cx.labels.iter().map(|labelled| if *labelled { FORGET } else { UNLABELLED }).collect();
    let mut others: Vec<usize> = (0..train.len()).filter(|index| !train.is_forget(*index)).collect();
    others.shuffle(&mut cx.streams.stream("labels.retain"));
    others.truncate((cx.config.sgtm.retain_labelled * others.len() as f64).round() as usize);
    for index in others {
        // a document that is labelled by mistake keeps that label
        if of[index] == UNLABELLED {
            of[index] = RETAIN;
        }
    }
    StepLabels { of, choices: [UNLABELLED, FORGET, RETAIN].map(StepLabels::always).to_vec() }
}
