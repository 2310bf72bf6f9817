//! MQTT 3.1.1, topics as Frigate has them: `<prefix>/available` (`online`, or `offline` by the last will), and for each
//! source `<prefix>/<source>/alert` and `<prefix>/<source>/events`. Events about no source are in `<prefix>/events`.

use std::convert::Infallible;
use std::time::Duration;

use rand::RngExt as _;
use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS, TlsConfiguration, Transport,
};
use tokio::time::Instant;

use super::away;
use crate::alert::journal::{Failure, Item};
use crate::config::{Receiver, SinkConfig};
use crate::time::backoff;

const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A broker that is away is tried again within this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Above any event there is.
const LARGEST: usize = 4 << 20;
/// Goodbye may take so long.
const GOODBYE: Duration = Duration::from_secs(1);

/// A broker.
pub struct Mqtt {
    options: MqttOptions,
    prefix: String,
    connection: Option<(AsyncClient, EventLoop)>,
    /// Without anything to send, a broker that is away is tried again then.
    retry: (u32, Instant),
}

impl std::fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mqtt").field("broker", &self.options.broker_address()).finish_non_exhaustive()
    }
}

impl Mqtt {
    /// Of a configured broker; opens no connection.
    pub(super) fn new(config: &SinkConfig) -> Self {
        let (host, port, prefix) = match &config.to {
            Receiver::Mqtt { host, port, prefix, .. } => (host.clone(), *port, prefix.clone()),
            Receiver::Webhook { .. } => (String::new(), 0, String::new()),
        };
        // An id of its own: two programs of one id would push each other off the broker.
        let id = format!("ahwatch-{:012x}", rand::rng().random::<u64>() >> 16);
        let mut options = MqttOptions::new(id, host, port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(true)
            .set_max_packet_size(LARGEST, LARGEST)
            .set_last_will(LastWill::new(format!("{prefix}/available"), "offline", QoS::AtLeastOnce, true));
        if let Receiver::Mqtt { credentials: Some((user, password)), .. } = &config.to {
            options.set_credentials(user.expose(), password.expose());
        }
        if let (Receiver::Mqtt { tls: true, .. }, Some(ca)) = (&config.to, &config.authorities) {
            let trust = TlsConfiguration::Simple { ca: ca.clone(), alpn: None, client_auth: None };
            options.set_transport(Transport::tls_with_config(trust));
        }
        Self { options, prefix, connection: None, retry: (0, Instant::now()) }
    }

    /// Publishes one event; resolves once the broker has it.
    pub(super) async fn publish(&mut self, item: &Item) -> Result<(), Failure> {
        self.connect().await?;
        let topic = topic(&self.prefix, &item.source, &item.kind);
        self.send(&topic, false, item.json.as_bytes().to_vec()).await
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        if self.connection.is_some() {
            return Ok(());
        }
        let (client, mut events) = AsyncClient::new(self.options.clone(), 4);
        loop {
            if let Event::Incoming(Packet::ConnAck(_)) = events.poll().await.map_err(away)? {
                break;
            }
        }
        self.connection = Some((client, events));
        self.send(&format!("{}/available", self.prefix), true, b"online".to_vec()).await?;
        self.retry.0 = 0;
        Ok(())
    }

    async fn send(&mut self, topic: &str, retain: bool, payload: Vec<u8>) -> Result<(), Failure> {
        // Taken out: where this is dropped half-way, the connection goes with it, and no answer is taken for another's.
        let Some((client, mut events)) = self.connection.take() else { return Err(away("not connected")) };
        client.try_publish(topic, QoS::AtLeastOnce, retain, payload).map_err(away)?;
        let mut number = None;
        loop {
            match events.poll().await.map_err(away)? {
                Event::Outgoing(Outgoing::Publish(sent)) => number = Some(sent),
                Event::Incoming(Packet::PubAck(ack)) if Some(ack.pkid) == number => break,
                Event::Incoming(Packet::Disconnect) => return Err(away("the broker ended the connection")),
                _ => {}
            }
        }
        self.connection = Some((client, events));
        Ok(())
    }

    /// Keeps the connection up, so that `available` is true.
    pub(super) async fn idle(&mut self) -> Infallible {
        loop {
            let Some((_, events)) = &mut self.connection else {
                tokio::time::sleep_until(self.retry.1).await;
                let (failures, _) = self.retry;
                let wait = backoff(Duration::from_secs(1), LONGEST_WAIT, failures, rand::rng().random());
                self.retry = (failures.saturating_add(1), Instant::now() + wait);
                if let Err(failure) = self.connect().await {
                    tracing::debug!("MQTT broker: {}", failure.detail);
                }
                continue;
            };
            if !matches!(events.poll().await, Ok(event) if event != Event::Incoming(Packet::Disconnect)) {
                self.connection = None;
            }
        }
    }

    /// Says that nothing more comes.
    pub(super) async fn close(&mut self) {
        let goodbye = async {
            let topic = format!("{}/available", self.prefix);
            self.send(&topic, true, b"offline".to_vec()).await.ok()?;
            let (client, mut events) = self.connection.take()?;
            client.try_disconnect().ok()?;
            while events.poll().await.is_ok_and(|event| event != Event::Outgoing(Outgoing::Disconnect)) {}
            Some(())
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        self.connection = None;
    }
}

/// Where an event goes. Signs that mean something in topics are replaced in the source's name.
fn topic(prefix: &str, source: &str, kind: &str) -> String {
    let level = source.replace(['/', '+', '#', '\0'], "_");
    match (level.as_str(), kind == "ah.alert.raised.v1") {
        ("", _) => format!("{prefix}/events"),
        (level, true) => format!("{prefix}/{level}/alert"),
        (level, false) => format!("{prefix}/{level}/events"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_of_the_source_and_plain() {
        assert_eq!(topic("ahwatch", "room-1", "ah.alert.raised.v1"), "ahwatch/room-1/alert");
        assert_eq!(topic("home/ah", "room-1", "ah.window.judged.v1"), "home/ah/room-1/events");
        assert_eq!(topic("ahwatch", "", "ah.judge.changed.v1"), "ahwatch/events");
        assert_eq!(topic("ahwatch", "rtsp://cam/#+", "ah.source.lost.v1"), "ahwatch/rtsp:__cam___/events");
    }
}
