//! `step` allocates nothing: not in one thread, not on a rayon pool.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as a test does")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use envs::{BlindRegion, EnvConfig, EnvId, StepBuffers, VectorEnv};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoroshiro128PlusPlus;

/// The system's allocator, with a count of the requests of all threads.
struct Counting;

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every request is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, SeqCst);
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, SeqCst);
        // SAFETY: the caller keeps to the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        REQUESTS.fetch_add(1, SeqCst);
        // SAFETY: the caller keeps to the contract of `realloc`, and `alloc` came from the same allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`, and `alloc` came from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Requests during `work`.
fn requests(work: impl FnOnce()) -> usize {
    let before = REQUESTS.load(SeqCst);
    work();
    REQUESTS.load(SeqCst) - before
}

/// Requests during a few hundred steps with many episode ends, after a warm-up.
fn requests_of_steps(env: &mut dyn VectorEnv) -> usize {
    let mut buffers = StepBuffers::for_env(env);
    let mut actions = vec![0; env.num_envs()];
    let mut random = Xoroshiro128PlusPlus::seed_from_u64(1);
    let mut steps = |n| {
        for _ in 0..n {
            random.fill_bytes(&mut actions);
            for action in &mut actions {
                *action &= 3;
            }
            env.step(&actions, buffers.slices()).unwrap();
        }
    };
    steps(100);
    requests(|| steps(300))
}

// one test, for the count is of the whole process
#[test]
fn step_allocates_nothing() {
    assert_eq!(requests(|| drop(black_box(Box::new(1)))), 1, "the count does not count");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let seen = requests(|| {
        pool.broadcast(|_| drop(black_box(Box::new(1))));
    });
    assert!(seen >= 2, "the count does not see the threads of a pool");

    for id in EnvId::ALL {
        let config = EnvConfig {
            spurious_oversight_prob: 0.3,
            oversight_observed: false,
            oversight_recall: vec![0.5; 2],
            oversight_precision: 0.5,
            blind_region: BlindRegion::Rows(2, 3),
            ..EnvConfig::for_id(id)
        };
        let mut small = envs::make(&config, 64).unwrap();
        assert_eq!(requests_of_steps(small.as_mut()), 0, "{id}, one thread");
        let mut large = envs::make(&config, 4096).unwrap();
        let seen = pool.install(|| requests_of_steps(large.as_mut()));
        assert_eq!(seen, 0, "{id}, on a pool");
    }
}
