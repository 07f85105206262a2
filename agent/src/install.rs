//! The installation of the system on a disk: which one, whether it may be written to, and in which steps. One engine, by
//! whichever door it is asked: the seed on the stick, the command line, the API. So a new disk takes the place of a lost one of
//! two.
//!
//! What the power cuts off is found again by what is on the disk alone: nothing, our mark or the name of a state that is
//! unfinished, or the whole system.

mod choose;
mod engine;
mod plan;
mod replace;
mod told;

pub use crate::host::{Order, UnderWay};

pub use self::{
    choose::{Refusal, choose, chosen},
    engine::{Offer, Tell, install, offers},
    plan::{LEAST, Leave, Step, judge, plan},
    replace::{lacking, replace, replacement, takes_its_place},
    told::{Asked, Told},
};
