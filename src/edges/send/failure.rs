//! From a chain of errors to one of the few reasons that an operator can act on.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use crate::edges::send::dial::{DialError, plain};
use crate::words::exchange::SendError;

/// Why there is no connection.
pub(super) fn unconnected(error: &(dyn Error + 'static), host: &str, https: bool, no_roots: bool) -> SendError {
    let tls = |why: String| SendError::Tls { host: host.to_owned(), why };
    for cause in chain(error) {
        if let Some(DialError(known)) = cause.downcast_ref() {
            return known.clone();
        }
        if let Some(error) = rustls_error(cause) {
            return tls(tls_words(error, no_roots));
        }
    }
    match https {
        // The connection stood and the handshake did not: `dial` names its own failures.
        true => tls(match last_io(error) {
            Some(io) if io.kind() == io::ErrorKind::UnexpectedEof => "the receiver hung up".to_owned(),
            Some(io) => plain(io),
            None => "the receiver did not finish the handshake in time".to_owned(),
        }),
        false => broken(error),
    }
}

/// The connection stood, and then broke or carried no HTTP.
pub(super) fn broken(error: &(dyn Error + 'static)) -> SendError {
    let hyper = chain(error).find_map(|cause| cause.downcast_ref::<hyper::Error>());
    let why = match (hyper, last_io(error)) {
        (Some(hyper), _) if hyper.is_parse_too_large() => "the head of the answer is too large".to_owned(),
        (Some(hyper), _) if hyper.is_parse() => format!("what came is not HTTP/1.1: {hyper}"),
        (_, Some(io)) if io.kind() == io::ErrorKind::ConnectionReset => "the receiver reset it".to_owned(),
        (_, Some(io)) if io.kind() == io::ErrorKind::BrokenPipe => "the receiver closed it".to_owned(),
        (_, Some(io)) if io.kind() == io::ErrorKind::UnexpectedEof => "the answer ended early".to_owned(),
        (_, Some(io)) => plain(io),
        (Some(hyper), None) if hyper.is_incomplete_message() => {
            "the receiver closed it before the answer was complete".to_owned()
        }
        _ => "the receiver closed it".to_owned(),
    };
    SendError::Broken(why)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

fn last_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).last().map(innermost)
}

/// An `io::Error` inside an `io::Error` is skipped by `source()`.
fn innermost(error: &io::Error) -> &io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        Some(inner) => innermost(inner),
        None => error,
    }
}

fn rustls_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    cause.downcast_ref::<rustls::Error>().or_else(|| {
        let io = innermost(cause.downcast_ref::<io::Error>()?);
        io.get_ref()?.downcast_ref::<rustls::Error>()
    })
}

fn tls_words(error: &rustls::Error, no_roots: bool) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as Invalid, PeerIncompatible};
    match error {
        InvalidCertificate(_) if no_roots => {
            "this machine has no certificate roots; install the package ca-certificates".to_owned()
        }
        InvalidCertificate(why) => certificate_words(why),
        Invalid(InvalidMessage::InvalidContentType) => "the receiver does not speak TLS on this port".to_owned(),
        PeerIncompatible(_) => "the receiver offers neither TLS 1.2 nor 1.3 with a cipher of today".to_owned(),
        AlertReceived(AlertDescription::ProtocolVersion) => {
            "the receiver refuses TLS 1.2 and 1.3; it needs an upgrade".to_owned()
        }
        AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate) => {
            "the receiver wants a client certificate".to_owned()
        }
        AlertReceived(AlertDescription::UnrecognisedName) => "the receiver does not know this name".to_owned(),
        other => plain(&io::Error::other(other.to_string())),
    }
}

fn certificate_words(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; is this machine's clock right?".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "nobody whom this machine trusts signed its certificate; add the CA with update-ca-certificates".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        // webpki keeps this one to itself.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "it shows a CA's certificate as its own (self-signed?); give it one that a CA signed".to_owned()
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        other => plain(&io::Error::other(format!("its certificate is invalid: {other}"))),
    }
}
