//! WeCom group robots (企业微信): the key in the query is the whole secret, and every answer is HTTP 200.

use std::net::IpAddr;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::bots::{State, World};
use super::judgement::{Answered, Judgement, Refused};
use super::received::Received;
use super::{media, reply, strict, wecom_content};

const SEND: &str = "/cgi-bin/webhook/send";
const UPLOAD: &str = "/cgi-bin/webhook/upload_media";

pub(super) fn answer(world: &mut World, request: &Received, now: Timestamp) -> Answered {
    let upload = match request.path() {
        SEND => false,
        UPLOAD => true,
        _ => return reply::no_such_path("a WeCom robot is called at /cgi-bin/webhook/send?key=KEY"),
    };
    let mut judgement = Judgement::default();
    let judged = judge(world, request, now, upload, &mut judgement);
    let body = match judged {
        Ok(body) => {
            judgement.accepted = true;
            judgement.code = Some(0);
            body
        }
        Err(refused) => {
            let errmsg = explained(&refused, &mut world.dice, request.ip, now);
            judgement.code = Some(refused.code);
            judgement.why = refused.why;
            json!({"errcode": refused.code, "errmsg": errmsg})
        }
    };
    reply::json(200, "application/json; charset=UTF-8", &body, judgement)
}

/// The reason, with the parts that differ from answer to answer.
fn explained(refused: &Refused, dice: &mut fastrand::Rng, ip: IpAddr, now: Timestamp) -> String {
    let hint = format!("{}{:015}", now.as_second(), dice.u64(..1_000_000_000_000_000));
    format!(
        "{}, hint: [{hint}], from ip: {ip}, more info at https://open.work.weixin.qq.com/devtool/query?e={}",
        refused.message, refused.code
    )
}

fn judge(
    world: &mut World,
    request: &Received,
    now: Timestamp,
    upload: bool,
    judgement: &mut Judgement,
) -> Result<Value, Refused> {
    let key = request.query("key").unwrap_or_default();
    let Some(bot) = world.bots.get(&key) else {
        let why = if key.is_empty() { "the query has no key" } else { "no robot has this key" };
        return Err(Refused::new(93000, "invalid webhook url", why));
    };
    let now = bot.clock(now);
    match bot.options.state {
        State::Ok => {}
        State::Removed | State::Unknown => {
            return Err(Refused::new(93000, "invalid webhook url", "the robot was removed from the group"));
        }
        State::Disabled => return Err(Refused::new(93004, "robot is disabled", "the robot is disabled")),
        State::Disbanded => return Err(Refused::new(93008, "robot is not in the group", "the group is gone")),
    }

    if bot.full(now) {
        return Err(Refused::new(45009, "api freq out of limit", "more calls in a minute than a robot may take"));
    }
    let charge_failed = bot.options.variants.charge_failed;
    if charge_failed {
        bot.charge(now);
    }

    if request.method != Method::POST {
        return Err(Refused::new(43002, "require POST method", format!("the method is {}", request.method)));
    }
    let answer = if upload {
        media::upload(bot, &mut world.dice, request, now)?
    } else {
        let message = read(&request.body, judgement)?;
        wecom_content::check(bot, &message, now, judgement)?;
        json!({"errcode": 0, "errmsg": world.verdict(&key, "ok")?})
    };
    if let (false, Some(bot)) = (charge_failed, world.bots.get(&key)) {
        bot.charge(now);
    }
    Ok(answer)
}

fn read(body: &[u8], judgement: &mut Judgement) -> Result<Value, Refused> {
    if let Some(strict) = strict::parse(body) {
        judgement.duplicate_keys = strict.duplicates;
        return Ok(strict.value);
    }
    // Text in another encoding: the type can still be read, the content cannot.
    let readable = String::from_utf8_lossy(body);
    if serde_json::from_str::<Value>(&readable).is_ok_and(|value| value.get("msgtype").is_some()) {
        return Err(Refused::new(44004, "Warning: wrong json format. empty content", "the body is not UTF-8"));
    }
    Err(Refused::new(40008, "Warning: wrong json format. invalid message type", "the body is not JSON"))
}
