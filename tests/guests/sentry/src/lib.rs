//! A test actor that monitors other actors on command, and notes their ends.

use commanded::{Commanded, Watching};

type Sentry = Commanded<Watching>;

theater_actor::export!(Sentry: messages, children, monitors);
