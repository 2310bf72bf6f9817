//! Receivers of events by the API: dead letters, and sinks that come and go with the configuration.

use std::time::Duration;

use serde_json::{Value, json};

use crate::journal::SECRET;
use crate::journal::receiver::Receiver;
use crate::kit::service::Service;
use crate::kit::wait_until;

const LIMIT: Duration = Duration::from_secs(60);
const SOURCE: &str = "[window]\nwindow_secs = 1\n[[source]]\nname = \"room\"\nurl = \"test:\"\npurpose = \"research\"\n\
    consent = \"nobody is in it\"\n";

/// One that wants windows.
fn sink(receiver: &Receiver, name: &str) -> String {
    receiver.sink(name) + "events = [\"window\"]\n"
}

fn state(service: &Service, token: &str, name: &str) -> Option<Value> {
    let all = service.get("/v1/sinks", token).ok().json();
    all["sinks"].as_array().unwrap().iter().find(|sink| sink["sink"] == name).cloned()
}

#[test]
fn dead_letters_are_listed_and_sent_again_by_who_may() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let receiver = runtime.block_on(Receiver::start(|_| 410));
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start_with(dir.path(), &(SOURCE.to_owned() + &sink(&receiver, "desk")), &[("HOOK", SECRET)]);
    let token = |role: &str| service.token(role, role);
    let (viewer, operator, admin) = (token("viewer"), token("operator"), token("admin"));
    let letters = || {
        let letters = service.get("/v1/sinks/desk/dead-letters", &viewer).ok().json();
        letters["dead_letters"].as_array().unwrap().clone()
    };
    wait_until(LIMIT, "three dead letters", || (letters().len() >= 3).then_some(()));
    let first = letters()[0].clone();
    assert!(first["detail"].as_str().unwrap().contains("410") && first["attempts"] == 1, "{first}");
    let (path, id) = ("/v1/sinks/desk/dead-letters/resend", first["event"].as_str().unwrap());
    service.post(path, &viewer, &json!({})).refused(403);
    service.post("/v1/sinks/nobody/dead-letters/resend", &operator, &json!({})).refused(404);
    service.post(&format!("{path}?event=nobody.1"), &operator, &json!({})).refused(404);
    service.ask("DELETE", "/v1/sinks/desk", &operator, None).refused(403);
    service.ask("DELETE", "/v1/sinks/desk", &admin, None).refused(409);
    service.get("/v1/sinks/nobody/dead-letters", &viewer).refused(404);

    receiver.answers(|_| 200);
    let before = letters().len();
    let one = service.post(&format!("{path}?event={id}"), &operator, &json!({})).ok().json();
    assert_eq!(one["resent"], 1, "{one}");
    wait_until(LIMIT, "that one", || receiver.taken().contains(&id.to_owned()).then_some(()));
    let rest = service.post(path, &operator, &json!({})).ok().json();
    assert!(rest["left"] == 0 && rest["resent"].as_u64().unwrap() + 1 >= before as u64, "{rest}");
    wait_until(LIMIT, "all of them", || letters().is_empty().then_some(()));
    let same = receiver.got().into_iter().filter(|got| got.id == id).collect::<Vec<_>>();
    assert_eq!(same.iter().map(|got| got.status).collect::<Vec<_>>(), [410, 200]);
    assert_eq!(same[0].body, same[1].body);
    let audit = service.get("/v1/audit", &admin).ok().json();
    let said = |row: &Value| row["who"] == "operator (operator)" && row["action"] == "sends dead letters to desk again";
    assert_eq!(audit["rows"].as_array().unwrap().iter().filter(|row| said(row)).count(), 3, "{audit}");
    assert!(service.stop().stderr.contains("is a dead letter"));
}

#[test]
fn sinks_come_change_and_go_with_the_configuration_and_what_waits_for_one_is_not_lost() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (kept, going, new) = runtime
        .block_on(async { tokio::join!(Receiver::start(|_| 200), Receiver::start(|_| 500), Receiver::start(|_| 200)) });
    let dir = tempfile::tempdir().unwrap();
    let both = SOURCE.to_owned() + &sink(&kept, "kept") + &sink(&going, "going");
    let mut service = Service::start_with(dir.path(), &both, &[("HOOK", SECRET)]);
    let admin = service.token("root", "admin");
    let has = |service: &Service, name: &str, configured: bool| {
        state(service, &admin, name).filter(|sink| sink["configured"] == configured)
    };
    wait_until(LIMIT, "both to have been tried", || (kept.taken().len() > 1 && going.got().len() > 1).then_some(()));

    // One goes: its events wait, it gets none, and that is said.
    service.reconfigure(&(SOURCE.to_owned() + &sink(&kept, "kept")));
    wait_until(LIMIT, "it to be gone", || has(&service, "going", false));
    service.run.wait_until(LIMIT, "that to be said", |run| {
        run.stderr().contains("events wait in the journal for the sink going, which is not configured").then_some(())
    });
    let stray = state(&service, &admin, "going").unwrap();
    assert!(stray["pending"].as_u64().unwrap() > 0, "{stray}");
    let (tried, taken) = (going.got().len(), kept.taken().len());
    wait_until(LIMIT, "the other to get more", || (kept.taken().len() > taken + 1).then_some(()));
    assert_eq!(going.got().len(), tried);
    assert_eq!(state(&service, &admin, "going").unwrap()["pending"], stray["pending"], "no new ones wait for it");

    // It comes back, elsewhere: it gets what waited, in order, then what happens.
    let back = SOURCE.to_owned() + &sink(&kept, "kept") + &sink(&new, "going");
    service.reconfigure(&back);
    let waited: Vec<String> = {
        let pending = usize::try_from(stray["pending"].as_u64().unwrap()).unwrap();
        wait_until(LIMIT, "what waited and more", || (new.taken().len() > pending + 1).then(|| new.taken()))
    };
    let number = |id: &String| id.rsplit_once('.').unwrap().1.parse::<u64>().unwrap();
    assert!(waited.windows(2).all(|pair| number(&pair[0]) < number(&pair[1])), "{waited:?}");
    assert_eq!(waited[0], going.got()[0].id, "from the first that was never taken");
    assert!(kept.taken().windows(2).all(|pair| number(&pair[0]) < number(&pair[1])), "the other did not notice");

    // [server] is read at the start only, which is said; what else is new in the file is taken. What is left of a sink that is
    // gone can be deleted.
    new.answers(|_| 500);
    let tried = new.got().len();
    wait_until(LIMIT, "it to refuse", || (new.got().len() > tried).then_some(()));
    service.reconfigure_server(&(SOURCE.to_owned() + &sink(&kept, "kept")));
    service.run.wait_until(LIMIT, "that to be said", |run| {
        run.stderr().contains("[server] or [controller] says something else than at the start").then_some(())
    });
    wait_until(LIMIT, "it to be gone again", || has(&service, "going", false));
    let deleted = service.ask("DELETE", "/v1/sinks/going", &admin, None).ok().json();
    assert!(deleted["deleted"].as_u64().unwrap() > 0, "{deleted}");
    assert_eq!(state(&service, &admin, "going"), None);
    service.ask("DELETE", "/v1/sinks/going", &admin, None).refused(404);
    service.command(&["journal", "verify"]).expect_code(0);
    service.stop().expect_code(0);
}
