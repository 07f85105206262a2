//! Whole stories on a real engine and a real registry. One engine, so one story at a time: `e2e/test` sees to it.
#![allow(clippy::disallowed_methods, reason = "a story writes files and starts programs as a person would")]

mod bad_input;
mod crashes;
mod drift;
mod engine;
mod guards;
mod main_job;
mod updates;
mod volumes;
