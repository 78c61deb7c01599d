//! One of several processes leads.

use super::plane::{PATIENCE, shared, until};
use autoscale_live::controller::Leadership;
use autoscale_live::shell::{Clock, News, SystemClock};
use autoscale_live::target::lease::{Candidacy, Elector, Term};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How long a Lease holds.
const LEASE: Duration = Duration::from_secs(6);

struct Process {
    task: JoinHandle<()>,
    news: mpsc::Receiver<News>,
    term: Term,
    stop: Option<oneshot::Sender<()>>,
}

fn start(client: Client, namespace: &str, identity: &str) -> Process {
    let (tell, news) = mpsc::channel(16);
    let (stop, stopped) = oneshot::channel();
    let candidacy = Candidacy {
        namespace: namespace.into(),
        lease: "autoscale".into(),
        identity: identity.into(),
        duration: LEASE,
    };
    let term = Term::not_yet();
    let elector = Elector::new(client, candidacy, term.clone());
    let task = tokio::spawn(elector.run(SystemClock, tell, async move {
        let _ = stopped.await;
    }));
    Process { task, news, term, stop: Some(stop) }
}

async fn told(process: &mut Process) -> Leadership {
    match tokio::time::timeout(PATIENCE, process.news.recv()).await.unwrap().unwrap() {
        News::Leadership(leadership) => leadership,
        _ => panic!("an elector knows of nothing else"),
    }
}

#[tokio::test]
async fn the_lease_of_a_killed_leader_runs_out_and_that_of_a_stopped_one_is_free_at_once() {
    let plane = shared();
    let namespace = plane.namespace("lease").await;
    let leases: Api<Lease> = Api::namespaced(plane.client().await, &namespace);
    let spec = async || leases.get("autoscale").await.unwrap().spec.unwrap();
    let mut first = start(plane.client().await, &namespace, "first");
    assert_eq!(told(&mut first).await, Leadership::Leading);
    let mut second = start(plane.client().await, &namespace, "second");
    // The second one has seen the Lease while it was renewed twice, and has not taken it.
    let begun = spec().await.renew_time;
    until("two renewals", async || (spec().await.renew_time > begun).then_some(())).await;
    let later = spec().await.renew_time;
    until("two renewals", async || (spec().await.renew_time > later).then_some(())).await;
    assert!(second.news.try_recv().is_err(), "nobody leads beside the leader");
    let holds = |process: &Process| process.term.holds(SystemClock.now());
    until("the first one holds on", async || holds(&first).then_some(())).await;
    assert!(!holds(&second));

    let last = spec().await.renew_time.unwrap();
    first.task.abort();
    assert_eq!(told(&mut second).await, Leadership::Leading);
    let taken = spec().await;
    assert_eq!(taken.holder_identity.as_deref(), Some("second"));
    assert_eq!(taken.lease_transitions, Some(1));
    assert!(!holds(&first) && holds(&second), "the first one was told nothing, and writes nothing any more");
    let waited = taken.renew_time.unwrap().0.duration_since(last.0);
    assert!(waited.as_secs_f64() >= LEASE.as_secs_f64(), "not before it has run out, but after {waited}");

    let mut third = start(plane.client().await, &namespace, "third");
    second.stop.take().unwrap().send(()).unwrap();
    assert_eq!(told(&mut second).await, Leadership::Standby);
    assert!(!holds(&second));
    (&mut second.task).await.unwrap();
    assert_eq!(told(&mut third).await, Leadership::Leading);
    assert_eq!(spec().await.holder_identity.as_deref(), Some("third"));
}
