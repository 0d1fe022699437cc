//! Sweeps of a toy program.

mod plans;
mod running;
mod slurm;
mod toy;
mod transfer;
