//! Layouts as text and as pictures.

use envs::{CELL_PIXELS, EnvConfig, EnvId, Layout, make};
use ndarray::s;

fn layout(
    rows: usize,
    cols: usize,
    agent: usize,
    ghost: usize,
    diamond: usize,
    oversight: &[usize],
) -> Layout {
    Layout { rows, cols, agent, terminals: vec![diamond, ghost], oversight: oversight.to_vec(), step: 0 }
}

fn of(id: EnvId) -> EnvConfig {
    EnvConfig::for_id(id)
}

#[test]
fn text_shows_objects_walls_and_bits() {
    let open = layout(2, 4, 0, 3, 6, &[3, 5]);
    assert_eq!(open.render_text(&of(EnvId::OversightGridV0)), "A..g\n.*D.\n");
    assert_eq!(layout(1, 3, 0, 1, 2, &[0, 1, 2]).render_text(&of(EnvId::OversightGridV0)), "agd\n");
    let walled = layout(4, 7, 8, 11, 19, &[9, 19]);
    assert_eq!(walled.render_text(&of(EnvId::WalledOversightGridV0)), "#######\n#A*.G.#\n#....d#\n#######\n");
    let kinds = ["diamond 1", "ghost -1", "gold 1", "acid -1"].map(|kind| kind.parse().unwrap()).to_vec();
    let four = EnvConfig { kinds, ..of(EnvId::OversightGridV0) };
    let layout_of_four = Layout { terminals: vec![1, 2, 3, 4], ..layout(2, 3, 0, 1, 2, &[3]) };
    assert_eq!(layout_of_four.render_text(&four), "ADG\n23.\n", "a letter that is taken is a number");
    // at the end of an episode the agent stands on the terminal
    assert_eq!(layout(1, 3, 1, 1, 2, &[]).render_text(&of(EnvId::OversightGridV0)), ".AD\n");
}

#[test]
fn pictures_show_them_by_colour() {
    let walled = layout(4, 7, 8, 11, 19, &[9, 19]);
    let picture = walled.render_rgb(&of(EnvId::WalledOversightGridV0));
    assert_eq!(picture.dim(), (4 * CELL_PIXELS, 7 * CELL_PIXELS, 3));
    let at = |cell: usize, y: usize, x: usize| {
        let (y, x) = (cell / 7 * CELL_PIXELS + y, cell % 7 * CELL_PIXELS + x);
        picture.slice(s![y, x, ..]).to_vec()
    };
    let middle = |cell| at(cell, CELL_PIXELS / 2, CELL_PIXELS / 2);
    assert_eq!(middle(0), [70, 70, 70], "wall");
    assert_eq!(middle(8), [0, 114, 178], "agent");
    assert_eq!(middle(11), [213, 94, 0], "ghost");
    assert_eq!(middle(19), [0, 158, 115], "diamond");
    assert_eq!(middle(9), [240, 228, 66], "watched");
    assert_eq!(middle(10), [250, 250, 250], "empty");
    // the ground shows around the objects, watched or not
    assert_eq!(at(19, 2, 2), [240, 228, 66]);
    assert_eq!(at(11, 1, 1), [250, 250, 250]);
}

#[test]
fn an_environment_draws_its_layout() {
    for id in EnvId::ALL {
        let env = make(&EnvConfig::for_id(id), 3).unwrap();
        assert_eq!(env.render_text(2), env.layout(2).render_text(&of(id)));
        assert_eq!(env.render_rgb(2), env.layout(2).render_rgb(&of(id)));
    }
}
