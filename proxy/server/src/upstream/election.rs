//! Which of the servers that say "I am the primary" is it: the one on the newest timeline, and nobody if two claim it.

/// One server's claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Its place in the cluster's list.
    pub server: usize,
    /// Its timeline: counts up with each promotion.
    pub timeline: u32,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Election {
    /// The primary.
    pub primary: Option<usize>,
    /// Servers that claim to be it and are not believed.
    pub fenced: Vec<usize>,
}

/// Decides. `newest_seen` is the newest timeline ever seen: a claim on an older one is from before a failover.
pub fn elect(claims: &[Claim], newest_seen: u32) -> Election {
    let newest = claims.iter().map(|claim| claim.timeline).max().unwrap_or(0).max(newest_seen);
    let on_newest: Vec<&Claim> = claims.iter().filter(|claim| claim.timeline == newest).collect();
    let primary = match on_newest.as_slice() {
        [only] => Some(only.server),
        _ => None,
    };
    let fenced = claims.iter().map(|claim| claim.server).filter(|server| Some(*server) != primary).collect();
    Election { primary, fenced }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(server: usize, timeline: u32) -> Claim {
        Claim { server, timeline }
    }

    #[test]
    fn the_newest_timeline_wins_and_the_older_claim_is_fenced() {
        let election = elect(&[claim(0, 1), claim(1, 2)], 0);
        assert_eq!(election, Election { primary: Some(1), fenced: vec![0] });
    }

    #[test]
    fn two_equal_claims_fence_both() {
        assert_eq!(elect(&[claim(0, 3), claim(1, 3)], 0), Election { primary: None, fenced: vec![0, 1] });
    }

    #[test]
    fn an_old_primary_that_comes_back_alone_is_not_believed() {
        assert_eq!(elect(&[claim(0, 1)], 2), Election { primary: None, fenced: vec![0] });
    }

    #[test]
    fn no_claim_no_primary() {
        assert_eq!(elect(&[], 0), Election::default());
    }
}
