//! The certificate of the service and its key.

use std::path::{Path, PathBuf};

use axum_server::tls_rustls::RustlsConfig;

/// Why HTTPS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("[server] {key}: {path}: cannot be read: {error}; name a PEM file", path = path.display())]
    Unreadable {
        /// `tls_cert` or `tls_key`.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file holds something else.
    #[error("[server] {key}: {path}: {what}", path = path.display())]
    Other {
        /// `tls_cert` or `tls_key`.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong, with the remedy.
        what: &'static str,
    },
    /// They do not belong together, or one is damaged.
    #[error(
        "[server] tls_cert {} and tls_key {} cannot be used together: {error}; give a certificate chain and the key that belongs \
         to it",
        cert.display(),
        key.display()
    )]
    Mismatch {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the library says.
        error: std::io::Error,
    },
}

/// Reads a certificate chain and its key, both PEM, and sees that they belong together.
///
/// # Errors
/// A file cannot be read, holds something else, or the two do not belong together.
pub async fn read(cert: &Path, key: &Path) -> Result<RustlsConfig, TlsError> {
    let read = |name: &'static str, path: &Path| {
        std::fs::read(path).map_err(|error| TlsError::Unreadable { key: name, path: path.to_owned(), error })
    };
    let (chain, private) = (read("tls_cert", cert)?, read("tls_key", key)?);
    let has = |pem: &[u8], word: &str| pem.windows(word.len()).any(|part| part == word.as_bytes());
    let other = |key, path: &Path, what| Err(TlsError::Other { key, path: path.to_owned(), what });
    if !has(&chain, "-----BEGIN CERTIFICATE-----") {
        return other(
            "tls_cert",
            cert,
            "holds no certificate in PEM; name the file that begins with BEGIN CERTIFICATE",
        );
    }
    if has(&private, "ENCRYPTED") {
        return other("tls_key", key, "is locked by a passphrase; give it without (openssl pkey -in FILE -out NEW)");
    }
    if !has(&private, "PRIVATE KEY-----") {
        return other("tls_key", key, "holds no private key in PEM; name the file that begins with BEGIN PRIVATE KEY");
    }
    let (cert, key) = (cert.to_owned(), key.to_owned());
    RustlsConfig::from_pem(chain, private).await.map_err(|error| TlsError::Mismatch { cert, key, error })
}
