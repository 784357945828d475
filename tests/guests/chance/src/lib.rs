//! A test actor that reads the clock and draws random bytes on command.

use commanded::{Chance, Commanded};

type Gambler = Commanded<Chance>;

theater_actor::export!(Gambler: messages);
