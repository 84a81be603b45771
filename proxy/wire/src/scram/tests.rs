//! Both sides of SCRAM against RFC 7677, an independent client, PostgreSQL's own verifiers, and each other.

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use proptest::prelude::*;

use super::*;

const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

fn verifier() -> Verifier {
    Verifier::derive(b"pencil", b"salt of 16 bytes", 64)
}

fn end_point() -> ServerBinding {
    ServerBinding::EndPoint(b"certificate hash".to_vec())
}

#[test]
fn the_vector_of_rfc_7677() {
    let salt = attributes::from_base64("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = Verifier::derive(b"pencil", &salt, 4096);
    let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    let (exchange, server_first) =
        ServerExchange::start(verifier, ServerBinding::Plain, NONCE, SCRAM_SHA_256, first).unwrap();
    let expected = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(server_first, expected);
    let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let proved = exchange.finish(last).unwrap();
    assert_eq!(proved.server_final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

/// Written by PostgreSQL 15 for `CREATE ROLE … PASSWORD`: plain, normalised, with a control character, and
/// nothing but characters that SASLprep removes.
const BY_POSTGRESQL: [(&str, &str); 4] = [
    (
        "pencil",
        "SCRAM-SHA-256$4096:u+CX6fLCqpDsfFcl6z2Ntg==$n2KTQ8E+CP8avQbEhygdaBZkBDE5pws7XCWeYH+Xd3o=:\
         h0o4/OxDXARRIWwe/rTSJ+qOd8hlXCAloPv25T2SLcc=",
    ),
    (
        "\u{2168}\u{a0}\u{e9}",
        "SCRAM-SHA-256$4096:8lmcg4c+VUIFXUEJu9v6uQ==$OINZq7CzZnBAY9QueUZBqguryTArVVHwCMTwl72JGbE=:\
         dlIgZ2tHn3VzvppmFi+H9jAADpFgW2JtvQQ+EBaOMi0=",
    ),
    (
        "tab\there",
        "SCRAM-SHA-256$4096:PTYMnhw7jBbXQf5JBOe4FQ==$Tlc/cEHf0QMgb6gNtHDdZj1v7pZMdHrVKH2SUl+eUR0=:\
         2DL1S8YV+RLWQ/EoCMdYVJqJCgLSPM9kuLbP7pHTnmM=",
    ),
    (
        "\u{ad}",
        "SCRAM-SHA-256$4096:LYeVPrBH8TdyPYwW63aiPQ==$2ekMcvUZUDhkbKYBfJ/xdTQwQLNCMDuYK2nMgHUYT7M=:\
         zXpnxegym/0jbfFmbxdHxCQnPrhJhTwtf7O0PHjy3no=",
    ),
];

#[test]
fn verifiers_are_those_of_postgresql() {
    for (password, stored) in BY_POSTGRESQL {
        let parsed = Verifier::parse(stored).unwrap();
        assert_eq!(parsed.to_string(), stored);
        assert!(
            Verifier::derive(password.as_bytes(), &parsed.salt, parsed.iterations) == parsed,
            "{password:?}"
        );
    }
    for broken in [
        "",
        "pencil",
        "md50b7acc3663f2c47b71ff946033c7e82c",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$0:c2FsdA==$a:b",
        "SCRAM-SHA-256$4096:c2FsdA==$c2hvcnQ=:c2hvcnQ=",
        &BY_POSTGRESQL[0].1.replace("4096", "+4096"),
        &BY_POSTGRESQL[0].1.replace("4096", "99999999999"),
    ] {
        assert!(Verifier::parse(broken).is_none(), "{broken}");
    }
}

/// What the independent client and our server make of each other.
fn login(
    password: &[u8],
    verifier: Verifier,
    server: ServerBinding,
    (mechanism, client): (&str, ChannelBinding),
) -> Result<Proved, ScramError> {
    let mut client = ScramSha256::new(password, client);
    let (exchange, server_first) =
        ServerExchange::start(verifier, server, NONCE, mechanism, client.message())?;
    client.update(&server_first).unwrap();
    let proved = exchange.finish(client.message())?;
    client.finish(&proved.server_final).unwrap();
    Ok(proved)
}

#[test]
fn an_independent_client_logs_in() {
    let bound = || ChannelBinding::tls_server_end_point(b"certificate hash".to_vec());
    let passwords: [&[u8]; 5] =
        [b"pencil", "\u{2168}".as_bytes(), b"\xff\xfe", b"tab\there", "p\u{e4}ss".as_bytes()];
    for password in passwords {
        let verifier = Verifier::derive(password, b"salt", 8);
        let plain = [ChannelBinding::unrequested(), ChannelBinding::unsupported()];
        for client in plain {
            let proved =
                login(password, verifier.clone(), ServerBinding::Plain, (SCRAM_SHA_256, client)).unwrap();
            assert_eq!(keys::sha256(&proved.client_key), verifier.stored_key);
        }
        login(password, verifier.clone(), end_point(), (SCRAM_SHA_256_PLUS, bound())).unwrap();
        let without = ChannelBinding::unsupported();
        login(password, verifier.clone(), end_point(), (SCRAM_SHA_256, without)).unwrap();
        let wrong = login(b"pencil ", verifier, end_point(), (SCRAM_SHA_256_PLUS, bound()));
        assert_eq!(wrong.err(), Some(ScramError::Proof));
    }
}

#[test]
fn a_changed_offer_or_certificate_is_noticed() {
    let unbound = login(b"pencil", verifier(), end_point(), (SCRAM_SHA_256, ChannelBinding::unrequested()));
    assert_eq!(unbound.err(), Some(ScramError::Downgrade));
    let other = ChannelBinding::tls_server_end_point(b"another hash".to_vec());
    let other = login(b"pencil", verifier(), end_point(), (SCRAM_SHA_256_PLUS, other));
    assert_eq!(other.err(), Some(ScramError::BindingMismatch));
}

#[test]
fn first_messages_of_no_honest_client() {
    let start = |binding, mechanism: &str, message: &[u8]| {
        ServerExchange::start(verifier(), binding, NONCE, mechanism, message)
            .err()
            .map(|error| error.sqlstate())
    };
    let plain = |message: &[u8]| start(ServerBinding::Plain, SCRAM_SHA_256, message);
    assert_eq!(plain(b"n,,n=,r=abc"), None);
    assert_eq!(plain(b"n,,n=,r=abc,x=extension"), None);
    assert_eq!(plain(b"n,a=other,n=,r=abc"), Some("0A000"));
    assert_eq!(plain(b"n,,m=extension,n=,r=abc"), Some("0A000"));
    for malformed in [
        &b""[..],
        b"n",
        b"n,",
        b"n,,",
        b"n,,n=",
        b"n,,n=,r=",
        b"n,,n=,r=\x01",
        b"n,,r=abc",
        b"n,,n=,r=abc,",
        b"n,b,n=,r=a",
        b"n,,n=,r=abc\0",
        b"n,,n=,r=\xff",
        b"q,,n=,r=abc",
        b"p=tls-server-end-point,,n=,r=abc",
        b",,n=,r=abc",
    ] {
        assert_eq!(plain(malformed), Some("08P01"), "{}", malformed.escape_ascii());
    }
    assert_eq!(start(ServerBinding::Plain, SCRAM_SHA_256_PLUS, b"n,,n=,r=abc"), Some("08P01"));
    assert_eq!(start(ServerBinding::Plain, "PLAIN", b"n,,n=,r=abc"), Some("08P01"));
    for header in ["n", "y", "p=tls-unique", "p", ""] {
        let message = format!("{header},,n=,r=abc");
        assert_eq!(start(end_point(), SCRAM_SHA_256_PLUS, message.as_bytes()), Some("08P01"), "{header}");
    }
}

#[test]
fn final_messages_of_no_honest_client() {
    let finish = |message: &str| {
        let first = b"n,,n=,r=abc";
        let (exchange, _) =
            ServerExchange::start(verifier(), ServerBinding::Plain, "def", SCRAM_SHA_256, first).unwrap();
        exchange.finish(message.as_bytes()).err().unwrap()
    };
    let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(finish(&format!("c=biws,r=abcdef,{proof}")), ScramError::Proof);
    assert_eq!(finish(&format!("c=biws,r=abcdef,x=y,{proof}")), ScramError::Proof);
    assert_eq!(finish(&format!("c=eSws,r=abcdef,{proof}")), ScramError::BindingAttribute);
    assert_eq!(finish(&format!("c=biws,r=abcdeX,{proof}")), ScramError::Nonce);
    assert_eq!(finish(&format!("c=biws,r=abc,{proof}")), ScramError::Nonce);
    for malformed in
        ["", "c=biws", "c=biws,r=abcdef", "c=biws,r=abcdef,p=", "c=biws,r=abcdef,p=YWJj", "r=abcdef,c=biws"]
    {
        assert!(matches!(finish(malformed), ScramError::Malformed(_)), "{malformed}");
    }
    assert!(matches!(finish(&format!("c=biws,r=abcdef,{proof},x=y")), ScramError::Malformed(_)));
}

/// Our client against our server, which the independent client has judged above.
fn between_us(
    client: ClientBinding,
    server: ServerBinding,
    secret: &ClientSecret<'_>,
) -> Result<Proved, ScramError> {
    let (exchange, mechanism, first) = ClientExchange::start(client, "rOprNGfwEbeRWgbNEkqO");
    let (server, server_first) = ServerExchange::start(verifier(), server, NONCE, mechanism, &first)?;
    let (last, client_final) = exchange.respond(&server_first, secret)?;
    let proved = server.finish(&client_final)?;
    last.verify(&proved.server_final)?;
    Ok(proved)
}

#[test]
fn a_password_and_its_keys_both_log_in() {
    let cases = [
        (ClientBinding::None, ServerBinding::Plain),
        (ClientBinding::Unused, ServerBinding::Plain),
        (ClientBinding::EndPoint(b"certificate hash".to_vec()), end_point()),
    ];
    for (client, server) in cases {
        let secret = ClientSecret::Password(b"pencil");
        let client_key = between_us(client.clone(), server.clone(), &secret).unwrap().client_key;
        let keys = ClientSecret::Keys { client_key, server_key: verifier().server_key };
        assert_eq!(between_us(client, server, &keys).unwrap().client_key, client_key);
    }
    let wrong = between_us(ClientBinding::None, ServerBinding::Plain, &ClientSecret::Password(b"pen"));
    assert_eq!(wrong.err(), Some(ScramError::Proof));
}

#[test]
fn a_server_without_the_verifier_is_noticed() {
    let respond = |server_first: &str| {
        let (exchange, ..) = ClientExchange::start(ClientBinding::None, "abc");
        exchange.respond(server_first.as_bytes(), &ClientSecret::Password(b"pencil"))
    };
    for (last, expected) in [
        ("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", ScramError::ServerSignature),
        ("e=other-error", ScramError::Server("other-error".to_owned())),
    ] {
        let (exchange, _) = respond("r=abcdef,s=c2FsdA==,i=1").unwrap();
        assert_eq!(exchange.verify(last.as_bytes()).err(), Some(expected));
    }
    assert_eq!(respond("r=abcdef,s=c2FsdA==,i=10000001").err(), Some(ScramError::Iterations(10_000_001)));
    assert_eq!(respond("r=abcdef,s=c2FsdA==,i=0").err(), Some(ScramError::Iterations(0)));
    for malformed in [
        "",
        "r=abcdef",
        "r=abc,s=c2FsdA==,i=1",
        "r=Xabcdef,s=c2FsdA==,i=1",
        "r=abcdef,s=,i=1",
        "r=abcdef,s=?,i=1",
        "r=abcdef,s=c2FsdA==,i=-1",
        "r=abcdef,s=c2FsdA==,i=+1",
        "r=abcdef,s=c2FsdA==,i=99999999999999999999",
        "m=x,r=abcdef,s=c2FsdA==,i=1",
        "r=abcdef,s=c2FsdA==,i=1,",
    ] {
        assert!(matches!(respond(malformed), Err(ScramError::Malformed(_))), "{malformed}");
    }
}

#[test]
fn a_mock_verifier_is_stable_and_looks_real() {
    let mock = Verifier::mock(b"secret", "ghost");
    assert!(mock == Verifier::mock(b"secret", "ghost"));
    assert!(mock.salt != Verifier::mock(b"secret", "other").salt);
    assert!(mock.salt != Verifier::mock(b"another secret", "ghost").salt);
    assert_eq!((mock.iterations, mock.salt.len()), (4096, 16));
}

proptest! {
    #[test]
    fn any_password_logs_in(password in proptest::collection::vec(any::<u8>(), 1..24), salt in "[a-z]{1,20}") {
        let verifier = Verifier::derive(&password, salt.as_bytes(), 2);
        prop_assert!(Verifier::parse(&verifier.to_string()) == Some(verifier.clone()));
        let (exchange, mechanism, first) = ClientExchange::start(ClientBinding::None, "abc");
        let (server, server_first) =
            ServerExchange::start(verifier, ServerBinding::Plain, NONCE, mechanism, &first).unwrap();
        let (last, client_final) = exchange.respond(&server_first, &ClientSecret::Password(&password)).unwrap();
        last.verify(&server.finish(&client_final).unwrap().server_final).unwrap();
    }
}
