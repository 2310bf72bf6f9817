//! The files of `web/`, as they were compiled in: the participant's page, the dashboard, the sign-in page.
//!
//! The participant's page and the sign-in page are static and say nothing; all that they show they ask the API for, with a
//! token. The dashboard is given to whoever has signed in; others get the sign-in page in its place.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::Service;
use super::auth::{COOKIE, Caller};
use super::problem::Problem;
use crate::alert::journal::Role;

macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../web/", $path)))),+]
    };
}

/// Every file of `web/`, by its path there.
const FILES: &[(&str, &str)] = files![
    "dashboard/alerts.js",
    "dashboard/api.js",
    "dashboard/band.js",
    "dashboard/create.js",
    "dashboard/dashboard.css",
    "dashboard/details.js",
    "dashboard/dom.js",
    "dashboard/index.html",
    "dashboard/list.js",
    "dashboard/live.js",
    "dashboard/main.js",
    "dashboard/model.js",
    "dashboard/paint.js",
    "dashboard/session.js",
    "dashboard/table.js",
    "dashboard/words.js",
    "join/api.js",
    "join/base.css",
    "join/icon.svg",
    "join/index.html",
    "join/join.css",
    "join/join.js",
    "join/texts.js",
    "join/whip.js",
    "signin/index.html",
    "signin/signin.css",
    "signin/signin.js",
    "texts/en.json",
    "texts/fr.json",
];

/// The version of the participant's texts. Consent is to a version.
pub(super) fn text_version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let texts = file("texts/en.json").and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        texts.and_then(|texts| texts["version"].as_str().map(str::to_owned)).unwrap_or_default()
    });
    &VERSION
}

fn file(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == path).map(|(_, text)| *text)
}

/// A file as it is sent. The browser asks again whether it has changed: another version of the program has others.
fn sent(path: &str) -> Response {
    let Some(text) = file(path) else { return Problem::not_found("there is no such file").into_response() };
    let kind = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

pub(super) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/join/{token}", get(|| async { sent("join/index.html") }))
        .route("/join/static/{file}", get(|Path(file): Path<String>| async move { sent(&format!("join/{file}")) }))
        .route(
            "/join/static/texts/{file}",
            get(|Path(file): Path<String>| async move { sent(&format!("texts/{file}")) }),
        )
        .route("/signin/{file}", get(|Path(file): Path<String>| async move { sent(&format!("signin/{file}")) }))
        .route("/", get(dashboard))
        .route("/dashboard/{file}", get(of_dashboard))
        .route("/login", post(login))
        .route("/logout", post(logout))
}

/// The dashboard's page, or the sign-in page.
async fn dashboard(caller: Result<Caller, Problem>) -> Response {
    match caller {
        Ok(caller) if caller.role != Role::Participant => sent("dashboard/index.html"),
        _ => (StatusCode::UNAUTHORIZED, sent("signin/index.html")).into_response(),
    }
}

async fn of_dashboard(caller: Caller, Path(file): Path<String>) -> Result<Response, Problem> {
    caller.needs(Role::Viewer)?;
    Ok(sent(&format!("dashboard/{file}")))
}

/// What the sign-in page sends.
#[derive(Deserialize)]
struct Login {
    token: String,
}

/// Gives a browser its cookie, for a valid token.
async fn login(
    State(service): State<Arc<Service>>,
    asked: super::auth::From,
    Form(login): Form<Login>,
) -> Result<Response, Problem> {
    let caller = service.caller(login.token.trim(), asked.0).await?;
    if caller.role == Role::Participant {
        return Err(Problem::forbidden("a participant's token opens the participant's page only"));
    }
    service.audit(&caller, "signed in", None).await;
    let secure = if service.public_url.starts_with("https:") { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict{secure}", login.token.trim());
    // A token that is known holds nothing that a header cannot.
    let cookie = HeaderValue::from_str(&cookie).map_err(|_| Problem::malformed("this is no token"))?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

/// Takes the cookie back.
async fn logout() -> Response {
    let cookie = HeaderValue::from_static("ahwatch=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_pages_is_compiled_in_and_every_reference_is_to_one() {
        let web = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut there = Vec::new();
        for folder in ["join", "dashboard", "signin", "texts"] {
            for entry in std::fs::read_dir(web.join(folder)).unwrap() {
                there.push(format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()));
            }
        }
        there.sort();
        let mut known: Vec<_> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        known.sort();
        assert_eq!(known, there);
    }

    #[test]
    fn all_languages_are_the_same_version_and_have_the_same_texts() {
        let read = |path| serde_json::from_str::<serde_json::Map<_, _>>(file(path).unwrap()).unwrap();
        let (en, fr) = (read("texts/en.json"), read("texts/fr.json"));
        assert_eq!(en["version"], fr["version"]);
        assert_eq!(en["version"], text_version());
        assert!(!text_version().is_empty());
        assert_eq!(en.keys().collect::<Vec<_>>(), fr.keys().collect::<Vec<_>>());
    }

    #[test]
    fn pages_load_nothing_from_elsewhere_and_run_nothing_inline() {
        for (path, text) in FILES.iter().filter(|(path, _)| path.rsplit('.').next() == Some("html")) {
            for wrong in ["http://", "https://", "//cdn", "<script>", "<style", " style=", " onclick=", " onload="] {
                assert!(!text.contains(wrong), "{path} has {wrong}");
            }
        }
    }
}
