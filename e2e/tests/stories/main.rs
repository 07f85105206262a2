//! Whole stories on a real engine and a real registry. One engine, so one story at a time: `e2e/test` sees to it.
#![allow(clippy::disallowed_methods, reason = "a story writes files and starts programs as a person would")]
#![allow(clippy::large_futures, reason = "a story runs once")]
#![allow(clippy::print_stdout, reason = "a story tells what it measured")]

mod adoption;
mod archives;
mod audit;
mod bad_input;
mod browser;
mod builds;
mod callers;
mod changed_starts;
mod compose;
mod console;
mod crashes;
mod disks;
mod doors;
mod drift;
mod engine;
mod farewell;
mod firewall;
mod flatcar;
mod fuzz;
mod guards;
mod halves;
mod images;
mod installs;
mod kills;
mod kube_client;
mod kubectl;
mod locked_disks;
mod main_job;
mod manual;
mod mirrors;
mod pathed_disks;
mod programs;
mod progress;
mod prune;
mod push;
mod pushes;
mod secrets;
mod served_disks;
mod signed_disks;
#[path = "../../../agent/tests/support/skip.rs"]
mod skip;
mod sources;
mod starts;
mod traffic;
mod trials;
mod trust;
mod updates;
mod volumes;
