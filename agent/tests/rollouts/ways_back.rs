//! The ways back to an image of before, and its data.

use piccolo_agent::host::fake::When;

use crate::{BAD, BETTER, GOOD, OLD, Scene, VERBS, desired, spec, support, support::containers};

fn updated(checked: bool) -> Scene {
    let mut scene = Scene::new("auto", checked);
    scene.offer(GOOD);
    scene.settle();
    scene.engine.write_volume("data", "moved on");
    scene
}

#[test]
fn a_person_goes_back_with_the_data_of_then_and_for_good() {
    for checked in [false, true] {
        let mut scene = updated(checked);
        assert_eq!(scene.engine.go_back("db").as_deref(), Ok(OLD));
        scene.settle();
        assert_eq!((scene.runs().as_str(), scene.data().as_str()), (OLD, "precious"));
        assert!(scene.engine.go_back("db").is_err(), "there is nothing before that");
        scene.offer(BETTER);
        scene.settle();
        scene.offer(GOOD);
        scene.settle();
        assert_eq!((scene.runs().as_str(), scene.starts(GOOD)), (BETTER, 1));
    }
}

#[test]
fn there_is_a_way_back_after_an_edit_and_after_an_update_that_failed() {
    let mut scene = updated(false);
    let mut edited = spec("auto", false);
    edited.env.insert("ON".into(), "1".into());
    scene.desired = desired(&edited);
    scene.settle();
    scene.offer(BAD);
    scene.settle();
    assert_eq!((scene.runs().as_str(), scene.data().as_str()), (GOOD, "moved on"));
    assert_eq!(scene.engine.go_back("db").as_deref(), Ok(OLD));
    scene.settle();
    assert_eq!((scene.runs().as_str(), scene.data().as_str()), (OLD, "precious"));
}

#[test]
fn a_way_back_that_fails_changes_nothing() {
    let mut scene = updated(true);
    scene.engine.spoil(OLD);
    assert!(scene.engine.go_back("db").is_ok());
    scene.settle();
    assert_eq!((scene.runs().as_str(), scene.data().as_str()), (GOOD, "moved on"));
    assert!(scene.engine.go_back("db").is_err(), "it was tried");
}

/// The law *Survives*, at every verb of a way back that goes well and of one that does not.
#[test]
fn killed_in_any_verb_of_a_way_back_it_ends_well() {
    for (fails, runs, data) in [(false, OLD, "precious"), (true, GOOD, "moved on")] {
        for checked in [false, true] {
            for (nth, when) in (0..VERBS).flat_map(|nth| [(nth, When::Before), (nth, When::After)]) {
                let mut scene = updated(checked);
                if fails {
                    scene.engine.spoil(OLD);
                }
                assert!(scene.engine.go_back("db").is_ok());
                scene.engine.hang(None, nth, when);
                for _ in 0..8 {
                    scene.pass();
                    scene.engine.let_time_pass();
                }
                scene.settle();
                assert_eq!((scene.runs().as_str(), scene.data().as_str()), (runs, data), "{fails} {nth} {when:?}");
            }
        }
    }
}

/// The law *Survives* for a return to the digest of a revision, with and without `update`.
#[test]
fn a_digest_of_then_comes_back_and_the_data_stays() {
    for follows in [true, false] {
        for (nth, when) in (0..VERBS).flat_map(|nth| [(nth, When::Before), (nth, When::After)]) {
            let mut scene = updated(false);
            let mut spec = spec("auto", false);
            spec.update = spec.update.filter(|_| follows);
            scene.desired = desired(&spec);
            scene.settle();
            assert_eq!(scene.engine.return_to("db", "db:1", OLD, follows), Ok(()));
            scene.engine.hang(None, nth, when);
            for _ in 0..8 {
                scene.pass();
                scene.engine.let_time_pass();
            }
            scene.settle();
            assert_eq!((scene.runs().as_str(), scene.data().as_str()), (OLD, "moved on"), "{follows} {nth} {when:?}");
            scene.engine.kill("db");
            scene.settle();
            assert_eq!(scene.runs(), OLD, "what is made anew is made of the same");
            scene.offer(BETTER);
            scene.settle();
            assert_eq!(scene.runs(), if follows { BETTER } else { OLD }, "only who follows a tag goes on");
        }
    }
}

#[test]
fn another_image_begins_with_the_digest_of_then() {
    let mut scene = updated(false);
    assert_eq!(scene.engine.return_to("db", "db:0", BETTER, true), Ok(()));
    let mut back = spec("auto", false);
    back.image = "db:0".to_owned();
    scene.desired = desired(&back);
    scene.settle();
    assert_eq!(scene.runs(), BETTER);
    scene.engine.spoil(GOOD);
    scene.engine.move_tag("db", "db:0", GOOD);
    scene.settle();
    assert_eq!((scene.runs().as_str(), scene.data().as_str()), (BETTER, "moved on"), "a bad one is turned back");
    assert!(scene.engine.return_to("db", "db:0", GOOD, true).is_err(), "it was tried");
}

#[test]
fn a_way_back_that_is_broken_off_gives_the_data_back() {
    for steps in 0..12 {
        let mut scene = updated(false);
        assert!(scene.engine.go_back("db").is_ok());
        scene.pass();
        let plan = support::plan(&containers(&scene.engine), &scene.desired).unwrap();
        support::apply(&containers(&scene.engine), &plan.steps[..steps.min(plan.steps.len() - 1)]);
        let restored = scene.data() == "precious";
        scene.desired.manifests.last_mut().unwrap().spec.env.insert("ON".into(), "1".into());
        scene.settle();
        assert_eq!(scene.data(), if scene.runs() == OLD { "precious" } else { "moved on" }, "{steps} {restored}");
    }
}
