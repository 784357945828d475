//! Takes commands by message and HTTP, and hears of children, should it ever have any.

type Probe = commanded::Commanded<commanded::NoMore>;

theater_actor::export!(Probe: messages, http, children);
