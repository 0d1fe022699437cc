//! Layouts as text and as pictures.

use ndarray::Array3;

use crate::{EnvConfig, EnvId, Layout, MAX_KINDS};

/// Height and width of a cell in a picture, in pixels.
pub const CELL_PIXELS: usize = 16;

/// Red, green, blue. The hues are those of Okabe and Ito, which readers with any kind of colour vision can tell
/// apart; shapes differ as well.
type Colour = [u8; 3];
const EMPTY: Colour = [250, 250, 250];
const WATCHED: Colour = [240, 228, 66];
const LINE: Colour = [200, 200, 200];
const WALL: Colour = [70, 70, 70];
const AGENT: Colour = [0, 114, 178];
/// The colours of the kinds, in their order; from the third on their shapes are alike.
const KINDS: [Colour; MAX_KINDS] = [
    [0, 158, 115],
    [213, 94, 0],
    [204, 121, 167],
    [230, 159, 0],
    [86, 180, 233],
    [120, 120, 120],
    [140, 86, 75],
    [0, 0, 0],
];

/// What is drawn in a cell; where objects share one, the agent, then the terminals in the order of their kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thing {
    Nothing,
    Wall,
    Agent,
    Terminal(usize),
}

impl Layout {
    /// This layout as text, a line for each row.
    ///
    /// | sign | meaning | watched |
    /// |---|---|---|
    /// | `A` | agent | `a` |
    /// | `D`, `G`, … | a terminal: the first letter of its kind's name, or its place among the kinds where another kind or the agent has that letter | `d`, `g`, … |
    /// | `.` | empty | `*` |
    /// | `#` | wall | |
    ///
    /// Where the agent has arrived at a terminal, the agent is shown.
    pub fn render_text(&self, config: &EnvConfig) -> String {
        let mut text = String::with_capacity(self.rows * (self.cols + 1));
        let signs = signs(config);
        for row in 0..self.rows {
            for col in 0..self.cols {
                let watched = self.oversight.contains(&(row * self.cols + col));
                let sign = match self.thing(config.id, row, col) {
                    Thing::Nothing if watched => '*',
                    Thing::Nothing => '.',
                    Thing::Wall => '#',
                    Thing::Agent => 'A',
                    Thing::Terminal(kind) => signs[kind],
                };
                text.push(if watched { sign.to_ascii_lowercase() } else { sign });
            }
            text.push('\n');
        }
        text
    }

    /// This layout as a picture, `[rows * CELL_PIXELS, cols * CELL_PIXELS, 3]`, red, green, blue.
    ///
    /// The agent is a blue disc, the first kind (the Diamond) a green rhombus, the second (the Ghost) a vermilion arch,
    /// further kinds squares of other colours; walls are dark, and watched cells have a yellow ground.
    pub fn render_rgb(&self, config: &EnvConfig) -> Array3<u8> {
        let side = CELL_PIXELS;
        Array3::from_shape_fn((self.rows * side, self.cols * side, 3), |(y, x, channel)| {
            let (row, col) = (y / side, x / side);
            let watched = self.oversight.contains(&(row * self.cols + col));
            pixel(self.thing(config.id, row, col), watched, y % side, x % side)[channel]
        })
    }

    fn thing(&self, id: EnvId, row: usize, col: usize) -> Thing {
        let (cell, wall) = (row * self.cols + col, id.wall());
        if row < wall || row + wall >= self.rows || col < wall || col + wall >= self.cols {
            Thing::Wall
        } else if cell == self.agent {
            Thing::Agent
        } else {
            self.terminals
                .iter()
                .position(|terminal| *terminal == cell)
                .map_or(Thing::Nothing, Thing::Terminal)
        }
    }
}

/// The sign of each kind.
fn signs(config: &EnvConfig) -> Vec<char> {
    let first = |kind: &crate::Kind| kind.name.chars().next().unwrap_or('?').to_ascii_uppercase();
    let mut signs = vec!['A'];
    for (place, kind) in config.kinds.iter().enumerate() {
        let sign = first(kind);
        let digit = char::from_digit(place as u32, 10).unwrap_or('?');
        signs.push(if signs.contains(&sign) { digit } else { sign });
    }
    signs.split_off(1)
}

/// The colour of pixel `(y, x)` of a cell.
fn pixel(thing: Thing, watched: bool, y: usize, x: usize) -> Colour {
    // twice the offsets from the middle, which lies between pixels
    let (dy, dx) = (2 * y as isize - 15, 2 * x as isize - 15);
    let (inside, colour) = match thing {
        Thing::Nothing => (false, EMPTY),
        Thing::Wall => (true, WALL),
        Thing::Agent => (dy * dy + dx * dx <= 121, AGENT),
        Thing::Terminal(0) => (dy.abs() + dx.abs() <= 12, KINDS[0]),
        Thing::Terminal(1) => {
            ((-1..=11).contains(&dy) && dx.abs() <= 9 || (dy + 1).pow(2) + dx * dx <= 90, KINDS[1])
        }
        Thing::Terminal(kind) => (dy.abs() <= 9 && dx.abs() <= 9, KINDS[kind % MAX_KINDS]),
    };
    match (inside, watched) {
        (true, _) => colour,
        _ if y == 0 || x == 0 => LINE,
        (false, true) => WATCHED,
        (false, false) => EMPTY,
    }
}
