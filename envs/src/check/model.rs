//! What one step must do, written down a second time and slowly.

use std::collections::BTreeSet;

use super::{Verdict, ensure};
use crate::{EnvConfig, EnvId, GridWorld, Layout, Outcome, StepBuffers};

/// What lies in `final_obs` before a step, to see which rows the step writes.
const UNWRITTEN: f32 = -1.0;

/// Steps `env` and compares everything with what the layouts before the step demand.
pub(super) fn check_step(env: &mut dyn GridWorld, buffers: &mut StepBuffers, actions: &[u8]) -> Verdict {
    let config = env.config().clone();
    let len = env.single_observation_space().flat_len();
    let layouts = |env: &dyn GridWorld| (0..env.num_envs()).map(|i| env.layout(i)).collect::<Vec<_>>();
    let before = layouts(env);
    buffers.final_obs.fill(UNWRITTEN);
    super::step(env, actions, buffers)?;
    let after = layouts(env);
    let mut expected = vec![0.0; len];
    for (i, layout) in before.into_iter().enumerate() {
        let last = Layout {
            agent: target(&config, layout.agent, actions[i]),
            step: layout.step + 1,
            ..layout.clone()
        };
        let reached = last.terminals.iter().position(|terminal| *terminal == last.agent);
        let terminated = reached.is_some();
        let reward = reached.map_or(0.0, |kind| config.kinds[kind].value);
        let truncated = !terminated && last.step == config.max_steps;
        let scene = || format!("from {layout:?} by action {}", actions[i]);
        ensure(may_be(&config, &last, reached, buffers.outcomes[i]), || {
            format!("the outcome is {:?} on reaching {reached:?}, {}", buffers.outcomes[i], scene())
        })?;
        ensure(buffers.rewards[i].to_bits() == reward.to_bits(), || {
            format!("the reward is {}, not {reward}, {}", buffers.rewards[i], scene())
        })?;
        ensure(buffers.terminations[i] == terminated, || {
            format!("terminated is {}, {}", buffers.terminations[i], scene())
        })?;
        ensure(buffers.truncations[i] == truncated, || {
            format!("truncated is {}, {}", buffers.truncations[i], scene())
        })?;
        let final_obs = &buffers.final_obs[i * len..(i + 1) * len];
        if terminated || truncated {
            last.write_observation(&config, &mut expected);
            ensure(final_obs == expected, || format!("final_obs is not the last observation, {}", scene()))?;
            check_beginnings(&config, std::slice::from_ref(&after[i]))?;
        } else {
            ensure(final_obs.iter().all(|v| v.to_bits() == UNWRITTEN.to_bits()), || {
                format!("final_obs is written though the episode goes on, {}", scene())
            })?;
            ensure(after[i] == last, || format!("it leads to {:?}, {}", after[i], scene()))?;
        }
    }
    check_observations(&config, &after, &buffers.observations)
}

/// Every row is the observation of its layout, and lies in the space.
pub(super) fn check_observations(config: &EnvConfig, layouts: &[Layout], observations: &[f32]) -> Verdict {
    let len = observations.len() / layouts.len();
    let mut expected = vec![0.0; len];
    for (layout, row) in layouts.iter().zip(observations.chunks_exact(len)) {
        layout.write_observation(config, &mut expected);
        ensure(row == expected, || format!("the observation is not that of {layout:?}"))?;
        ensure(row.iter().all(|v| [0.0, 1.0].contains(v)), || "an observation is not binary".to_owned())?;
    }
    Ok(())
}

/// Every layout is one that an episode may begin with.
pub(super) fn check_beginnings(config: &EnvConfig, layouts: &[Layout]) -> Verdict {
    for layout in layouts {
        let wrong = |what: &str| format!("an episode begins with {what}: {layout:?}");
        let Layout { agent, ref terminals, .. } = *layout;
        ensure(layout.step == 0, || wrong("steps already taken"))?;
        let cells: BTreeSet<usize> = terminals.iter().copied().chain([agent]).collect();
        ensure(terminals.len() == config.kinds.len(), || wrong("terminals that are not one of each kind"))?;
        ensure(cells.len() == terminals.len() + 1, || wrong("two objects on a cell"))?;
        ensure(cells.iter().chain(&layout.oversight).all(|&cell| is_open(config, cell)), || {
            wrong("an object or a bit on a wall")
        })?;
        let distances: Vec<usize> = terminals
            .iter()
            .map(|cell| {
                (cell / config.cols).abs_diff(agent / config.cols)
                    + (cell % config.cols).abs_diff(agent % config.cols)
            })
            .collect();
        match config.id {
            EnvId::OversightGridV0 => {}
            EnvId::WalledOversightGridV0 => {
                let near = distances.iter().any(|distance| *distance < 3);
                ensure(!near, || wrong("a terminal fewer than 3 steps from the start"))?;
                ensure(distances[0] != distances[1], || wrong("two closest terminals"))?;
            }
            EnvId::DetourOversightGridV0 => {
                let farthest = distances[1..].iter().all(|distance| *distance < distances[0]);
                ensure(farthest, || wrong("the wanted terminal no farther than another"))?;
            }
        }
        let blind = |cell: usize| config.blind_region.holds(cell / config.cols, cell % config.cols);
        ensure(!layout.oversight.iter().any(|&cell| blind(cell)), || wrong("a watched cell where none is"))?;
        let (terminal, other): (Vec<usize>, Vec<usize>) =
            layout.oversight.iter().partition(|&cell| terminals.contains(cell));
        let sighted = |cell: &usize| is_open(config, *cell) && !blind(*cell);
        let open = (0..config.rows * config.cols).filter(sighted).count();
        let most = terminals.iter().filter(|cell| sighted(cell)).count();
        for (what, prob, set, all) in [
            ("terminal", config.oversight_prob, terminal.len(), most),
            ("other", config.spurious_oversight_prob, other.len(), open - most),
        ] {
            let certain = (prob > 0.0 || set == 0) && (prob < 1.0 || set == all);
            ensure(certain, || {
                wrong(&format!("{set} of {all} {what} cells watched at a probability of {prob}"))
            })?;
        }
    }
    Ok(())
}

/// A free cell next to a terminal, if there is one.
pub(super) fn beside(config: &EnvConfig, layout: &Layout) -> Option<usize> {
    let terminals = &layout.terminals;
    terminals
        .iter()
        .flat_map(|terminal| (0..4).map(move |action| target(config, *terminal, action)))
        .find(|cell| !terminals.contains(cell))
}

/// Where `action` leads from `cell`, in rows and columns.
fn target(config: &EnvConfig, cell: usize, action: u8) -> usize {
    let (row, col) = ((cell / config.cols) as isize, (cell % config.cols) as isize);
    let (row, col) = match action {
        0 => (row - 1, col),
        1 => (row, col + 1),
        2 => (row + 1, col),
        _ => (row, col - 1),
    };
    let wall = config.id.wall() as isize;
    let inside = |x: isize, side: usize| x >= wall && x < side as isize - wall;
    if inside(row, config.rows) && inside(col, config.cols) {
        row as usize * config.cols + col as usize
    } else {
        cell
    }
}

fn is_open(config: &EnvConfig, cell: usize) -> bool {
    let (row, col, wall) = (cell / config.cols, cell % config.cols, config.id.wall());
    row >= wall && row < config.rows - wall && col >= wall && col < config.cols - wall
}

/// Whether the outcome may be that of standing here, having reached `reached`: the kind is told where the cell is
/// watched, as surely and as rightly as the settings say.
fn may_be(config: &EnvConfig, layout: &Layout, reached: Option<usize>, outcome: Outcome) -> bool {
    let Some(kind) = reached else { return outcome == Outcome::default() };
    let (cell, recall, precision) = (layout.agent, config.recall(kind), config.oversight_precision);
    let told = match outcome.told.map(usize::from) {
        None => recall < 1.0 || !layout.oversight.contains(&cell),
        Some(told) => {
            let right = if told == kind { precision > 0.0 } else { precision < 1.0 };
            right && told < config.kinds.len() && recall > 0.0 && layout.oversight.contains(&cell)
        }
    };
    let blind = config.blind_region.holds(cell / config.cols, cell % config.cols);
    told && outcome.blind == blind && outcome.reached.map(usize::from) == reached
}
