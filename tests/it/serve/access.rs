//! Who may do what.

use serde_json::{Value, json};

use super::made;
use crate::kit::service::{Service, forged};

/// Every operation of the API: method and path, with an id that is nobody's.
fn operations(service: &Service, admin: &str) -> Vec<(String, String)> {
    let document = service.get("/v1/openapi.json", admin).ok().json();
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let path = path.replace("{id}", "01900000-0000-7000-8000-000000000000");
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    all.collect()
}

#[test]
fn nothing_but_livez_and_static_pages_answers_without_a_valid_token() {
    let service = Service::start("");
    let admin = service.token("root", "admin");
    let forged = forged(&admin);
    let operations = operations(&service, &admin);
    assert!(operations.len() > 20, "{operations:?}");
    let more = [("POST", "/whip/x"), ("PATCH", "/whip/x/y"), ("DELETE", "/whip/x/y"), ("GET", "/v1/openapi.json")];
    let more = more.map(|(method, path)| (method.to_owned(), path.to_owned()));
    for (method, path) in operations.into_iter().chain(more) {
        if path == "/livez" {
            assert_eq!(service.ask_with(&method, &path, &[], None).text, "ok\n");
            continue;
        }
        let basic = [("authorization", "Basic YTpi")];
        for headers in [&[][..], &basic[..], &[("authorization", &*format!("Bearer {forged}"))][..]] {
            let answer = service.ask_with(&method, &path, headers, None);
            answer.refused(401);
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{method} {path}");
        }
    }
    assert_eq!(service.ask_with("GET", "/join/anything", &[], None).status, 200);
    let signin = service.ask_with("GET", "/", &[], None);
    assert!(signin.status == 401 && signin.text.contains("/login"), "{}", signin.text);
    service.ask_with("GET", "/dashboard/main.js", &[], None).refused(401);
    for path in ["/join/anything", "/livez", "/v1/me"] {
        let answer = service.ask_with("GET", path, &[], None);
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(answer.header("access-control-allow-origin").is_empty());
        assert_eq!(
            (answer.header("x-content-type-options"), answer.header("referrer-policy")),
            ("nosniff", "no-referrer")
        );
    }
    assert!(!service.stop().stderr.contains("ahw_"));
}

#[test]
fn each_role_may_what_it_is_for() {
    let service = Service::start("");
    let token = |role: &str| service.token(role, role);
    let (viewer, operator, admin) = (token("viewer"), token("operator"), token("admin"));
    let wish = json!({ "source": { "kind": "webrtc" }, "purpose": "health_care" });
    let made = service.post("/v1/sessions", &operator, &wish).ok().json();
    let (id, participant) = (made["id"].as_str().unwrap(), made["join_token"].as_str().unwrap());
    assert_eq!(made["join_url"], format!("{}/join/{participant}", service.url));
    let other = service.post("/v1/sessions", &operator, &wish).ok().json();
    let other = other["id"].as_str().unwrap();

    // (path, who may), by GET.
    for (path, least) in [
        ("/v1/sessions", 1),
        (&*format!("/v1/sessions/{id}"), 0),
        (&*format!("/v1/sessions/{id}/windows"), 1),
        (&*format!("/v1/sessions/{id}/alerts"), 1),
        ("/v1/alerts", 1),
        ("/v1/judges", 1),
        ("/v1/sinks", 1),
        ("/readyz", 1),
        ("/metrics", 1),
        ("/v1/me", 0),
        ("/v1/version", 0),
        ("/v1/audit", 3),
    ] {
        for (rank, token) in [participant, &viewer, &operator, &admin].into_iter().enumerate() {
            let answer = service.get(path, token);
            if rank >= least {
                assert!([200, 503].contains(&answer.status), "{path} {rank}: {}", answer.text);
            } else {
                assert!([403, 404].contains(&answer.status), "{path} {rank}: {}", answer.text);
            }
        }
    }
    service.post("/v1/sessions", &viewer, &wish).refused(403);
    for act in ["pause", "resume", "end", "withdraw"] {
        service.post(&format!("/v1/sessions/{id}/{act}"), &viewer, &json!({})).refused(403);
        // Whether another's session exists is not told.
        service.post(&format!("/v1/sessions/{other}/{act}"), participant, &json!({})).refused(404);
    }
    service.get(&format!("/v1/sessions/{other}"), participant).refused(404);
    // Their own: how it stands, and nothing that was concluded.
    let own = service.get(&format!("/v1/sessions/{id}"), participant).ok().json();
    for hidden in ["labels", "judges", "last_window", "alerts", "coverage"] {
        assert_eq!(own.get(hidden), None, "{own}");
    }
    // Nobody consents for another.
    let agreement = json!({ "text_version": "1", "language": "en" });
    service.post(&format!("/v1/sessions/{id}/consent"), &admin, &agreement).refused(403);
    service.post(&format!("/v1/sessions/{other}/consent"), participant, &agreement).refused(404);
}

#[test]
fn tokens_end_when_they_expire_or_are_revoked_and_every_access_is_on_the_audit() {
    let service = Service::start("");
    let (admin, viewer) = (service.token("root", "admin"), service.token("someone", "viewer"));
    let expired = service.command(&["token", "create", "old", "--role", "viewer", "--expires", "2020-01-01T00:00:00Z"]);
    if expired.code == Some(0) {
        service.get("/v1/me", expired.stdout.trim()).refused(401);
    }
    let id = made(&service, &admin, &json!({ "source": { "kind": "webrtc" }, "purpose": "research" }));
    assert_eq!(service.get("/v1/me", &viewer).ok().json()["name"], "someone");
    service.get(&format!("/v1/sessions/{id}"), &viewer).ok();
    service.command(&["token", "revoke", "someone"]).expect_code(0);
    service.get("/v1/me", &viewer).refused(401);
    let rows = service.get(&format!("/v1/audit?session={id}"), &admin).ok().json();
    let said: Vec<_> =
        rows["rows"].as_array().unwrap().iter().map(|row| (row["who"].clone(), row["action"].clone())).collect();
    assert!(said.contains(&(Value::from("root (admin)"), Value::from("created the session"))), "{said:?}");
    assert!(said.contains(&(Value::from("someone (viewer)"), Value::from("looked at the session"))), "{said:?}");
    assert_eq!(rows["rows"][0]["address"], "127.0.0.1");
}

#[test]
fn a_browsers_cookie_reads_and_acts_only_with_the_header_of_our_pages() {
    let service = Service::start("");
    let token = service.token("op", "operator");
    let form = ("application/x-www-form-urlencoded", format!("token={token}"));
    let login = service.ask_with("POST", "/login", &[], Some((form.0, form.1.as_bytes())));
    assert_eq!((login.status, login.header("location")), (303, "/"));
    let cookie = login.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(service.ask_with("GET", "/v1/me", &[("cookie", cookie)], None).ok().json()["role"], "operator");
    assert!(service.ask_with("GET", "/", &[("cookie", cookie)], None).ok().text.contains("/dashboard/main.js"));
    assert_eq!(service.ask_with("GET", "/dashboard/main.js", &[("cookie", cookie)], None).ok().status, 200);
    let body = json!({ "source": { "kind": "webrtc" }, "purpose": "research" }).to_string();
    let body = Some(("application/json", body.as_bytes()));
    service.ask_with("POST", "/v1/sessions", &[("cookie", cookie)], body).refused(403);
    service.ask_with("POST", "/v1/sessions", &[("cookie", cookie), ("x-ahwatch", "1")], body).ok();
    service.ask_with("POST", "/login", &[], Some((form.0, b"token=ahw_wrong"))).refused(401);
}
