//! A store on a file system that knows no locks.

use std::thread;

use super::*;

/// Does `work` on a thread whose `flock` says ENOLCK, as NFS does without its lock service; `false` where the system does
/// not let itself be asked so.
fn without_locks(work: impl FnOnce() + Send) -> bool {
    #[allow(unsafe_code, reason = "no file system without locks is at hand, so the call itself is refused")]
    fn refuse() -> bool {
        let step = |code: u32, jump: u8, value: u32| libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf: jump,
            k: value,
        };
        let mut steps = [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0), // the call's number
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_flock as u32),
            step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::ENOLCK as u32),
            step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        let [none, one, by_filter] = [0, 1, libc::SECCOMP_MODE_FILTER as libc::c_ulong];
        // Safety: the filter outlives the call, which copies it and binds this thread alone.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, none, none, none) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, by_filter, &raw const filter) == 0
        }
    }
    thread::scope(|scope| {
        let refused = scope.spawn(|| refuse().then(work).is_some());
        refused.join().unwrap()
    })
}

#[test]
fn without_locks_every_writer_has_a_shard_of_its_own_and_nothing_is_collected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let done = without_locks(|| {
        let (mut a, mut b) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
        (put(&mut a, 0), put(&mut b, 1), put(&mut a, 2));
        drop((a, b));
        // Nobody holds the two shards any more, but who could know.
        put(&mut Store::open(&path).unwrap(), 3);
        assert_eq!(shards(&path).len(), 3);
        let error = Store::open(&path).unwrap().collect(&|_| true).unwrap_err().to_string();
        let expected = "lock: cannot be locked on this file system, so another program may be writing; copy the store to \
                        a local disk";
        assert!(error.ends_with(expected), "{error}");
    });
    if !done {
        eprintln!("skipped: this system refuses seccomp");
        return;
    }
    let store = Store::open(&path).unwrap();
    for number in 0..4 {
        assert_eq!(store.get(&key(number)).unwrap().unwrap().bytes, values(number), "record {number}");
    }
    assert_eq!(store.collect(&|_| true).unwrap().kept, 4);
}
