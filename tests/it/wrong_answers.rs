//! Success must be proven: on platforms that answer 200 to everything, nothing but a proven success code is delivered.

use jiff::Timestamp;
use postrider::rules::platform::Platforms;
use postrider::words::exchange::Response;

const BOTS: [&str; 3] = ["dingtalk", "lark", "wecom"];

/// Answers that prove nothing to anyone.
const UNPROVEN: &[&str] = &[
    "",
    " ",
    "{}",
    "[]",
    "null",
    "0",
    "\"ok\"",
    "true",
    "ok",
    "success",
    "<html><body>login</body></html>",
    "<!doctype html><title>punish</title>",
    "{\"errcode\":0,\"errmsg\":\"ok",
    "{\"code\":0,\"msg\":\"success",
    "{\"errcode\":0,\"errmsg\":\"ok\"} trailing",
    "{\"errcode\":\"0\",\"errmsg\":\"ok\"}",
    "{\"code\":\"0\",\"msg\":\"success\"}",
    "{\"StatusCode\":\"0\"}",
    "{\"errcode\":null}",
    "{\"code\":null}",
    "{\"code\":null,\"StatusCode\":null}",
    "{\"errcode\":false}",
    "{\"code\":false}",
    "{\"errcode\":0.0}",
    "{\"code\":0.0}",
    "{\"errcode\":[0]}",
    "{\"errmsg\":\"ok\"}",
    "{\"msg\":\"success\"}",
    "{\"StatusMessage\":\"success\"}",
    "{\"ErrCode\":0,\"errMsg\":\"ok\"}",
    "{\"Code\":0,\"Msg\":\"success\"}",
    "{\"data\":{\"errcode\":0,\"code\":0}}",
    "[{\"errcode\":0,\"code\":0}]",
    "{\"status\":1111,\"wait\":5,\"source\":\"x5\",\"punish\":\"deny\",\"uuid\":\"u\"}",
    "{\"status\":0}",
    "{\"ok\":true}",
    "{\"success\":true}",
    "{\"errcode\":-1}",
    "{\"errcode\":1e400}",
    "{\"errcode\":99999999999999999999}",
    "{\"code\":99999999999999999999}",
    "{\"StatusCode\":1}",
    "{\"StatusCode\":19001,\"StatusMessage\":\"x\"}",
    "{\"code\":19001,\"msg\":\"x\",\"StatusCode\":0}",
    "{\"code\":0,\"msg\":\"success\",\"StatusCode\":19001}",
    "\u{feff}{\"errcode\":0,\"code\":0}",
];

const SUCCESS: &[(&str, &str)] = &[
    ("dingtalk", "{\"errcode\":0,\"errmsg\":\"ok\"}"),
    ("wecom", "{\"errcode\":0,\"errmsg\":\"ok\"}"),
    ("wecom", "{\"errcode\":0,\"errmsg\":\"ok. Warning: wrong json format. \"}"),
    ("lark", "{\"StatusCode\":0,\"StatusMessage\":\"success\",\"code\":0,\"data\":{},\"msg\":\"success\"}"),
    ("lark", "{\"Extra\":null,\"StatusCode\":0,\"StatusMessage\":\"success\"}"),
    ("lark", "{\"code\":0,\"msg\":\"success\",\"data\":{}}"),
];

/// Every code in the vendors' tables.
const CODES: &[(&str, &str, &[i64])] = &[
    (
        "wecom",
        "errcode",
        &[
            -1, 45009, 45033, 93000, 93004, 93008, 40008, 40058, 40063, 40035, 44004, 45002, 45008, 40007, 40009,
            40033, 45034, 40001, 40014, 41001, 42001, 60020, 1, 77777, 4294967296,
        ],
    ),
    (
        "dingtalk",
        "errcode",
        &[
            -1, 130101, 410100, 410101, 90018, 88, 310000, 300005, 300001, 400101, 400102, 400106, 400013, 400105,
            40035, 43002, 43004, 430101, 430102, 430103, 430104, 460101, 1, 77777, 4294967296,
        ],
    ),
    (
        "lark",
        "code",
        &[11232, 19001, 19002, 19021, 19022, 19024, 19036, 9499, 11246, 99991400, -1, 1, 77777, 4294967296],
    ),
];

fn word(platform: &str, status: u16, body: &str) -> &'static str {
    let response = Response { status, body: body.to_owned().into(), ..Response::default() };
    Platforms::built_in().0[platform].verdict(&response, Timestamp::UNIX_EPOCH).verdict.word()
}

#[test]
fn what_proves_nothing_is_never_delivered() {
    for platform in BOTS {
        for body in UNPROVEN {
            for status in [200, 201, 204, 299] {
                assert_ne!(word(platform, status, body), "delivered", "{platform}: {status} {body}");
            }
        }
    }
}

#[test]
fn no_error_code_is_delivered_whatever_the_status() {
    for (platform, field, codes) in CODES {
        for code in *codes {
            for said in ["ok", "success", "", "Warning: wrong json format"] {
                for status in [200, 400, 429, 500] {
                    let body = format!("{{\"{field}\":{code},\"errmsg\":\"{said}\",\"msg\":\"{said}\"}}");
                    assert_ne!(word(platform, status, &body), "delivered", "{platform}: {status} {body}");
                }
            }
        }
    }
}

#[test]
fn the_code_of_one_platform_proves_nothing_to_another() {
    assert_ne!(word("lark", 200, "{\"errcode\":0,\"errmsg\":\"ok\"}"), "delivered");
    for platform in ["wecom", "dingtalk"] {
        assert_ne!(word(platform, 200, "{\"code\":0,\"msg\":\"success\",\"StatusCode\":0}"), "delivered");
    }
}

#[test]
fn success_is_delivered_but_only_with_a_status_of_success() {
    for (platform, body) in SUCCESS {
        assert_eq!(word(platform, 200, body), "delivered", "{platform}: {body}");
        for status in (100..200).chain(300..600) {
            assert_ne!(word(platform, status, body), "delivered", "{platform}: {status} {body}");
        }
    }
}

#[test]
fn every_status_has_a_verdict_without_a_body() {
    for platform in BOTS {
        for status in 100..=599 {
            assert_ne!(word(platform, status, ""), "delivered", "{platform}: {status}");
        }
    }
    for status in 100..=599 {
        assert_eq!(word("webhook", status, "") == "delivered", (200..300).contains(&status), "{status}");
    }
}

#[test]
fn what_the_receiver_said_is_told() {
    let response = Response { status: 200, body: "<html>please log in</html>".into(), ..Response::default() };
    for platform in BOTS {
        let judged = Platforms::built_in().0[platform].verdict(&response, Timestamp::UNIX_EPOCH);
        assert!(judged.verdict.why().is_some_and(|why| why.contains("please log in")), "{platform}: {judged:?}");
    }
}
