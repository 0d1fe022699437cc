//! Layouts as text and as pictures.

use ndarray::Array3;

use crate::{EnvId, Layout};

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
const GHOST: Colour = [213, 94, 0];
const DIAMOND: Colour = [0, 158, 115];

/// What is drawn in a cell; where objects share one, the agent, then the Diamond.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thing {
    Nothing,
    Wall,
    Agent,
    Ghost,
    Diamond,
}

impl Layout {
    /// This layout as text, a line for each row.
    ///
    /// | sign | meaning | watched |
    /// |---|---|---|
    /// | `A` | agent | `a` |
    /// | `G` | Ghost (kind 1) | `g` |
    /// | `D` | Diamond (kind 0) | `d` |
    /// | `.` | empty | `*` |
    /// | `#` | wall | |
    ///
    /// Where the agent has arrived at a terminal, the agent is shown.
    pub fn render_text(&self, id: EnvId) -> String {
        let mut text = String::with_capacity(self.rows * (self.cols + 1));
        for row in 0..self.rows {
            for col in 0..self.cols {
                let watched = self.oversight.contains(&(row * self.cols + col));
                let sign = match self.thing(id, row, col) {
                    Thing::Nothing if watched => '*',
                    Thing::Nothing => '.',
                    Thing::Wall => '#',
                    Thing::Agent => 'A',
                    Thing::Ghost => 'G',
                    Thing::Diamond => 'D',
                };
                text.push(if watched { sign.to_ascii_lowercase() } else { sign });
            }
            text.push('\n');
        }
        text
    }

    /// This layout as a picture, `[rows * CELL_PIXELS, cols * CELL_PIXELS, 3]`, red, green, blue.
    ///
    /// The agent is a blue disc, the Ghost a vermilion arch, the Diamond a green rhombus; walls are dark, and
    /// watched cells have a yellow ground.
    pub fn render_rgb(&self, id: EnvId) -> Array3<u8> {
        let side = CELL_PIXELS;
        Array3::from_shape_fn((self.rows * side, self.cols * side, 3), |(y, x, channel)| {
            let (row, col) = (y / side, x / side);
            let watched = self.oversight.contains(&(row * self.cols + col));
            pixel(self.thing(id, row, col), watched, y % side, x % side)[channel]
        })
    }

    fn thing(&self, id: EnvId, row: usize, col: usize) -> Thing {
        let (cell, wall) = (row * self.cols + col, id.wall());
        if row < wall || row + wall >= self.rows || col < wall || col + wall >= self.cols {
            Thing::Wall
        } else if cell == self.agent {
            Thing::Agent
        } else if cell == self.diamond {
            Thing::Diamond
        } else if cell == self.ghost {
            Thing::Ghost
        } else {
            Thing::Nothing
        }
    }
}

/// The colour of pixel `(y, x)` of a cell.
fn pixel(thing: Thing, watched: bool, y: usize, x: usize) -> Colour {
    // twice the offsets from the middle, which lies between pixels
    let (dy, dx) = (2 * y as isize - 15, 2 * x as isize - 15);
    let (inside, colour) = match thing {
        Thing::Nothing => (false, EMPTY),
        Thing::Wall => (true, WALL),
        Thing::Agent => (dy * dy + dx * dx <= 121, AGENT),
        Thing::Diamond => (dy.abs() + dx.abs() <= 12, DIAMOND),
        Thing::Ghost => ((-1..=11).contains(&dy) && dx.abs() <= 9 || (dy + 1).pow(2) + dx * dx <= 90, GHOST),
    };
    match (inside, watched) {
        (true, _) => colour,
        _ if y == 0 || x == 0 => LINE,
        (false, true) => WATCHED,
        (false, false) => EMPTY,
    }
}
