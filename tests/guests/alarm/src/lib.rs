//! A test actor that sets timers on command, and obeys them when they are due.

use commanded::{Commanded, Timing};

type Alarm = Commanded<Timing>;

theater_actor::export!(Alarm: messages, http, timers);
