//! A one-shot channel: one thread gives one value, and one thread waits for it, perhaps beside other things.
//!
//! A thread can wait for a channel of `crossbeam_channel` together with other things only by `select!`. This channel
//! wakes its receiver by the park protocol of [`wait`], as a mailbox and a stop signal do, so that an actor waits for
//! all three at once.
//!
//! **No wakeup is lost.** The value and the receiver's `Unparker` lie under one lock. The receiver looks and leaves its
//! `Unparker` in one critical section; the sender gives the value and takes the `Unparker` out in another. If the
//! receiver's section comes first, the sender finds the `Unparker`, and so unparks the receiver. If the sender's comes
//! first, the receiver finds the value, and does not park.

use super::sync::{Arc, Mutex};
use super::wait::{self, Unparker};

/// The sending side. Dropped without a value, it tells the receiver that none will come.
#[derive(Debug)]
pub(crate) struct OneSender<T>(Arc<OneShot<T>>);

/// The receiving side.
#[derive(Debug)]
pub(crate) struct OneReceiver<T>(Arc<OneShot<T>>);

/// The sender is gone and has given nothing; or the value was taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderGone;

/// A new one-shot channel.
pub(crate) fn one_shot<T>() -> (OneSender<T>, OneReceiver<T>) {
    let shared = Arc::new(OneShot::new());
    (OneSender(Arc::clone(&shared)), OneReceiver(shared))
}

impl<T> OneSender<T> {
    /// Gives the value. If the receiver is gone, the value is dropped.
    pub(crate) fn give(self, value: T) {
        self.0.give(value);
    }
}

impl<T> Drop for OneSender<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T> OneReceiver<T> {
    /// Waits for the value.
    pub(crate) fn receive(&self) -> Result<T, SenderGone> {
        loop {
            if let Some(received) = self.look() {
                return received;
            }
            wait::park();
        }
    }
}

/// What a thread can look at, and is unparked for once there is something to see.
pub(crate) trait Look<T> {
    /// Takes the value, or returns `None` if there is no value yet. After `None`, the calling thread is unparked once
    /// there is one.
    fn look(&self) -> Option<Result<T, SenderGone>>;
}

impl<T> Look<T> for OneReceiver<T> {
    fn look(&self) -> Option<Result<T, SenderGone>> {
        self.0.look()
    }
}

/// The memory that both sides share, for those that keep it beside something else.
#[derive(Debug)]
pub(crate) struct OneShot<T>(Mutex<OneShotStage<T>>);

#[derive(Debug)]
enum OneShotStage<T> {
    /// No value yet, and nobody has looked.
    Empty,
    /// No value yet, and this thread has looked.
    Awaited(Unparker),
    Given(T),
    /// No value will come any more.
    Over,
}

impl<T> OneShot<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(OneShotStage::Empty))
    }

    /// Gives the value, and unparks the thread that waits for it.
    pub(crate) fn give(&self, value: T) {
        let before = std::mem::replace(&mut *self.0.lock(), OneShotStage::Given(value));
        if let OneShotStage::Awaited(waiter) = before {
            waiter.unpark();
        }
    }

    /// Says that no value will come, unless one was given already; unparks the thread that waits for it.
    pub(crate) fn close(&self) {
        let mut stage = self.0.lock();
        let before = match *stage {
            OneShotStage::Empty | OneShotStage::Awaited(_) => std::mem::replace(&mut *stage, OneShotStage::Over),
            OneShotStage::Given(_) | OneShotStage::Over => return,
        };
        drop(stage);
        if let OneShotStage::Awaited(waiter) = before {
            waiter.unpark();
        }
    }

    /// See [`Look::look`].
    pub(crate) fn look(&self) -> Option<Result<T, SenderGone>> {
        let mut stage = self.0.lock();
        match *stage {
            OneShotStage::Empty | OneShotStage::Awaited(_) => {
                *stage = OneShotStage::Awaited(wait::unparker());
                None
            }
            OneShotStage::Given(_) | OneShotStage::Over => match std::mem::replace(&mut *stage, OneShotStage::Over) {
                OneShotStage::Given(value) => Some(Ok(value)),
                OneShotStage::Empty | OneShotStage::Awaited(_) | OneShotStage::Over => Some(Err(SenderGone)),
            },
        }
    }
}
