//! A test actor that sets timers on command, and does not export what would be called when they are due.

use commanded::{Commanded, Timing};

type Mute = Commanded<Timing>;

theater_actor::export!(Mute: messages);
