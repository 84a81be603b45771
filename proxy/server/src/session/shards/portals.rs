//! Portals whose rows are of several shards. Their rows are fetched at once when the client asks for the first portion, and given
//! out as it asks.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use pointsman_wire::frame::Header;
use pointsman_wire::frontend::{BindParameters, Execute};

use super::super::cached::Execution;
use super::super::judge::Judged;
use super::super::steer::Asked;
use super::super::{Session, message};
use super::executing::execute_by_extended;
use super::pieces::Named;
use super::query::Outcome;
use crate::fault::Fault;

/// PortalSuspended.
const SUSPENDED: &[u8] = b"s\0\0\0\x04";

/// A portal.
#[derive(Debug)]
pub(super) struct Portal {
    pub name: Bytes,
    pub statement: Named,
    /// What `Bind` held after its names.
    pub rest: Bytes,
    pub fetched: Option<Fetched>,
}

/// What its execution gave, as far as the client has not fetched it.
#[derive(Debug)]
pub(super) struct Fetched {
    rows: VecDeque<Bytes>,
    tag: String,
}

impl Session {
    /// Executes a portal, or goes on with it.
    pub(super) async fn piece_execute(
        &mut self,
        execute: Execute<'_>,
        portal: &mut Portal,
    ) -> Result<(), Fault> {
        if execute.max_rows <= 0 && portal.fetched.is_none() {
            if let Outcome::Complete(tag) = self.run_portal(portal).await? {
                self.io.to_client.extend(&message::command_complete(&tag));
            }
            return Ok(());
        }
        if portal.fetched.is_none() {
            portal.fetched = Some(self.fetch(portal).await?);
        }
        if let Some(fetched) = &mut portal.fetched {
            let most = usize::try_from(execute.max_rows).unwrap_or(0);
            self.give_out(fetched, most).await?;
        }
        Ok(())
    }

    async fn run_portal(&mut self, portal: &Portal) -> Result<Outcome, Fault> {
        let named = &portal.statement;
        let described = self.describe_named(named).await?;
        let judged = self.judged(&named.sql);
        let Some(planned) = self.planned(&named.sql, &judged.verdict, true) else {
            return Ok(Outcome::Answered);
        };
        self.may_go_across()?;
        if self.executed_by(&named.sql, &judged).is_some() {
            return Err(execute_by_extended());
        }
        if let Some(outcome) = self.perform_named(&named.sql, &judged).await? {
            return Ok(outcome);
        }
        let parameters = BindParameters::decode(&portal.rest)?;
        self.admit_portal(&judged, &named.sql, &parameters)?;
        self.count(judged.verdict.kind);
        let asked = Execution::of_bound(&named.sql, &named.types, &described.parameters, Some(&parameters));
        self.perform_across(&judged.facts, &planned, &asked).await
    }

    /// Whether the rules let it through, and what they say of its parts.
    fn admit_portal(
        &mut self,
        judged: &Judged,
        sql: &[u8],
        parameters: &BindParameters<'_>,
    ) -> Result<(), Fault> {
        if self.is_past_judging(&judged.facts) {
            return Ok(());
        }
        let parameter = |number: u32| parameters.integer(usize::try_from(number).ok()?.checked_sub(1)?);
        let (facts, verdict) = (&*judged.facts, &*judged.verdict);
        let decision = self.admit(&Asked { facts, verdict, sql, parameter: &parameter })?;
        self.rule_parts(decision.as_deref(), sql);
        Ok(())
    }

    /// Runs a portal to its end, and keeps what it gives.
    async fn fetch(&mut self, portal: &Portal) -> Result<Fetched, Fault> {
        if let Some(shards) = &mut self.shards {
            shards.captured = Some(BytesMut::new());
        }
        let outcome = self.run_portal(portal).await;
        let captured = self.shards.as_mut().and_then(|shards| shards.captured.take());
        let mut rest = captured.unwrap_or_default().freeze();
        let mut fetched = Fetched { rows: VecDeque::new(), tag: String::new() };
        if let Outcome::Complete(tag) = outcome? {
            fetched.tag = tag;
        }
        while let Some(header) = Header::peek(&rest)? {
            let frame = rest.split_to(header.frame_len().min(rest.len()));
            match header.tag {
                b'D' => fetched.rows.push_back(frame),
                b'C' => {
                    let tag = frame.get(5..frame.len() - 1).unwrap_or_default();
                    fetched.tag = String::from_utf8_lossy(tag).into_owned();
                }
                _ => self.io.to_client.extend(&frame),
            }
        }
        Ok(fetched)
    }

    /// Gives out so many rows, or all for zero. Whether there are more, a server too finds out only when it is asked for them.
    async fn give_out(&mut self, fetched: &mut Fetched, most: usize) -> Result<(), Fault> {
        let count = if most == 0 { fetched.rows.len() } else { most.min(fetched.rows.len()) };
        for row in fetched.rows.drain(..count) {
            self.io.to_client.extend(&row);
            self.drain_client().await?;
        }
        if most > 0 && count == most {
            self.io.to_client.extend(SUSPENDED);
            return Ok(());
        }
        let tag = match fetched.tag.strip_prefix("SELECT ") {
            Some(_) => format!("SELECT {count}"),
            None => fetched.tag.clone(),
        };
        self.io.to_client.extend(&message::command_complete(&tag));
        Ok(())
    }

    /// Gives the client what its statement gives, or keeps it for a portal.
    pub(super) async fn emit(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Some(shards) = &mut self.shards else { return Ok(()) };
        let limit = shards.group.config.gather_bytes_max;
        let Some(captured) = &mut shards.captured else {
            self.io.to_client.extend(bytes);
            return self.drain_client().await;
        };
        if captured.len() + bytes.len() > limit {
            return Err(super::gather::too_many(limit));
        }
        captured.extend_from_slice(bytes);
        Ok(())
    }
}
