//! TLS of a client: whose certificates it accepts.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::certificate::explain_pem;

/// The authorities that Mozilla trusts.
pub(crate) fn well_known_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// The authorities in a PEM text; the error says what is wrong with it. The bundles of operating systems hold a few certificates
/// that webpki cannot parse: those are left out.
pub(crate) fn roots_in(pem: &[u8]) -> Result<RootCertStore, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(certificates.map_err(|error| explain_pem(&error))?);
    if usable == 0 { Err("it holds no certificate in PEM form that can be used".into()) } else { Ok(roots) }
}

/// TLS with servers whose certificates lead to one of these authorities, and with no others.
pub(crate) fn client_config(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
