//! TLS settings as `sslmode` means them, on rustls. Follows libpq's fe-secure-openssl.c where the
//! two libraries allow the same; a host name must stand in the certificate's subjectAltName.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::error::TlsSettingsError;
use crate::conninfo::{SslMode, TlsSettings};

/// A session for one connection to `host`, its handshake not yet begun.
pub(super) fn session(
    settings: &TlsSettings,
    host: Option<&str>,
) -> Result<ClientConnection, TlsSettingsError> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[_] = if settings.require_tls13 {
        &[&rustls::version::TLS13]
    } else {
        rustls::DEFAULT_VERSIONS
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(TlsSettingsError::Library)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(settings, provider)?));
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let chain = certificates("client certificate", certificate)?;
            let key = settings.key.as_deref().ok_or(TlsSettingsError::NoKey)?;
            builder
                .with_client_auth_cert(chain, private_key(key)?)
                .map_err(TlsSettingsError::Library)?
        }
    };
    config.enable_sni = settings.send_host_name;
    let name = server_name(settings, host)?;
    ClientConnection::new(Arc::new(config), name).map_err(TlsSettingsError::Library)
}

/// The name to check and to send. Without verification any host will do, so one that is no name
/// at all is replaced by an address, which is never sent.
fn server_name(
    settings: &TlsSettings,
    host: Option<&str>,
) -> Result<ServerName<'static>, TlsSettingsError> {
    let name = host.and_then(|host| ServerName::try_from(host.to_owned()).ok());
    match name {
        Some(name) => Ok(name),
        None if settings.mode < SslMode::VerifyFull => {
            let unspecified: std::net::IpAddr = std::net::Ipv4Addr::UNSPECIFIED.into();
            Ok(unspecified.into())
        }
        None => Err(TlsSettingsError::HostName {
            host: host.unwrap_or_default().to_owned(),
        }),
    }
}

/// Checks as much of a server's certificate as `sslmode` demands.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None: any certificate is believed.
    roots: Option<Roots>,
    check_name: bool,
}

#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// The same certificates as they are. A server may present one of them itself: self-signed,
    /// the most common set-up of Postgres.
    exact: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(
        settings: &TlsSettings,
        provider: Arc<CryptoProvider>,
    ) -> Result<Verifier, TlsSettingsError> {
        let verifies = settings.mode >= SslMode::VerifyCa;
        let roots = match &settings.root_certificates {
            // With a root certificate file, `require` verifies like `verify-ca`.
            Some(path) if settings.mode >= SslMode::Require => Some(Roots::load(path)?),
            None if verifies => {
                return Err(TlsSettingsError::NoRootCertificates {
                    mode: match settings.mode {
                        SslMode::VerifyFull => "verify-full",
                        _ => "verify-ca",
                    },
                });
            }
            _ => None,
        };
        Ok(Verifier {
            provider,
            roots,
            check_name: settings.mode == SslMode::VerifyFull,
        })
    }
}

impl Roots {
    fn load(path: &Path) -> Result<Roots, TlsSettingsError> {
        let exact = certificates("root certificate file", path)?;
        let mut store = RootCertStore::empty();
        for certificate in &exact {
            store
                .add(certificate.clone())
                .map_err(|error| TlsSettingsError::File {
                    what: "root certificate file",
                    path: path.to_owned(),
                    reason: error.to_string(),
                })?;
        }
        Ok(Roots { store, exact })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let verified = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &roots.store,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        );
        // The library accepts no certificate authority as a server, but a self-signed certificate
        // often is one. Trusted as such, it only has to be in date.
        match verified {
            Err(error) if !roots.exact.contains(end_entity) || out_of_date(&error) => {
                return Err(error);
            }
            _ => {}
        }
        if self.check_name {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn out_of_date(error: &Error) -> bool {
    use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(
            Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
        )
    )
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsSettingsError> {
    let unusable = |reason| TlsSettingsError::File {
        what,
        path: path.to_owned(),
        reason,
    };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    Ok(found)
}

/// Group and others may not read a key; root's may be group-readable (`initialize_SSL`).
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsSettingsError> {
    let unusable = |reason| TlsSettingsError::File {
        what: "private key",
        path: path.to_owned(),
        reason,
    };
    let metadata = fs::metadata(path).map_err(|error| unusable(error.to_string()))?;
    if metadata.permissions().mode() & 0o037 != 0 {
        return Err(TlsSettingsError::KeyPermissions {
            path: path.to_owned(),
        });
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| unusable(error.to_string()))
}
