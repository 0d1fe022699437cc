//! Causal attention of one sequence, forward and backward, head by head in blocks of queries, without a graph: what
//! fused passes over transformers are made of.

use learning::kernels::{self, Matrix, Write, matmul};

/// Queries taken at a time: what lies above the diagonal is computed inside a block only.
const BLOCK: usize = 64;

/// Sizes of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Tokens of the sequence.
    pub tokens: usize,
    /// Heads of queries.
    pub count: usize,
    /// Heads of keys and values, each for `count` / `kv_count` heads of queries that are neighbours.
    pub kv_count: usize,
    /// Channels of a head.
    pub width: usize,
}

impl Heads {
    /// Blocks of queries: from, to.
    fn blocks(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.tokens).step_by(BLOCK).map(move |from| (from, (from + BLOCK).min(self.tokens)))
    }

    /// Numbers that the attention patterns of one sequence take: of each block the rows up to its last column.
    pub fn pattern_len(self) -> usize {
        self.count * self.blocks().map(|(from, to)| (to - from) * to).sum::<usize>()
    }

    /// Queries, keys and values of one token, in this order, each head after head.
    pub fn qkv_width(self) -> usize {
        (self.count + 2 * self.kv_count) * self.width
    }

    /// Where a head's queries, keys and values begin in a token's row.
    pub(crate) fn begins(self, head: usize) -> [usize; 3] {
        let kv = head / (self.count / self.kv_count);
        [head, self.count + kv, self.count + self.kv_count + kv].map(|head| head * self.width)
    }

    /// Whether a head is the first of those that share its keys and values.
    pub(crate) fn opens_group(self, head: usize) -> bool {
        head.is_multiple_of(self.count / self.kv_count)
    }

    pub(crate) fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// Cosines and sines of the rotary embedding: for each position and pair of channels.
#[derive(Clone, Debug)]
pub struct Rotary {
    turns: Vec<(f32, f32)>,
    pairs: usize,
}

impl Rotary {
    /// The angle of pair i at place t is t · `theta`^(−2i / `width`); channels from `width` on are not turned.
    ///
    /// # Source
    /// Su et al. 2021, arXiv 2104.09864.
    pub fn new(places: usize, width: usize, theta: f64) -> Self {
        let pairs = width / 2;
        let mut turns = Vec::with_capacity(places * pairs);
        for place in 0..places {
            for pair in 0..pairs {
                let angle = place as f64 * theta.powf(-2.0 * pair as f64 / width as f64);
                turns.push((angle.cos() as f32, angle.sin() as f32));
            }
        }
        Self { turns, pairs }
    }

    /// Turns channel i against channel i + width/2 of each row, the first of which stands at `first`; `back` turns the
    /// other way.
    pub(crate) fn turn(&self, rows: &mut [f32], width: usize, first: usize, back: bool) {
        for (place, row) in rows.chunks_exact_mut(width).enumerate() {
            let (low, high) = row.split_at_mut(self.pairs);
            let turns = &self.turns[(first + place) * self.pairs..][..self.pairs];
            for ((low, high), (cos, sin)) in low.iter_mut().zip(high).zip(turns) {
                let sin = if back { -sin } else { *sin };
                (*low, *high) = (*low * cos - *high * sin, *high * cos + *low * sin);
            }
        }
    }
}

/// Buffers of one head.
#[derive(Clone, Debug)]
pub struct HeadBuffers {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    z: Vec<f32>,
    dp: Vec<f32>,
}

impl HeadBuffers {
    /// For sequences of these sizes.
    pub fn new(heads: Heads) -> Self {
        let one = || vec![0.0; heads.tokens * heads.width];
        Self {
            q: one(),
            k: one(),
            v: one(),
            dq: one(),
            dk: one(),
            dv: one(),
            z: one(),
            dp: vec![0.0; BLOCK.min(heads.tokens) * heads.tokens],
        }
    }

    /// Reads queries (scaled), keys and values of a head out of `qkv`.
    fn gather(&mut self, qkv: &[f32], heads: Heads, head: usize, rotary: Option<&Rotary>) {
        let (width, scale) = (heads.width, heads.scale());
        let begins = heads.begins(head);
        for (token, row) in qkv.chunks_exact(heads.qkv_width()).enumerate() {
            let place = token * width..(token + 1) * width;
            let [q, k, v] = begins.map(|begin| &row[begin..][..width]);
            for (scaled, q) in self.q[place.clone()].iter_mut().zip(q) {
                *scaled = q * scale;
            }
            self.k[place.clone()].copy_from_slice(k);
            self.v[place].copy_from_slice(v);
        }
        if let Some(rotary) = rotary {
            rotary.turn(&mut self.q, width, 0, false);
            rotary.turn(&mut self.k, width, 0, false);
        }
    }
}

impl HeadBuffers {
    /// Writes a head's gradients into those of `qkv`: of its queries, and its part of those of its keys and values.
    fn scatter(&self, dqkv: &mut [f32], heads: Heads, head: usize) {
        let (width, scale) = (heads.width, heads.scale());
        let [q, k, v] = heads.begins(head);
        for (token, row) in dqkv.chunks_exact_mut(heads.qkv_width()).enumerate() {
            let place = token * width..(token + 1) * width;
            for (out, dq) in row[q..][..width].iter_mut().zip(&self.dq[place.clone()]) {
                *out = dq * scale;
            }
            for (begin, gradient) in [(k, &self.dk[place.clone()]), (v, &self.dv[place])] {
                let out = &mut row[begin..][..width];
                if heads.opens_group(head) {
                    out.copy_from_slice(gradient);
                } else {
                    kernels::add_assign(out, gradient);
                }
            }
        }
    }
}

/// z ← softmax(q kᵀ / √width) v for every head of one sequence.
///
/// # Shapes
/// `qkv` (tokens, [`Heads::qkv_width`]), `z` (tokens, heads · width); `patterns` as [`Heads::pattern_len`] says.
///
/// # Panics
/// Panics where a slice is too short, or `buffers` are for other sizes.
pub fn forward(
    z: &mut [f32],
    patterns: &mut [f32],
    qkv: &[f32],
    heads: Heads,
    rotary: Option<&Rotary>,
    buffers: &mut HeadBuffers,
) {
    let (width, model) = (heads.width, heads.count * heads.width);
    let mut at = 0;
    for head in 0..heads.count {
        buffers.gather(qkv, heads, head, rotary);
        for (from, to) in heads.blocks() {
            let rows = to - from;
            let pattern = &mut patterns[at..at + rows * to];
            at += rows * to;
            let q = Matrix::new(&buffers.q[from * width..], rows, width);
            matmul(pattern, q, Matrix::new(&buffers.k, to, width).t(), Write::Set);
            kernels::causal_softmax(pattern, to, from);
            let out = &mut buffers.z[..rows * width];
            matmul(out, Matrix::new(pattern, rows, to), Matrix::new(&buffers.v, to, width), Write::Set);
            let places = z[from * model..to * model].chunks_exact_mut(model);
            for (z, out) in places.zip(out.chunks_exact(width)) {
                z[head * width..][..width].copy_from_slice(out);
            }
        }
    }
}

/// The backward pass of [`forward`]: overwrites `dqkv` with the gradient of `qkv`, from that of z and what the forward
/// pass had.
///
/// # Shapes
/// `dqkv` and `qkv` (tokens, [`Heads::qkv_width`]), `dz` (tokens, heads · width).
///
/// # Panics
/// As [`forward`].
pub fn backward(
    dqkv: &mut [f32],
    (dz, patterns, qkv): (&[f32], &[f32], &[f32]),
    heads: Heads,
    rotary: Option<&Rotary>,
    buffers: &mut HeadBuffers,
) {
    let (width, model) = (heads.width, heads.count * heads.width);
    let mut at = 0;
    for head in 0..heads.count {
        buffers.gather(qkv, heads, head, rotary);
        buffers.dk.fill(0.0);
        buffers.dv.fill(0.0);
        for (from, to) in heads.blocks() {
            let rows = to - from;
            let pattern = &patterns[at..at + rows * to];
            at += rows * to;
            let dout = &mut buffers.z[..rows * width];
            for (dout, dz) in
                dout.chunks_exact_mut(width).zip(dz[from * model..to * model].chunks_exact(model))
            {
                dout.copy_from_slice(&dz[head * width..][..width]);
            }
            let dout = Matrix::new(dout, rows, width);
            let p = Matrix::new(pattern, rows, to);
            matmul(&mut buffers.dv[..to * width], p.t(), dout, Write::Add);
            let dp = &mut buffers.dp[..rows * to];
            matmul(dp, dout, Matrix::new(&buffers.v, to, width).t(), Write::Set);
            kernels::softmax_backward(dp, pattern, to);
            let dp = Matrix::new(dp, rows, to);
            let dq = &mut buffers.dq[from * width..to * width];
            matmul(dq, dp, Matrix::new(&buffers.k, to, width), Write::Set);
            let q = Matrix::new(&buffers.q[from * width..], rows, width);
            matmul(&mut buffers.dk[..to * width], dp.t(), q, Write::Add);
        }
        if let Some(rotary) = rotary {
            rotary.turn(&mut buffers.dq, width, 0, true);
            rotary.turn(&mut buffers.dk, width, 0, true);
        }
        buffers.scatter(dqkv, heads, head);
    }
}
