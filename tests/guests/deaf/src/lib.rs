//! A test actor that can ask others without waiting, and has no export by which it could be told of the answers.

use commanded::{Commanded, Gathering};

type Deaf = Commanded<Gathering>;

theater_actor::export!(Deaf: messages, children);
