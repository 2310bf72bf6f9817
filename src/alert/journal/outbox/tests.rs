use proptest::prelude::*;

use super::*;

fn start() -> Timestamp {
    "2025-03-04T05:06:07Z".parse().unwrap()
}

fn at(secs: i64) -> Timestamp {
    start() + SignedDuration::from_secs(secs)
}

fn item(seq: u64, session: u8, since: Timestamp) -> Item {
    Item {
        seq,
        id: format!("{session}.{seq}").into(),
        session: (session > 0).then(|| session.to_string().into()),
        source: "cam".into(),
        kind: "ah.alert.raised.v1".into(),
        json: "{}".into(),
        since,
        attempts: 0,
    }
}

fn outbox() -> Outbox {
    Outbox::new("desk".into(), false)
}

fn away() -> Failure {
    Failure { kind: FailureKind::Away, detail: "503".into() }
}

fn refused() -> Failure {
    Failure { kind: FailureKind::Refused, detail: "400".into() }
}

fn sent(outbox: &mut Outbox, now: Timestamp) -> Item {
    match outbox.next(now) {
        Next::Send(item) => item,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_receiver_that_is_away_for_hours_gets_everything_in_order_once_it_is_back() {
    let (mut outbox, mut now, mut tries) = (outbox(), start(), 0);
    for seq in 1..=300 {
        outbox.push(item(seq, u8::try_from(seq % 7).unwrap(), now));
    }
    let back = at(5 * 3600);
    let mut got: Vec<Item> = Vec::new();
    let mut waits = Vec::new();
    loop {
        match outbox.next(now) {
            Next::Send(item) if now < back => {
                tries += 1;
                assert_eq!(outbox.failed(item.seq, &away(), now, 1.0).unwrap().state, DeliveryState::Pending);
            }
            Next::Send(item) => {
                outbox.delivered(item.seq, now).unwrap();
                got.push(item);
            }
            Next::Wait(until) => {
                assert!(until > now, "time goes on");
                waits.push(until.duration_since(now).as_secs());
                now = until;
            }
            Next::Idle => break,
        }
    }
    assert_eq!(waits[..7], [2, 4, 8, 16, 30, 30, 30], "twice as long each time, up to half a minute");
    assert!((590..620).contains(&tries), "one attempt at a time, not one for each session: {tries}");
    assert!(now < back + SignedDuration::from_secs(31), "the first that is taken sends the rest at once");
    assert_eq!(got.len(), 300);
    for session in 0..7 {
        let of: Vec<u64> = got.iter().filter(|item| item.seq % 7 == session).map(|item| item.seq).collect();
        assert!(of.is_sorted(), "{of:?}");
    }
}

#[test]
fn what_is_not_taken_for_three_days_is_dead_and_the_next_has_its_turn() {
    let mut outbox = outbox();
    outbox.push(item(1, 1, start()));
    outbox.push(item(2, 1, at(3600)));
    let mut now = start();
    let dead = loop {
        match outbox.next(now) {
            Next::Send(item) => {
                let done = outbox.failed(item.seq, &refused(), now, 0.5).unwrap();
                assert_eq!(done.seq, 1, "the second waits for the first");
                if done.state == DeliveryState::Dead {
                    break done;
                }
            }
            Next::Wait(until) => now = until,
            Next::Idle => panic!("it is tried on"),
        }
    };
    let after = dead.at.duration_since(start()).as_secs();
    assert!((3 * 86_400..3 * 86_400 + 30).contains(&after), "{after}");
    assert!((17_000..18_000).contains(&dead.attempts), "every 15 s on average: {}", dead.attempts);
    assert_eq!(dead.detail.as_deref(), Some("400"));
    assert_eq!(sent(&mut outbox, now).seq, 2);
}

#[test]
fn an_event_that_is_refused_holds_back_its_own_session_only() {
    let mut outbox = outbox();
    for (seq, session) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        outbox.push(item(seq, session, start()));
    }
    assert_eq!(sent(&mut outbox, start()).seq, 1);
    outbox.failed(1, &refused(), start(), 1.0).unwrap();
    for seq in [3, 4] {
        assert_eq!(sent(&mut outbox, start()).seq, seq);
        outbox.delivered(seq, start()).unwrap();
    }
    assert_eq!(outbox.next(start()), Next::Wait(at(2)));
    assert_eq!(sent(&mut outbox, at(2)).seq, 1);
}

#[test]
fn one_event_that_breaks_the_receiver_does_not_keep_the_others_from_it() {
    let mut outbox = outbox();
    for (seq, session) in [(1, 1), (2, 2), (3, 3)] {
        outbox.push(item(seq, session, start()));
    }
    let (mut now, mut got) = (start(), Vec::new());
    while got.len() < 2 {
        match outbox.next(now) {
            Next::Send(item) if item.seq == 1 => drop(outbox.failed(1, &away(), now, 1.0).unwrap()),
            Next::Send(item) => {
                outbox.delivered(item.seq, now).unwrap();
                got.push(item.seq);
            }
            Next::Wait(until) => now = until,
            Next::Idle => panic!("{got:?}"),
        }
        assert!(now < at(60));
    }
    assert_eq!(got, [2, 3]);
}

#[test]
fn gone_is_dead_at_once() {
    let mut outbox = outbox();
    outbox.push(item(1, 1, start()));
    let item = sent(&mut outbox, start());
    let gone = Failure { kind: FailureKind::Gone, detail: "410".into() };
    let done = outbox.failed(item.seq, &gone, start(), 0.5).unwrap();
    assert_eq!((done.state, done.attempts), (DeliveryState::Dead, 1));
    assert_eq!(outbox.next(start()), Next::Idle);
}

#[test]
fn a_withdrawn_session_leaves_nothing_but_the_word_of_it() {
    let mut outbox = outbox();
    for (seq, session) in [(1, 1), (2, 1), (3, 2)] {
        outbox.push(item(seq, session, start()));
    }
    assert_eq!(outbox.withdraw("9"), (0, false));
    assert_eq!(outbox.withdraw("2"), (1, false), "nothing of it was ever sent");
    let flying = sent(&mut outbox, start());
    assert_eq!((flying.seq, outbox.withdraw("1")), (1, (2, true)));
    assert!(!outbox.is_in_flight(1));
    assert_eq!(outbox.delivered(1, start()), None, "an answer that comes late is of nothing");
    outbox.push(Item { kind: WITHDRAWN.into(), ..item(4, 1, start()) });
    assert_eq!(outbox.withdraw("1"), (0, false));
    assert_eq!(sent(&mut outbox, start()).seq, 4);
}

#[test]
fn what_does_not_fit_into_memory_waits_in_the_file() {
    let mut outbox = outbox();
    let many = MOST as u64 + 10;
    for seq in 1..=many {
        outbox.push(item(seq, 1, start()));
    }
    let mut got = Vec::new();
    loop {
        if let Some(after) = outbox.wants_more() {
            // Of the last two, one is not in the file yet.
            let there = if got.len() < MOST { many - 1 } else { many };
            let rest: Vec<Item> = (after + 1..=there).map(|seq| item(seq, 1, start())).collect();
            outbox.bring_in(rest, true);
        }
        let Next::Send(item) = outbox.next(start()) else { break };
        outbox.delivered(item.seq, start()).unwrap();
        got.push(item.seq);
    }
    assert_eq!(got, (1..=many).collect::<Vec<_>>());
    assert_eq!(outbox.wants_more(), None);
}

#[test]
fn a_dead_letter_that_comes_back_hides_nothing_that_waits_in_the_file() {
    let mut outbox = outbox();
    let many = MOST as u64 + 10;
    for seq in 1..=many {
        outbox.push(item(seq, 1, start()));
    }
    outbox.revive(item(many + 5, 2, start()));
    let mut got = Vec::new();
    loop {
        if let Some(after) = outbox.wants_more() {
            let rest: Vec<Item> = (after + 1..=many).map(|seq| item(seq, 1, start())).collect();
            outbox.bring_in(rest, true);
        }
        let Next::Send(item) = outbox.next(start()) else { break };
        outbox.delivered(item.seq, start()).unwrap();
        got.push(item.seq);
    }
    assert_eq!(got.iter().filter(|seq| **seq == many + 5).count(), 1);
    got.retain(|seq| *seq <= many);
    assert_eq!(got, (1..=many).collect::<Vec<_>>());
}

#[test]
fn what_is_being_sent_stays_first_when_an_earlier_one_of_its_session_comes_back() {
    let mut outbox = outbox();
    outbox.push(item(5, 1, start()));
    outbox.push(item(6, 1, start()));
    assert_eq!(sent(&mut outbox, start()).seq, 5);
    for seq in [3, 4, 3, 5] {
        outbox.revive(item(seq, 1, start()));
    }
    assert_eq!(outbox.delivered(5, start()).unwrap().state, DeliveryState::Delivered);
    for seq in [3, 4, 6] {
        assert_eq!(sent(&mut outbox, start()).seq, seq);
        outbox.delivered(seq, start()).unwrap();
    }
    assert_eq!(outbox.next(start()), Next::Idle);
}

proptest! {
    /// Whatever fails how often: each event is sent until it is taken or given up, in its session's order, and never two
    /// at a time.
    #[test]
    fn nothing_is_lost_and_sessions_keep_their_order(
        sessions in prop::collection::vec(0_u8..4, 1..40),
        outcomes in prop::collection::vec((0_u8..6, 0.0_f64..1.0), 200),
    ) {
        let (mut outbox, mut now, mut pushed) = (outbox(), start(), 0_u64);
        let mut taken: Vec<(u8, u64)> = Vec::new();
        let mut outcomes = outcomes.into_iter();
        loop {
            if let Some(session) = sessions.get(usize::try_from(pushed).unwrap()) {
                pushed += 1;
                outbox.push(item(pushed, *session, now));
            }
            match outbox.next(now) {
                Next::Send(item) => {
                    prop_assert_eq!(outbox.next(now), Next::Idle, "one at a time");
                    match outcomes.next() {
                        Some((0 | 1, chance)) => { outbox.failed(item.seq, &away(), now, chance).unwrap(); }
                        Some((2, chance)) => { outbox.failed(item.seq, &refused(), now, chance).unwrap(); }
                        Some((3, _)) => outbox.let_go(),
                        _ => {
                            prop_assert_eq!(outbox.delivered(item.seq, now).unwrap().state, DeliveryState::Delivered);
                            let session = item.session.as_ref().map_or(0, |session| session.parse().unwrap());
                            taken.push((session, item.seq));
                        }
                    }
                }
                Next::Wait(until) => {
                    prop_assert!(until.duration_since(now) <= SignedDuration::from_secs(30));
                    now = until;
                }
                Next::Idle if pushed < sessions.len() as u64 => {}
                Next::Idle => break,
            }
        }
        for session in 0..4 {
            let of = |all: &[(u8, u64)]| all.iter().filter(|(s, _)| *s == session).map(|(_, seq)| *seq).collect::<Vec<_>>();
            let all: Vec<(u8, u64)> = sessions.iter().copied().zip(1..).collect();
            prop_assert_eq!(of(&taken), of(&all));
        }
    }
}
