//! Frontend messages as bytes, written from the protocol's documentation and not by the proxy's own encoders.
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>

/// Protocol 3.0 as the startup packet has it.
pub const V3_0: i32 = 0x0003_0000;
/// Protocol 3.2 as the startup packet has it.
pub const V3_2: i32 = 0x0003_0002;
/// `SSLRequest`, whole.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// `GSSENCRequest`, whole.
pub const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// A message of one tag and a body.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&untagged(body));
    out
}

/// A packet without a tag: length and body.
pub fn untagged(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a message's length fits its word");
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u16::try_from(count).expect("at most 65,535 of anything").to_be_bytes());
}

/// A startup packet.
pub fn startup(version: i32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters {
        text(&mut body, name);
        text(&mut body, value);
    }
    body.push(0);
    untagged(&body)
}

/// A `CancelRequest`.
pub fn cancel(process_id: i32, secret: &[u8]) -> Vec<u8> {
    let mut body = 80_877_102_i32.to_be_bytes().to_vec();
    body.extend_from_slice(&process_id.to_be_bytes());
    body.extend_from_slice(secret);
    untagged(&body)
}

/// `Query`.
pub fn query(sql: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, sql);
    message(b'Q', &body)
}

/// `Parse` without parameter types.
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    parse_typed(name, sql, &[])
}

/// `Parse`.
pub fn parse_typed(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, name);
    text(&mut body, sql);
    count(&mut body, types.len());
    types.iter().for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
    message(b'P', &body)
}

/// `Bind` with parameters and results in text.
pub fn bind(portal: &str, statement: &str, values: &[Option<&str>]) -> Vec<u8> {
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| value.map(str::as_bytes)).collect();
    bind_with(portal, statement, &values, [&[], &[]])
}

/// `Bind` with the formats of parameters and of results (0 text, 1 binary).
pub fn bind_with(portal: &str, statement: &str, values: &[Option<&[u8]>], formats: [&[u16]; 2]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, portal);
    text(&mut body, statement);
    count(&mut body, formats[0].len());
    formats[0].iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
    count(&mut body, values.len());
    for value in values {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).expect("a value's length"));
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.unwrap_or_default());
    }
    count(&mut body, formats[1].len());
    formats[1].iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
    message(b'B', &body)
}

fn named(tag: u8, kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    text(&mut body, name);
    message(tag, &body)
}

/// `Describe` of a statement.
pub fn describe_statement(name: &str) -> Vec<u8> {
    named(b'D', b'S', name)
}

/// `Describe` of a portal.
pub fn describe_portal(name: &str) -> Vec<u8> {
    named(b'D', b'P', name)
}

/// `Close` of a statement.
pub fn close_statement(name: &str) -> Vec<u8> {
    named(b'C', b'S', name)
}

/// `Close` of a portal.
pub fn close_portal(name: &str) -> Vec<u8> {
    named(b'C', b'P', name)
}

/// `Execute`; 0 rows means all.
pub fn execute(portal: &str, max_rows: i32) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, portal);
    body.extend_from_slice(&max_rows.to_be_bytes());
    message(b'E', &body)
}

/// `Sync`.
pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// `Flush`.
pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}

/// `Terminate`.
pub fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

/// `CopyData`.
pub fn copy_data(data: &[u8]) -> Vec<u8> {
    message(b'd', data)
}

/// `CopyDone`.
pub fn copy_done() -> Vec<u8> {
    message(b'c', &[])
}

/// `CopyFail`.
pub fn copy_fail(reason: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, reason);
    message(b'f', &body)
}

/// `FunctionCall` with arguments and result in text.
pub fn function_call(oid: u32, arguments: &[Option<&str>]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    count(&mut body, 0);
    count(&mut body, arguments.len());
    for value in arguments {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).expect("a value's length"));
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.unwrap_or_default().as_bytes());
    }
    count(&mut body, 0);
    message(b'F', &body)
}

/// `PasswordMessage`.
pub fn password(secret: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, secret);
    message(b'p', &body)
}

/// `SASLInitialResponse`.
pub fn sasl_initial(mechanism: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, mechanism);
    body.extend_from_slice(&u32::try_from(data.len()).expect("a short message").to_be_bytes());
    body.extend_from_slice(data);
    message(b'p', &body)
}

/// `Parse`, `Bind`, `Describe` (portal) and `Execute` of the unnamed statement, without `Sync`.
pub fn statement(sql: &str, values: &[Option<&str>]) -> Vec<u8> {
    [parse("", sql), bind("", "", values), describe_portal(""), execute("", 0)].concat()
}
