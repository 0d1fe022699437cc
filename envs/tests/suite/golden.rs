//! Trajectories by hand, and the streams as they were when this was written.

use envs::{EnvConfig, EnvId, Layout, Outcome, StepBuffers, make};

use crate::Actions;

/// An action and the cell it leads to.
type Move = (u8, usize);

/// Three episodes on one layout, played by hand.
#[test]
fn episodes_by_hand() {
    let config = EnvConfig { rows: 2, cols: 3, max_steps: 6, ..EnvConfig::for_id(EnvId::OversightGridV0) };
    let mut env = make(&config, 1).unwrap();
    let mut buffers = StepBuffers::for_env(env.as_ref());
    // A.G      the Ghost's cell and the one below the agent are watched
    // *D.
    let begin = Layout { rows: 2, cols: 3, agent: 0, terminals: vec![4, 2], oversight: vec![2, 3], step: 0 };
    let script: [(&[Move], Option<u8>, bool); 3] = [
        // north and west bump; south, north, east; then on to the Ghost by the sixth and last action
        (&[(0, 0), (3, 0), (2, 3), (0, 0), (1, 1), (1, 2)], Some(1), true),
        (&[(2, 3), (1, 4)], Some(0), false),
        (&[(3, 0), (3, 0), (3, 0), (3, 0), (3, 0), (3, 0)], None, false),
    ];
    for (moves, reached, overseen) in script {
        env.set_layout(0, &begin).unwrap();
        for (taken, &(action, cell)) in moves.iter().enumerate() {
            env.step(&[action], buffers.slices()).unwrap();
            let last = taken + 1 == moves.len();
            let mut seen = vec![0.0; 24];
            for one in [cell, 6 + 2, 12 + 4, 18 + 2, 18 + 3] {
                seen[one] = 1.0;
            }
            assert_eq!(if last { &buffers.final_obs } else { &buffers.observations }, &seen);
            let outcome = if last { Outcome::of(reached, overseen) } else { Outcome::default() };
            assert_eq!(buffers.outcomes, [outcome]);
            let reward = [0.0, 1.0, -1.0][outcome.reached.map_or(0, |kind| 1 + usize::from(kind))];
            assert_eq!(buffers.rewards, [reward]);
            assert_eq!(buffers.terminations, [last && reached.is_some()]);
            assert_eq!(buffers.truncations, [last && reached.is_none()]);
        }
        assert_eq!(env.layout(0).step, 0);
    }
}

/// What 50 random steps of 4 environments under seed 42 come to. A change here changes every run of every user:
/// say so in the changelog. (The first episode of environment 3 was also worked out from the definition of the
/// streams, by a program in another language: agent on cell 12, Ghost on 11, Diamond on 3.)
#[test]
fn streams_are_what_they_were() {
    for (id, begin, end, digest) in [
        (
            EnvId::OversightGridV0,
            "...D.\n.*...\n*GA..\n...*.\n.*.*.\n",
            "..G..\n*.**.\n.D*.*\n.....\n....a\n",
            9_038_078_516_801_536_837,
        ),
        (
            EnvId::WalledOversightGridV0,
            "#######\n#...G.#\n#*...*#\n#..A..#\n#.*..*#\n#.*..D#\n#######\n",
            "#######\n#.D...#\n#.*.*.#\n#*.*.G#\n#..*..#\n#.a*..#\n#######\n",
            2_164_087_295_535_096_453,
        ),
    ] {
        let config = EnvConfig { spurious_oversight_prob: 0.25, ..EnvConfig::for_id(id) };
        let mut env = make(&config, 4).unwrap();
        let mut buffers = StepBuffers::for_env(env.as_ref());
        env.reset(Some(42), &mut buffers.observations).unwrap();
        let first = env.render_text(3);
        let mut actions = Actions::new(42);
        let mut fnv = 0xcbf2_9ce4_8422_2325_u64;
        for _ in 0..50 {
            env.step(&actions.draw(4), buffers.slices()).unwrap();
            for value in buffers.observations.iter().chain(&buffers.rewards) {
                fnv = (fnv ^ u64::from(value.to_bits())).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        assert_eq!((&*first, &*env.render_text(3), fnv), (begin, end, digest), "{id}");
    }
}
