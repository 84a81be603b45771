//! Certificates for one test, made by `openssl`.
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{give_to_servers, run};

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// PEM file of the certificate.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

fn openssl(arguments: &[&str], files: &[(&str, &Path)]) {
    let mut command = Command::new("openssl");
    command.args(arguments);
    for (flag, path) in files {
        command.arg(flag).arg(path);
    }
    run(&mut command);
}

impl Certificate {
    fn named(dir: &Path, name: &str) -> Self {
        Self { certificate: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) }
    }

    /// A self-signed authority.
    pub fn authority(dir: &Path, name: &str) -> Self {
        let made = Self::named(dir, name);
        let subject = format!("/CN={name}");
        let arguments = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-sha256",
        ];
        let rest = ["-days", "30", "-subj", &subject, "-addext", "keyUsage=critical,keyCertSign"];
        openssl(&[&arguments[..], &rest].concat(), &[("-keyout", &made.key), ("-out", &made.certificate)]);
        made
    }

    /// A certificate for `common_name`, signed by this authority; good for `localhost` and 127.0.0.1.
    pub fn sign(&self, dir: &Path, common_name: &str) -> Self {
        self.sign_for(dir, common_name, "DNS:localhost,IP:127.0.0.1")
    }

    /// A certificate for `common_name`, signed by this authority; good for the subject alternative names given.
    pub fn sign_for(&self, dir: &Path, common_name: &str, names: &str) -> Self {
        let made = Self::named(dir, common_name);
        let request = dir.join(format!("{common_name}.csr"));
        let extensions = dir.join(format!("{common_name}.ext"));
        std::fs::write(&extensions, format!("subjectAltName={names}\n")).expect("the extensions");
        let subject = format!("/CN={common_name}");
        let arguments = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let arguments = [&arguments[..], &["-subj", &subject]].concat();
        openssl(&arguments, &[("-keyout", &made.key), ("-out", &request)]);
        let arguments = ["x509", "-req", "-sha256", "-days", "30", "-CAcreateserial"];
        let files: [(&str, &Path); 5] = [
            ("-in", &request),
            ("-CA", &self.certificate),
            ("-CAkey", &self.key),
            ("-extfile", &extensions),
            ("-out", &made.certificate),
        ];
        openssl(&arguments, &files);
        give_to_servers(&made.certificate);
        give_to_servers(&made.key);
        made
    }
}
