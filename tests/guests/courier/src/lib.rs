//! A test actor that sends HTTP requests on command. It imports only `http-client`, so that it can be granted that
//! alone.

use commanded::{Commanded, Fetch};

type Courier = Commanded<Fetch>;

theater_actor::export!(Courier: messages);
