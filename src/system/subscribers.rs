//! Subscribers: who is woken when an actor that it follows, or any actor, has new events on disk.
//!
//! A subscription is a cursor into the journal, which the reader holds. Here is only what wakes the reader (a channel with
//! room for one item), and for which actors it was woken since it last looked. If the reader is woken again before it has
//! looked, the two wakings become one. So a slow reader costs no memory but one mark for each actor that it follows.
//!
//! **No news is lost.** [`Subscribers::wake`] first marks the actor as due and then puts the item into the channel. The
//! reader first takes the item and then the marks. So it sees the mark of every item that it has taken. If the channel
//! was full, the reader has yet to take that item, and sees the mark when it does.

use std::collections::{HashMap, HashSet};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::base::id::ActorId;

/// Names one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ListenerId(u64);

/// What a reader follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Following {
    Actor(ActorId),
    Everybody,
}

#[derive(Debug)]
struct Follower {
    /// Wakes the reader; has room for one item.
    bell: Sender<()>,
    /// Actors that the reader follows, and that have had new events since it last looked.
    due: HashSet<ActorId>,
    /// How many of the reader's subscriptions follow each actor.
    actors: HashMap<ActorId, usize>,
    /// How many of the reader's subscriptions follow every actor.
    everybody: usize,
}

impl Follower {
    fn ring(&self) {
        // If it is full, the reader is woken already; if it is disconnected, the reader is gone.
        let _ = self.bell.try_send(());
    }
}

/// All readers, and whom they follow.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    listeners: HashMap<ListenerId, Follower>,
    by_actor: HashMap<ActorId, Vec<ListenerId>>,
    everybody: Vec<ListenerId>,
}

impl Subscribers {
    /// A new reader, and the channel that wakes it.
    pub(crate) fn listen(&self) -> (ListenerId, Receiver<()>) {
        let (bell, woken) = bounded(1);
        let mut inner = self.0.lock();
        inner.next += 1;
        let id = ListenerId(inner.next);
        let listener = Follower { bell, due: HashSet::new(), actors: HashMap::new(), everybody: 0 };
        inner.listeners.insert(id, listener);
        (id, woken)
    }

    /// Forgets a reader that is gone, with all that it followed.
    pub(crate) fn leave(&self, id: ListenerId) {
        let mut inner = self.0.lock();
        let Some(listener) = inner.listeners.remove(&id) else { return };
        for actor in listener.actors.keys() {
            inner.forget(id, *actor);
        }
        inner.everybody.retain(|other| *other != id);
    }

    /// From here on the reader is woken for the events of `following` as well. A reader may follow the same actor more
    /// than once.
    pub(crate) fn follow(&self, id: ListenerId, following: Following) {
        let mut inner = self.0.lock();
        let Inner { listeners, by_actor, everybody, .. } = &mut *inner;
        let Some(listener) = listeners.get_mut(&id) else { return };
        let count = match following {
            Following::Actor(actor) => listener.actors.entry(actor).or_default(),
            Following::Everybody => &mut listener.everybody,
        };
        *count += 1;
        if *count == 1 {
            match following {
                Following::Actor(actor) => by_actor.entry(actor).or_default().push(id),
                Following::Everybody => everybody.push(id),
            }
        }
    }

    /// Takes back one call of [`Subscribers::follow`].
    pub(crate) fn unfollow(&self, id: ListenerId, following: Following) {
        let mut inner = self.0.lock();
        let Some(listener) = inner.listeners.get_mut(&id) else { return };
        match following {
            Following::Actor(actor) => {
                let Some(count) = listener.actors.get_mut(&actor) else { return };
                *count -= 1;
                if *count == 0 {
                    listener.actors.remove(&actor);
                    listener.due.remove(&actor);
                    inner.forget(id, actor);
                }
            }
            Following::Everybody => {
                listener.everybody = listener.everybody.saturating_sub(1);
                if listener.everybody == 0 {
                    inner.everybody.retain(|other| *other != id);
                }
            }
        }
    }

    /// Wakes a reader, whether or not there is anything new.
    pub(crate) fn ring(&self, id: ListenerId) {
        self.0.lock().listeners.get(&id).into_iter().for_each(Follower::ring);
    }

    /// The actors that the reader follows, and that have had new events since this was last asked.
    pub(crate) fn take_due(&self, id: ListenerId) -> HashSet<ActorId> {
        self.0.lock().listeners.get_mut(&id).map(|listener| std::mem::take(&mut listener.due)).unwrap_or_default()
    }

    /// Wakes every reader that follows one of `actors`. Never blocks.
    pub(crate) fn wake(&self, actors: &[ActorId]) {
        let mut inner = self.0.lock();
        let Inner { listeners, by_actor, everybody, .. } = &mut *inner;
        if listeners.is_empty() || actors.is_empty() {
            return;
        }
        for id in everybody.iter() {
            listeners.get(id).into_iter().for_each(Follower::ring);
        }
        for actor in actors {
            for id in by_actor.get(actor).into_iter().flatten() {
                if let Some(listener) = listeners.get_mut(id) {
                    listener.due.insert(*actor);
                    listener.ring();
                }
            }
        }
    }
}

impl Inner {
    fn forget(&mut self, id: ListenerId, actor: ActorId) {
        if let Some(followers) = self.by_actor.get_mut(&actor) {
            followers.retain(|other| *other != id);
            if followers.is_empty() {
                self.by_actor.remove(&actor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_learns_who_has_news_and_rings_once() {
        let subscribers = Subscribers::default();
        let (reader, bell) = subscribers.listen();
        let [a, b, c] = [ActorId::random(), ActorId::random(), ActorId::random()];
        subscribers.follow(reader, Following::Actor(a));
        subscribers.follow(reader, Following::Actor(b));
        subscribers.wake(&[a, c]);
        subscribers.wake(&[a, b]);
        assert_eq!(bell.try_iter().count(), 1);
        assert_eq!(subscribers.take_due(reader), HashSet::from([a, b]));
        subscribers.wake(&[c]);
        assert_eq!((bell.try_iter().count(), subscribers.take_due(reader).len()), (0, 0));
    }

    #[test]
    fn what_is_followed_twice_is_followed_until_it_was_left_twice() {
        let subscribers = Subscribers::default();
        let (reader, bell) = subscribers.listen();
        let actor = ActorId::random();
        for following in [Following::Actor(actor), Following::Everybody] {
            subscribers.follow(reader, following);
            subscribers.follow(reader, following);
            subscribers.unfollow(reader, following);
            subscribers.wake(&[actor]);
            assert_eq!(bell.try_iter().count(), 1, "{following:?}");
            subscribers.unfollow(reader, following);
            subscribers.wake(&[actor]);
            assert_eq!(bell.try_iter().count(), 0, "{following:?}");
        }
    }

    #[test]
    fn nothing_is_left_of_a_reader_that_went() {
        let subscribers = Subscribers::default();
        let (reader, _bell) = subscribers.listen();
        subscribers.follow(reader, Following::Actor(ActorId::random()));
        subscribers.follow(reader, Following::Everybody);
        subscribers.leave(reader);
        let inner = subscribers.0.lock();
        assert!(inner.listeners.is_empty() && inner.by_actor.is_empty() && inner.everybody.is_empty());
    }
}
