//! A test actor that asks others without waiting, and puts off its own answers, on command.

use commanded::{Commanded, Gathering};

type Gatherer = Commanded<Gathering>;

theater_actor::export!(Gatherer: messages, http, children, replies);
