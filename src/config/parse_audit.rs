//! From the shape of `[audit]` to valid types.

use std::path::PathBuf;

use toml::Spanned;

use super::{
    AuditConfig, AuditSink, Durability, SubjectForm,
    parse::{Problems, parse_secret_source},
    raw::{RawAudit, RawDurability, RawPlace, RawSink, RawSubject},
};

pub(super) fn parse_audit(raw: RawAudit, problems: &mut Problems<'_>) -> Option<AuditConfig> {
    let sink_span = raw.sink.span();
    let sink = parse_sink(raw.sink, problems);
    let durability = match raw.durability.as_ref().map(Spanned::get_ref) {
        Some(RawDurability::Synced) => Durability::Synced,
        Some(RawDurability::Written) => Durability::Written,
        None => Durability::default(),
    };
    let is_file = sink.as_ref().is_none_or(|sink| matches!(sink, AuditSink::File(_)));
    if let Some(given) = raw.durability.filter(|_| durability == Durability::Synced && !is_file) {
        let rule = "can be \"synced\" only for a file: what others do with a record, nobody here knows";
        problems.add(&given.span(), rule);
    }
    let subject = match (raw.subject.map(Spanned::into_inner).unwrap_or_default(), raw.subject_key) {
        (RawSubject::Plain, None) => Some(SubjectForm::Plain),
        (RawSubject::Hash, Some(key)) => {
            let span = key.span();
            let source = problems.take(&span, parse_secret_source(key.into_inner()));
            source.map(|source| SubjectForm::Hash(source, problems.locate(&span)))
        }
        (RawSubject::Plain, Some(key)) => {
            problems.add(&key.span(), "has no use with subject = \"plain\": remove one of them");
            None
        }
        (RawSubject::Hash, None) => {
            let rule = "needs `subject_key`, the key that people's names are hashed with (`metabase-token-service keygen` \
                        makes one), or else subject = \"plain\"";
            problems.add(&sink_span, rule);
            None
        }
    };
    Some(AuditConfig { sink: sink?, durability, subject: subject? })
}

fn parse_sink(raw: Spanned<RawSink>, problems: &mut Problems<'_>) -> Option<AuditSink> {
    const RULE: &str = "must be \"stdout\", or exactly one of { file = \"/PATH\" }, { unix_datagram = \"/PATH\" } and \
                        { syslog = \"/dev/log\" }";
    let span = raw.span();
    let path = |path: String, make: fn(PathBuf) -> AuditSink| {
        let path = PathBuf::from(path);
        if path.is_absolute() { Ok(make(path)) } else { Err("must be an absolute path") }
    };
    let parsed = match raw.into_inner() {
        RawSink::Name(name) if name == "stdout" => Ok(AuditSink::Stdout),
        RawSink::Place(RawPlace { file: Some(file), unix_datagram: None, syslog: None }) => path(file, AuditSink::File),
        RawSink::Place(RawPlace { file: None, unix_datagram: Some(socket), syslog: None }) => {
            path(socket, AuditSink::UnixDatagram)
        }
        RawSink::Place(RawPlace { file: None, unix_datagram: None, syslog: Some(socket) }) => {
            path(socket, AuditSink::Syslog)
        }
        RawSink::Name(_) | RawSink::Place(_) => Err(RULE),
    };
    problems.take(&span, parsed)
}
