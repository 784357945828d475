//! The bare parts, each written here with nothing around it: what the product would cost if its promises were free.
//!
//! `parts` are measured one at a time; `system` puts them together as actors, without any of what makes them Theater:
//! no supervision, no limits, no recorded parameters, no order between actors, no recovery.

pub mod guest;
pub mod parts;
pub mod queue;
pub mod store;
pub mod system;
