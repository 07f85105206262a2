//! The factory reset of an installed machine: who may order it, and in which steps the next start does it.
//!
//! What the power cuts off is begun anew: the order lies beside the loader, outside of the state, until all is done.

mod engine;
mod leave;
mod plan;

pub use crate::host::{Erase, ResetDone, ResetOrder, ResetProgress, ResetView};

pub use self::{
    engine::{Ended, reset},
    leave::{Asked, Data, Leave, Refusal, Typed},
    plan::{Step, plan},
};
