//! Keeps files on command, and imports nothing else of the world outside.

use commanded::{Commanded, Files};

type Keeper = Commanded<Files>;

theater_actor::export!(Keeper: messages);
