use super::*;
use crate::controller::{Controller, ControllerConfig, Deciders, Effect, Generation, Mode};
use autoscale_core::limits::LimitsConfig;
use autoscale_core::measurement::ReplicaCounts;
use autoscale_core::seed::Seed;
use autoscale_core::units::RequestRate;
use autoscale_core::validate::Validate;
use autoscale_policies::fixed::Fixed;

/// Tokio's time, which stands still while there is work and leaps while there is none.
struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(999_990) + self.0.elapsed()
    }
}

/// Answers for all but one target, and counts how often it is asked.
struct Stub(Arc<Mutex<Vec<(Timestamp, usize)>>>);

impl Source for Stub {
    async fn collect(
        &self,
        targets: Vec<TargetRef>,
        at: Timestamp,
        tell: mpsc::Sender<Vec<(TargetRef, Sighting)>>,
    ) {
        self.0.lock().unwrap().push((at, targets.len()));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let measurement = Measurement {
            at,
            age: Duration::from_secs(5),
            arrival_rate: RequestRate::new(at.as_secs_f64()).unwrap(),
            cpu_utilization: None,
            memory_bytes: 0,
            in_flight: 0.0,
            queued: 0.0,
            latency: None,
            error_rate: RequestRate::ZERO,
            timeout_rate: RequestRate::ZERO,
            replicas: ReplicaCounts::default(),
        };
        let sighting =
            Sighting { measurement: Some(measurement), pods: Some(Vec::new()), series: Vec::new() };
        for target in targets.into_iter().filter(|target| &*target.name != "dark") {
            tell.send(vec![(target, sighting.clone())]).await.unwrap();
        }
    }
}

/// Tells of one target soon, and of the others after more than a period.
struct Halting;

impl Source for Halting {
    async fn collect(
        &self,
        targets: Vec<TargetRef>,
        _: Timestamp,
        tell: mpsc::Sender<Vec<(TargetRef, Sighting)>>,
    ) {
        let (soon, late): (Vec<_>, Vec<_>) =
            targets.into_iter().partition(|target| &*target.name == "bright");
        for (targets, after) in [(soon, 1), (late, 19)] {
            tokio::time::sleep(Duration::from_secs(after)).await;
            tell.send(targets.into_iter().map(|target| (target, Sighting::default())).collect())
                .await
                .unwrap();
        }
    }
}

/// Writes down what is written; one target's writes take longer than the shell lives.
struct Pen(Arc<Mutex<Vec<(String, u32, u32)>>>);

impl Scaler for Pen {
    async fn scale(&self, target: TargetRef, from: Replicas, to: Replicas) -> Result<(), WriteFailure> {
        if &*target.name == "slow" {
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        self.0.lock().unwrap().push((target.name.to_string(), from.get(), to.get()));
        Ok(())
    }
}

struct Kept(Arc<Mutex<Vec<(String, Effect)>>>);

impl Journal for Kept {
    fn keep(&mut self, target: &TargetRef, record: &Arc<DecisionRecord>) {
        self.0.lock().unwrap().push((target.name.to_string(), record.effect.clone()));
    }

    fn forget(&mut self, target: &TargetRef) {
        self.0.lock().unwrap().retain(|(name, _)| **name != *target.name);
    }
}

fn target(name: &str) -> TargetRef {
    TargetRef::deployment("shop", name)
}

fn controller() -> Controller {
    let limits = LimitsConfig { min_replicas: 1, max_replicas: 40, max_step_up: None, max_step_down: None };
    let config = ControllerConfig { mode: Mode::Active, ..ControllerConfig::within(limits) };
    let fixed = |count| Box::new(Fixed::new(Replicas::new(count), Duration::from_secs(15)));
    let deciders = Deciders { name: "fixed".into(), policy: fixed(7), fallback: Some(fixed(8)) };
    Controller::new(config.validate().unwrap(), deciders, Seed::root(1))
}

#[tokio::test(start_paused = true)]
async fn all_targets_are_collected_at_once_and_written_each() {
    let (asked, written, kept) = <(Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>)>::default();
    let mut fleet = Fleet::new();
    for name in ["bright", "dark", "slow"] {
        fleet.add(Timestamp::from_secs(999_980), target(name), controller());
    }
    let (pen, stub, journal) = (Pen(Arc::clone(&written)), Stub(Arc::clone(&asked)), Kept(Arc::clone(&kept)));
    let shell = Shell::new(fleet, stub, pen, journal, TestClock(tokio::time::Instant::now()));
    let fleet = shell.fleet();
    let (tell, news) = mpsc::channel(8);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(shell.run(news, async { stopped.await.unwrap() }));
    tell.send(News::Leadership(Leadership::Leading)).await.unwrap();
    for name in ["bright", "dark", "slow"] {
        let (rival, owner, five) = (None, None, Replicas::new(5));
        let generation = Generation::new(1);
        let workload = Workload { generation, spec: five, status: five, rival, owner };
        tell.send(News::Workload(target(name), Some(workload))).await.unwrap();
    }
    // Two rounds, at multiples of 15 s: at once and after 15 s. The shell ends while a write is under way.
    tokio::time::sleep(Duration::from_secs(16)).await;
    {
        let fleet = fleet.lock().unwrap();
        let state = serde_json::to_value(fleet.state(Timestamp::from_secs(1_000_006))).unwrap();
        assert_eq!(state["shop/Deployment/bright"]["workload"]["spec"], 7);
        assert_eq!(state["shop/Deployment/slow"]["block"], "in-flight");
    }
    stop.send(()).unwrap();
    running.await.unwrap();
    let start = Timestamp::from_secs(999_990);
    assert_eq!(*asked.lock().unwrap(), [(start, 3), (start + Duration::from_secs(15), 3)]);
    let expected = [("bright".to_owned(), 5, 7), ("slow".to_owned(), 5, 7)];
    assert_eq!(
        *written.lock().unwrap(),
        expected,
        "nothing for the one that is not seen; the slow one at the end"
    );
    let of = |name: &str| -> Vec<Effect> {
        kept.lock().unwrap().iter().filter(|(who, _)| who == name).map(|(_, effect)| effect.clone()).collect()
    };
    assert_eq!(of("bright"), [Effect::Written, Effect::Unchanged]);
    assert_eq!(of("dark"), [Effect::Unchanged, Effect::Unchanged]);
}

#[tokio::test(start_paused = true)]
async fn who_is_seen_is_decided_on_while_others_are_waited_for() {
    let (written, kept) = <(Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<_>>>)>::default();
    let mut fleet = Fleet::new();
    for name in ["bright", "late"] {
        fleet.add(Timestamp::from_secs(999_980), target(name), controller());
    }
    let clock = TestClock(tokio::time::Instant::now());
    let shell = Shell::new(fleet, Halting, Pen(written), Kept(Arc::clone(&kept)), clock);
    let (tell, news) = mpsc::channel(8);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(shell.run(news, async { stopped.await.unwrap() }));
    for name in ["bright", "late"] {
        let (generation, five) = (Generation::new(1), Replicas::new(5));
        let workload = Workload { generation, spec: five, status: five, rival: None, owner: None };
        tell.send(News::Workload(target(name), Some(workload))).await.unwrap();
    }
    let decided = async |seconds: u64| {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let names: Vec<String> = kept.lock().unwrap().drain(..).map(|(name, _)| name).collect();
        names
    };
    assert_eq!(decided(2).await, ["bright"]);
    assert_eq!(decided(15).await, ["late", "bright"], "its answer has not come when it is woken again");
    assert!(decided(4).await.is_empty(), "and is too old when it comes");
    assert_eq!(decided(11).await, ["late", "bright"]);
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[test]
fn a_clock_that_is_set_back_puts_nobody_to_sleep() {
    let mut fleet = Fleet::new();
    let at = Timestamp::from_secs(999_990);
    fleet.add(at, target("web"), controller());
    assert_eq!(fleet.wake(at).len(), 1);
    let hour_ago = at - Duration::from_hours(1);
    assert_eq!(fleet.wake(hour_ago).len(), 1, "a new round at once");
    assert_eq!(fleet.due(), Some(hour_ago + Duration::from_secs(15)));
    assert!(fleet.wake(hour_ago).is_empty(), "and only one");
}

#[test]
fn a_controller_knows_what_the_one_before_it_knew() {
    let (mut fleet, at) = (Fleet::new(), Timestamp::from_secs(999_990));
    let news = |fleet: &mut Fleet, news| assert!(fleet.hear(at, news).is_empty());
    news(&mut fleet, News::Controller(target("web"), Box::new(controller())));
    news(&mut fleet, News::Leadership(Leadership::Leading));
    let (generation, five) = (Generation::new(1), Replicas::new(5));
    let workload = Workload { generation, spec: five, status: five, rival: None, owner: None };
    news(&mut fleet, News::Workload(target("web"), Some(workload)));
    news(&mut fleet, News::Controller(target("web"), Box::new(controller())));
    let state = serde_json::to_value(fleet.state(at)).unwrap();
    assert_eq!(state["shop/Deployment/web"]["workload"]["spec"], 5);
    assert_eq!(state["shop/Deployment/web"]["block"], serde_json::Value::Null, "it leads");
    news(&mut fleet, News::Dismissed(target("web")));
    assert!(fleet.due().is_none() && fleet.undecided().is_empty());
}
