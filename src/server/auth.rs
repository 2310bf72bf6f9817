//! Who asks, and what they may do.
//!
//! A token is shown as `Authorization: Bearer …`, or by the cookie that the sign-in page sets. A browser sends a cookie
//! by itself, also where another site makes it ask: so whoever comes with one has to show a header too, which no other site
//! can set (the cookie is `SameSite=Strict` besides).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use super::Service;
use super::problem::Problem;
use crate::alert::Actor;
use crate::alert::journal::Role;
use crate::time::wall;

/// The cookie that the sign-in page sets.
pub const COOKIE: &str = "ahwatch";
/// The header that a page of ours shows with it.
const OURS: &str = "x-ahwatch";

/// Who asks, by a valid token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token's name.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The one session of a participant.
    pub session: Option<String>,
    /// From where.
    pub address: IpAddr,
}

impl Caller {
    /// Refuses who may do less than this.
    ///
    /// # Errors
    /// The caller's role is a lesser one.
    pub fn needs(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        Err(Problem::forbidden(format!("this needs the role {role}; the token {:?} has {}", self.name, self.role)))
    }

    /// Refuses who is neither the session's participant nor has this role. A participant is not told whether another session
    /// exists.
    ///
    /// # Errors
    /// Neither.
    pub fn of_session(&self, session: &str, role: Role) -> Result<(), Problem> {
        if self.role != Role::Participant {
            return self.needs(role);
        }
        if self.session.as_deref() == Some(session) {
            return Ok(());
        }
        Err(Problem::not_found("there is no such session, or it is not yours"))
    }

    /// As whom they act on a session.
    #[must_use]
    pub const fn actor(&self) -> Actor {
        match self.role {
            Role::Participant => Actor::Participant,
            Role::Viewer | Role::Operator | Role::Admin => Actor::Operator,
        }
    }

    /// Name and role, for the audit.
    #[must_use]
    pub fn who(&self) -> String {
        format!("{} ({})", self.name, self.role)
    }
}

impl FromRequestParts<Arc<Service>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Problem> {
        let token = match (bearer(&parts.headers), cookie(&parts.headers)) {
            (Some(token), _) => token,
            (None, Some(token)) => {
                let reads = matches!(parts.method, Method::GET | Method::HEAD);
                if !reads && !parts.headers.contains_key(OURS) {
                    let what =
                        "a request by cookie needs the header X-Ahwatch: 1, which shows that a page of ours made it";
                    return Err(Problem::forbidden(what));
                }
                token
            }
            (None, None) => {
                return Err(Problem::unauthorized(
                    "send Authorization: Bearer TOKEN; `ahwatch token create` makes one",
                ));
            }
        };
        let address = address(parts, service.behind_proxy());
        service.caller(token, address).await
    }
}

/// From where a request comes, of whoever it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct From(pub IpAddr);

impl FromRequestParts<Arc<Service>> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Self::Rejection> {
        Ok(Self(address(parts, service.behind_proxy())))
    }
}

impl Service {
    /// Whose token this is.
    ///
    /// # Errors
    /// It is nobody's, or no longer valid, or the journal cannot be asked.
    pub async fn caller(&self, token: &str, address: IpAddr) -> Result<Caller, Problem> {
        let known = self.journal.token(token, wall()).await?;
        let Some(token) = known else {
            return Err(Problem::unauthorized("this token is unknown, was revoked or has expired"));
        };
        Ok(Caller { name: token.name, role: token.role, session: token.session, address })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

/// Where a request comes from.
fn address(parts: &Parts, behind_proxy: bool) -> IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let told = if behind_proxy { told_by_proxy(&parts.headers) } else { None };
    told.or(peer).unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

/// For whom a proxy asks: the last address is the one that it saw itself.
pub(super) fn told_by_proxy(headers: &HeaderMap) -> Option<IpAddr> {
    let value = headers.get_all("x-forwarded-for").into_iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role, session: Option<&str>) -> Caller {
        Caller { name: "a".into(), role, session: session.map(str::to_owned), address: IpAddr::from([127, 0, 0, 1]) }
    }

    #[test]
    fn a_participant_has_one_session_and_nothing_else() {
        let participant = caller(Role::Participant, Some("s1"));
        assert!(participant.of_session("s1", Role::Operator).is_ok());
        assert!(participant.of_session("s2", Role::Viewer).is_err());
        assert!(participant.needs(Role::Viewer).is_err());
        assert!(caller(Role::Participant, None).of_session("", Role::Viewer).is_err());
    }

    #[test]
    fn roles_include_the_lesser_ones() {
        for (has, needs, may) in [
            (Role::Viewer, Role::Viewer, true),
            (Role::Viewer, Role::Operator, false),
            (Role::Operator, Role::Viewer, true),
            (Role::Operator, Role::Admin, false),
            (Role::Admin, Role::Operator, true),
        ] {
            assert_eq!(caller(has, None).needs(needs).is_ok(), may, "{has} {needs}");
            assert_eq!(caller(has, None).of_session("s", needs).is_ok(), may, "{has} {needs}");
        }
    }

    #[test]
    fn tokens_are_found_among_other_headers() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "theme=dark; ahwatch=ahw_1".parse().unwrap());
        assert_eq!((bearer(&headers), cookie(&headers)), (None, Some("ahw_1")));
        headers.insert(header::AUTHORIZATION, "bearer  ahw_2".parse().unwrap());
        assert_eq!(bearer(&headers), Some("ahw_2"));
        headers.insert(header::AUTHORIZATION, "Basic ahw_2".parse().unwrap());
        assert_eq!(bearer(&headers), None);
    }
}
