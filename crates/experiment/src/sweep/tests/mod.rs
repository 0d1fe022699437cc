//! Sweeps of a toy program.

mod alone;
mod plans;
mod running;
mod slurm;
mod toy;
mod transfer;
