//! A test actor that reads and writes files on command. It imports only `filesystem`.

use commanded::{Commanded, Files};

type Keeper = Commanded<Files>;

theater_actor::export!(Keeper: messages);
