//! What is read from a single certificate: its name, and its hash for channel binding.

use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::der_parser::asn1_rs::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::RsaSsaPssParams;

/// The first common name of the certificate's subject, which is the user's name where clients log in by certificate.
pub fn common_name(certificate_der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    // A zero inside would end the name early for whoever reads it in C (CVE-2009-2408).
    (!name.is_empty() && !name.contains('\0')).then_some(name)
}

/// `tls-server-end-point` channel binding data: the certificate's hash by the hash of its own signature, SHA-256 in
/// place of MD5 and SHA-1; `None` where the signature names no single hash.
/// <https://www.rfc-editor.org/rfc/rfc5929#section-4.1>
pub fn end_point_hash(certificate_der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    let algorithm = &certificate.signature_algorithm;
    let hash = if algorithm.algorithm == oid::OID_PKCS1_RSASSAPSS {
        let parameters = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
        hash_by_name(parameters.hash_algorithm_oid())
    } else {
        hash_of_signature(&algorithm.algorithm)
    };
    Some(match hash? {
        Hash::Sha256 => Sha256::digest(certificate_der).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate_der).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate_der).to_vec(),
    })
}

enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

fn hash_of_signature(algorithm: &Oid<'_>) -> Option<Hash> {
    let sha256 = [
        oid::OID_PKCS1_SHA256WITHRSA,
        oid::OID_SIG_ECDSA_WITH_SHA256,
        oid::OID_PKCS1_SHA1WITHRSA,
        oid::OID_PKCS1_MD5WITHRSAENC,
        oid::OID_SHA1_WITH_RSA,
    ];
    let sha384 = [oid::OID_PKCS1_SHA384WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA384];
    let sha512 = [oid::OID_PKCS1_SHA512WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA512];
    if sha256.contains(algorithm) {
        Some(Hash::Sha256)
    } else if sha384.contains(algorithm) {
        Some(Hash::Sha384)
    } else if sha512.contains(algorithm) {
        Some(Hash::Sha512)
    } else {
        None
    }
}

fn hash_by_name(hash: &Oid<'_>) -> Option<Hash> {
    match hash {
        name if *name == oid::OID_NIST_HASH_SHA256 || *name == oid::OID_HASH_SHA1 => Some(Hash::Sha256),
        name if *name == oid::OID_NIST_HASH_SHA384 => Some(Hash::Sha384),
        name if *name == oid::OID_NIST_HASH_SHA512 => Some(Hash::Sha512),
        _ => None,
    }
}

/// Whether the certificate's validity spans `now`, in seconds since 1970.
pub(super) fn is_valid_at(certificate_der: &[u8], now: u64) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate_der) else { return false };
    let Ok(now) = i64::try_from(now) else { return false };
    let validity = certificate.validity();
    (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
}

/// The public key, as the certificate has it.
pub(super) fn public_key(certificate_der: &[u8]) -> Option<&[u8]> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    Some(certificate.tbs_certificate.subject_pki.raw)
}

/// libpq's rule for certificates without alternative names: the common name is the host's, a leading `*.` standing for one label.
/// <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-CLIENTCERT>
pub(super) fn common_name_matches(certificate_der: &[u8], name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(host) = name else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate_der) else { return false };
    let names = certificate.subject_alternative_name().ok().flatten();
    let is_host =
        |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_));
    if names.is_some_and(|names| names.value.general_names.iter().any(is_host)) {
        return false;
    }
    let Some(common_name) = common_name(certificate_der) else { return false };
    let host = host.as_ref();
    match (common_name.strip_prefix("*."), host.split_once('.')) {
        (Some(parent), Some((_, domain))) => parent.contains('.') && parent.eq_ignore_ascii_case(domain),
        (Some(_), None) => false,
        (None, _) => common_name.eq_ignore_ascii_case(host),
    }
}
