//! ractor and kameo: an actor and a client task each, on tokio's threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use kameo::actor::Spawn;
use kameo::message::{Context, Message};
use kameo::reply::DelegatedReply;
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};

use crate::work::{Chain, Record};

const MESSAGE: [u8; 64] = [b'e'; 64];

/// Requests a second of `actors` clients, each asking its actor as fast as it is answered.
async fn rate<F, Asked>(actors: usize, time: Duration, ask: F) -> f64
where
    F: Fn(usize) -> Asked + Clone + Send + 'static,
    Asked: Future<Output = ()> + Send,
{
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let clients: Vec<_> = (0..actors)
        .map(|number| {
            let (ask, stop) = (ask.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut done = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    ask(number).await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut done = 0;
    for client in clients {
        done += client.await.expect("a client");
    }
    done as f64 / begun.elapsed().as_secs_f64()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

struct Ractor;

impl ractor::Actor for Ractor {
    type Msg = (Vec<u8>, RpcReplyPort<Vec<u8>>);
    type State = Chain;
    type Arguments = Chain;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, chain: Chain) -> Result<Chain, ActorProcessingErr> {
        Ok(chain)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        (message, port): Self::Msg,
        chain: &mut Chain,
    ) -> Result<(), ActorProcessingErr> {
        chain.transition(message, move |answer| _ = port.send(answer));
        Ok(())
    }
}

pub async fn ractor(actors: usize, state: usize, log: Option<Sender<Record>>, time: Duration) -> f64 {
    let mut all = Vec::new();
    for number in 0..actors {
        let chain = Chain::new(number, state, log.clone());
        all.push(ractor::Actor::spawn(None, Ractor, chain).await.expect("it starts").0);
    }
    let all = Arc::new(all);
    let ask = move |number: usize| {
        let all = Arc::clone(&all);
        async move {
            let asked = all[number].call(|port| (MESSAGE.to_vec(), port), None).await;
            asked.expect("it is there").expect("it answers");
        }
    };
    rate(actors, time / 5, ask.clone()).await;
    rate(actors, time, ask).await
}

struct Kameo(Chain);

impl kameo::Actor for Kameo {
    type Args = Self;
    type Error = std::convert::Infallible;

    async fn on_start(actor: Self, _: kameo::actor::ActorRef<Self>) -> Result<Self, Self::Error> {
        Ok(actor)
    }
}

struct Ask(Vec<u8>);

impl Message<Ask> for Kameo {
    type Reply = DelegatedReply<Vec<u8>>;

    async fn handle(&mut self, Ask(message): Ask, context: &mut Context<Self, Self::Reply>) -> Self::Reply {
        let (delegated, sender) = context.reply_sender();
        self.0.transition(message, move |answer| {
            if let Some(sender) = sender {
                sender.send(answer);
            }
        });
        delegated
    }
}

pub async fn kameo(actors: usize, state: usize, log: Option<Sender<Record>>, time: Duration) -> f64 {
    let all: Arc<Vec<_>> =
        Arc::new((0..actors).map(|number| Kameo::spawn(Kameo(Chain::new(number, state, log.clone())))).collect());
    let ask = move |number: usize| {
        let all = Arc::clone(&all);
        async move { _ = all[number].ask(Ask(MESSAGE.to_vec())).await.expect("it answers") }
    };
    rate(actors, time / 5, ask.clone()).await;
    rate(actors, time, ask).await
}
