//! A test actor that writes and reads rows of its table on command.

use commanded::{Commanded, Rows};

type Scribe = Commanded<Rows>;

theater_actor::export!(Scribe: messages, http);
