//! What an observation and an action may be, in Gymnasium's words.

/// A space, of those Gymnasium spaces that the environments use.
#[derive(Clone, Debug, PartialEq)]
pub enum Space {
    /// The numbers `0..n`.
    Discrete {
        /// How many there are.
        n: usize,
    },
    /// Arrays of zeros and ones.
    MultiBinary {
        /// The extent of each axis, for an observation of a gridworld `[planes, rows, cols]`.
        shape: Vec<usize>,
    },
    /// Arrays of numbers between two bounds.
    Box {
        /// The least value.
        low: f32,
        /// The greatest value.
        high: f32,
        /// The extent of each axis.
        shape: Vec<usize>,
    },
}

impl Space {
    /// The number of scalars in one element of the space: 1, or the product of the shape.
    pub fn flat_len(&self) -> usize {
        match self {
            Self::Discrete { .. } => 1,
            Self::MultiBinary { shape } | Self::Box { shape, .. } => shape.iter().product(),
        }
    }

    /// The extent of each axis: `[planes, rows, cols]` for an observation of a gridworld; none for `Discrete`.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Discrete { .. } => &[],
            Self::MultiBinary { shape } | Self::Box { shape, .. } => shape,
        }
    }

    /// The number of elements of a `Discrete` space; nothing for the others, which are no space of actions.
    pub fn num_actions(&self) -> Option<usize> {
        match self {
            Self::Discrete { n } => Some(*n),
            Self::MultiBinary { .. } | Self::Box { .. } => None,
        }
    }

    /// Whether `values`, one element of the space in row-major order, lies in the space.
    pub fn contains(&self, values: &[f32]) -> bool {
        values.len() == self.flat_len()
            && match self {
                Self::Discrete { n } => {
                    values.iter().all(|&v| v >= 0.0 && v.fract() == 0.0 && f64::from(v) < *n as f64)
                }
                Self::MultiBinary { .. } => values.iter().all(|v| [0.0, 1.0].contains(v)),
                Self::Box { low, high, .. } => values.iter().all(|v| (*low..=*high).contains(v)),
            }
    }
}

/// When an environment whose episode ended begins the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AutoresetMode {
    /// In the very step that ends it: the observation returned is the new episode's first one, and the old
    /// episode's last one is handed out as `final_obs`.
    SameStep,
}
