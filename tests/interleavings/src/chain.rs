//! What deliveries carry, and the files only hand on.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link;

#[derive(Debug)]
pub struct Function;

pub mod data {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Caller {
        Actor,
    }

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum StoppedBy {
        Operator,
    }
}
