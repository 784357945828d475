//! Sends HTTP requests on command. It imports nothing else of the world outside, so that it can be granted that alone.

use commanded::{Commanded, Fetch};

type Courier = Commanded<Fetch>;

theater_actor::export!(Courier: messages);
