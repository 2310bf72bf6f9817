//! Sinks: receivers of events beyond this machine, which may be slow, away or gone without anything being lost.
//!
//! Each has a courier of the journal, and takes one event at a time. `run/sinks.rs` runs one task for each.
//!
//! - `webhook`: HTTP POST as Standard Webhooks has it. `address`: where a webhook may go. `mqtt`: a broker.

pub mod address;
mod mqtt;
mod webhook;

use std::convert::Infallible;
use std::time::Duration;

use rand::RngExt as _;

pub use mqtt::Mqtt;
pub use webhook::Webhook;

use super::journal::{Courier, DeliveryState, Failure, FailureKind, Item, Next};
use crate::config::{Receiver, SinkConfig};
use crate::stage::{Stage, Stages};
use crate::time::{monotonic, wall};

/// How long a receiver may take for one event.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Until the file is read again for what should wait in it and does not yet.
const AGAIN: Duration = Duration::from_secs(1);

/// Why a sink cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The HTTP or TLS library would not start.
    #[error("sink {0}: cannot set up the HTTP client: {1}")]
    Client(String, String),
    /// The key is none; the configuration has seen to that.
    #[error("sink {0}: its secret is no key of a webhook")]
    Secret(String),
}

/// The way to a receiver.
#[derive(Debug)]
pub enum Transport {
    /// By HTTP POST.
    Webhook(Webhook),
    /// By a broker.
    Mqtt(Box<Mqtt>),
}

impl Transport {
    /// Sets it up; opens no connection.
    ///
    /// # Errors
    /// It cannot be.
    pub fn new(config: &SinkConfig) -> Result<Self, SinkError> {
        match &config.to {
            Receiver::Webhook { .. } => Webhook::new(config).map(Self::Webhook),
            Receiver::Mqtt { .. } => Ok(Self::Mqtt(Box::new(Mqtt::new(config)))),
        }
    }

    /// Sends one event; resolves once it was taken, or was not.
    async fn deliver(&mut self, item: &Item) -> Result<(), Failure> {
        let sent = async {
            match self {
                Self::Webhook(webhook) => webhook.post(item, wall()).await,
                Self::Mqtt(mqtt) => mqtt.publish(item).await,
            }
        };
        tokio::time::timeout(PATIENCE, sent).await.unwrap_or_else(|_| {
            let detail = format!("no answer within {} s", PATIENCE.as_secs());
            Err(Failure { kind: FailureKind::Away, detail })
        })
    }

    /// What is to be done while nothing is to be sent.
    async fn idle(&mut self) -> Infallible {
        match self {
            Self::Webhook(_) => std::future::pending().await,
            Self::Mqtt(mqtt) => mqtt.idle().await,
        }
    }

    /// Says goodbye where that is the custom.
    pub async fn close(&mut self) {
        if let Self::Mqtt(mqtt) = self {
            mqtt.close().await;
        }
    }
}

/// Sends what the courier has, as long as it is polled, and says how long each attempt took. Being dropped loses nothing: what was being sent is sent again.
pub async fn drive(courier: &Courier, to: &mut Transport, stages: &Stages) -> Infallible {
    let mut away = false;
    loop {
        let starved = match courier.refill().await {
            Ok(done) => !done,
            Err(error) => {
                tracing::warn!("sink {}: {error}", courier.sink());
                true
            }
        };
        let now = wall();
        let until = match courier.next(now) {
            Next::Send(item) => {
                let began = monotonic();
                let sent = tokio::select! {
                    sent = to.deliver(&item) => Some(sent),
                    () = unwanted(courier, item.seq) => None,
                };
                stages.took(Stage::Sink, began.elapsed());
                match sent {
                    Some(sent) => settle(courier, &item, &sent, &mut away),
                    // Half of it may be under way.
                    None => to.close().await,
                }
                continue;
            }
            Next::Wait(until) => Some(until.duration_since(now).unsigned_abs()),
            Next::Idle => None,
        };
        let until = if starved { Some(until.map_or(AGAIN, |until| until.min(AGAIN))) } else { until };
        let wait = async {
            match until {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = courier.changed() => {}
            never = to.idle() => match never {},
        }
    }
}

/// Resolves once an event is not to be sent any more.
async fn unwanted(courier: &Courier, seq: u64) {
    while courier.is_wanted(seq) {
        courier.changed().await;
    }
}

fn settle(courier: &Courier, item: &Item, sent: &Result<(), Failure>, away: &mut bool) {
    let name = courier.sink();
    match sent {
        Ok(()) => {
            courier.delivered(item.seq, wall());
            if std::mem::take(away) {
                tracing::warn!("sink {name}: takes events again");
            }
        }
        Err(failure) => {
            let chance = rand::rng().random::<f64>();
            let state = courier.failed(item.seq, failure, wall(), chance);
            if state == Some(DeliveryState::Dead) {
                let (id, detail) = (&item.id, &failure.detail);
                tracing::error!(
                    "sink {name}: event {id} was given up: {detail}; it is a dead letter and can be sent again"
                );
            } else if !std::mem::replace(away, true) {
                tracing::warn!("sink {name}: {}; tried again for three days", failure.detail);
            }
        }
    }
}

/// A failure of the way, not of the event.
fn away(detail: impl std::fmt::Display) -> Failure {
    Failure { kind: FailureKind::Away, detail: crate::config::redact::clean_message(&detail.to_string(), None, 200) }
}
